package edgews_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/internal/handshake"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tests in this file check that text which a peer or a server chooses cannot forge a line of a log, of a terminal or of a header: errors
// are one line of printable characters, and short.

// forged begins a line of its own, as a log has it, where line breaks are not escaped. It has the line breaks of Unicode, a control sequence of
// terminals and a character that reverses the direction of writing.
const forged = "x\r\nlevel=ERROR msg=forged\u2028\u0085\x1b[31m\x00\x7f\u202e"

// longForged is too long to be logged whole.
var longForged = forged + strings.Repeat("é", 10_000)

// maxErrorText is the length in bytes of the longest error that has text of a peer: 300 characters, and what the library says itself.
const maxErrorText = 2000

// assertLine checks that an error is one short line without control characters.
func assertLine(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	assertPrintable(t, err.Error())
	assert.LessOrEqual(t, len(err.Error()), maxErrorText, "%.300q", err.Error())
}

func assertPrintable(t *testing.T, s string) {
	t.Helper()
	assert.True(t, utf8.ValidString(s), "%.300q", s)
	at := strings.IndexFunc(s, func(c rune) bool { return !unicode.IsGraphic(c) || c == '\u2028' || c == '\u2029' })
	assert.Equal(t, -1, at, "%.300q", s)
}

// errorsWithText makes the library return errors that have text of a peer.
var errorsWithText = []struct {
	name string
	err  func(t *testing.T, text string) error
}{
	{"the error of a reply", func(t *testing.T, text string) error { return &edgews.CallError{Code: "no_room", Message: text} }},
	{"the code of a reply", func(t *testing.T, text string) error { return &edgews.CallError{Code: text, Message: "full"} }},
	{"the close reason of a pair", func(t *testing.T, text string) error {
		client, server := edgews.NewPair()
		require.NoError(t, client.Accept())
		require.NoError(t, client.Close(edgews.StatusNormalClosure, text[:min(len(text), 100)]))
		_, err := server.Receive(t.Context())
		return err
	}},
	{"the type of a message", func(t *testing.T, text string) error {
		return new(edgews.Mux).Dispatch(t.Context(), nil, edgews.Message{Kind: edgews.Text, Data: jsonOf(t, map[string]any{"type": text})})
	}},
	{"a value of a message", func(t *testing.T, text string) error {
		m := new(edgews.Mux)
		edgews.Handle(m, "set", func(context.Context, *edgews.Socket, struct{ N map[string]int }) error { return nil })
		return m.Dispatch(t.Context(), nil, edgews.Message{Kind: edgews.Text, Data: jsonOf(t, map[string]any{
			"type": "set", "N": map[string]any{text: text},
		})})
	}},
	{"the method of a call", func(t *testing.T, text string) error {
		_, err := new(edgews.Mux).Call(t.Context(), text, nil)
		return err
	}},
	{"the method of a call to an object", func(t *testing.T, text string) error {
		n := edgews.NewNamespace("named", func(context.Context, *edgews.State) (edgews.Object, error) { return silentObject{}, nil }, nil)
		defer n.Shutdown(t.Context())
		_, err := edgews.Call[int, any](t.Context(), n.Get(n.IDFromName(text)), text, 1)
		return err
	}},
	{"an object id", func(t *testing.T, text string) error {
		n := edgews.NewNamespace("ids", func(context.Context, *edgews.State) (edgews.Object, error) { return silentObject{}, nil }, nil)
		defer n.Shutdown(t.Context())
		_, err := n.ParseID(text + strings.Repeat("0", max(0, 64-len(text))))
		return err
	}},
}

func jsonOf(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	require.NoError(t, err)
	return data
}

type silentObject struct{}

func (silentObject) ServeHTTP(http.ResponseWriter, *http.Request) {}

func TestErrorsWithTextOfAPeerAreLines(t *testing.T) {
	for _, c := range errorsWithText {
		t.Run(c.name, func(t *testing.T) {
			for _, text := range []string{forged, longForged} {
				assertLine(t, c.err(t, text))
			}
		})
	}
}

// A CallError shows at most 300 characters. Its fields have everything.
func TestCallErrorIsShort(t *testing.T) {
	e := &edgews.CallError{Code: "no_room", Message: longForged}
	assert.Equal(t, 300, utf8.RuneCountInString(e.Error()))
	assert.True(t, strings.HasPrefix(e.Error(), "no_room: x level=ERROR msg=forged [31m é"), "%.100q", e.Error())
	assert.True(t, strings.HasSuffix(e.Error(), "é…"))
	assert.Equal(t, longForged, e.Message)

	just := &edgews.CallError{Code: "c", Message: strings.Repeat("é", 297)}
	assert.Equal(t, "c: "+just.Message, just.Error())
	assert.Equal(t, "internal: m", (&edgews.CallError{Message: "m"}).Error())
}

// What a request has in its headers, its host and its path gets neither into the head of a refusal, nor unescaped into its body or its error.
func TestRefusalsWithTextOfAClient(t *testing.T) {
	for _, field := range []string{
		"Origin", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Protocol", "Host", "Proto",
	} {
		t.Run(field, func(t *testing.T) {
			for _, text := range []string{forged, longForged} {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.Header = http.Header{
					"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {aKey},
				}
				switch field {
				case "Host":
					r.Host = text
					r.Header.Set("Origin", "https://evil.example")
				case "Proto":
					r.Proto, r.ProtoMajor, r.ProtoMinor = text, 1, 0
				default:
					r.Header[field] = []string{text}
				}
				w := httptest.NewRecorder()
				_, err := edgews.Upgrade(w, r, nil)
				assertLine(t, err)
				body := strings.TrimSuffix(w.Body.String(), "\n")
				assertPrintable(t, body)
				assert.LessOrEqual(t, len(body), maxErrorText)
				assert.NotContains(t, fmt.Sprint(w.Header()), "forged")
			}
		})
	}
}

// What a server answers gets into the error of Dial as one line. Where the text is that of a header, net/http has refused most of forged.
func TestDialErrorsWithTextOfAServer(t *testing.T) {
	long := "forged\u202e" + strings.Repeat("é", 10_000)
	token := strings.Repeat("x", 10_000)
	for _, c := range []struct{ name, status, header string }{
		{"status", "400 " + long, ""},
		{"accept", "", "Sec-WebSocket-Accept: " + long},
		{"upgrade", "", "Upgrade: " + long},
		{"protocol", "", "Sec-WebSocket-Protocol: " + long},
		{"extension", "", "Sec-WebSocket-Extensions: " + token},
		{"parameter", "", "Sec-WebSocket-Extensions: permessage-deflate; " + token},
		{"a parameter twice", "", "Sec-WebSocket-Extensions: permessage-deflate; " + token + "; " + token},
		{"no extension", "", "Sec-WebSocket-Extensions: " + long},
		{"redirect", "302 Found", "Location: " + long + "://x"},
		{"redirect to another scheme", "302 Found", "Location: ftp://x/?" + long},
		{"redirect to a page that is not there", "302 Found", "Location: http://127.0.0.1:1/?" + long},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := rawServer(t, func(key string) string {
				return "HTTP/1.1 " + cmp.Or(c.status, "101 Switching Protocols") + "\r\nContent-Length: 0\r\nUpgrade: websocket\r\n" +
					"Connection: Upgrade\r\nSec-WebSocket-Accept: " + handshake.AcceptFor(key) + "\r\n" + c.header + "\r\n\r\n"
			})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			transport := &http.Transport{DisableKeepAlives: true}
			_, _, err := edgews.Dial(ctx, url, &edgews.DialOptions{HTTPClient: &http.Client{Transport: transport}})
			assertLine(t, err)
		})
	}
}

// rawServer answers handshakes with the bytes that answer returns for their keys.
func rawServer(t *testing.T, answer func(key string) string) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if assert.NoError(t, err) {
			io.WriteString(conn, answer(r.Header.Get("Sec-Websocket-Key")))
			conn.Close()
		}
	}))
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http")
}

// Lines of a log about a socket are those that the library writes, whatever the peer has sent.
func TestLogOfAHostilePeer(t *testing.T) {
	var lines bytes.Buffer
	opts := edgews.Options{Logger: slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, frames := range [][]aFrame{
		{closing(1000, forged)},
		{text("\xff" + forged)},
		{{bits: fin, opcode: 3, payload: forged}},
		{closing(4000, "\xff"+forged)},
	} {
		overAPipe(t, opts, func(t *testing.T, s *edgews.Socket, p *peer) {
			require.NoError(t, s.Accept())
			p.sends(frames...)
			p.ignores()
			p.hangsUp()
			waitDone(t, s)
			_, err := s.Receive(t.Context())
			assertLine(t, err)
			assertLine(t, s.Err())
		})
	}
	require.NotEmpty(t, lines.String())
	for line := range strings.Lines(lines.String()) {
		assertPrintable(t, strings.TrimSuffix(line, "\n"))
		assert.True(t, strings.HasPrefix(line, "time="), "%q", line)
	}
}
