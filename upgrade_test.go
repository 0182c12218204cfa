package edgews

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/internal/handshake"
)

// outcome is what upgrade returned in a handler.
type outcome struct {
	wireConfig
	err error
}

// serveUpgrade serves upgrade and reports each outcome.
func serveUpgrade(t *testing.T, opts *UpgradeOptions, wrap func(http.ResponseWriter) http.ResponseWriter) (string, <-chan outcome) {
	t.Helper()
	outcomes := make(chan outcome, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Set-Cookie", "session=1")
		if wrap != nil {
			w = wrap(w)
		}
		c, err := upgrade(w, r, opts)
		if err == nil {
			t.Cleanup(func() { c.conn.Close() })
		}
		outcomes <- outcome{c, err}
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String(), outcomes
}

// upgradeRequest is a correct opening handshake, each of whose lines can be replaced ("Name: value"), removed
// ("-Name") or added to ("+Name: value").
func upgradeRequest(edits ...string) string {
	lines := []string{
		"GET /chat HTTP/1.1", "Host: example.com", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + rfcKey,
	}
	for _, edit := range edits {
		name, _, _ := strings.Cut(strings.TrimLeft(edit, "+-"), ":")
		if strings.HasSuffix(edit, "HTTP/1.1") || strings.HasSuffix(edit, "HTTP/1.0") {
			lines[0] = edit
			continue
		}
		kept := lines[:0:0]
		for _, line := range lines {
			if edit[0] == '+' || !strings.HasPrefix(line, name+":") {
				kept = append(kept, line)
			}
		}
		if edit[0] != '-' {
			kept = append(kept, strings.TrimPrefix(edit, "+"))
		}
		lines = kept
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

func TestUpgradeAccepts(t *testing.T) {
	for _, tt := range []struct {
		name  string
		edits []string
	}{
		{"b-hs-ok", nil},
		{"b-hs-connection-list", []string{"Connection: keep-alive, Upgrade"}},
		{"two Connection lines", []string{"Connection: keep-alive", "+Connection: Upgrade"}},
		{"b-hs-upgrade-case", []string{"Upgrade: WebSocket", "Connection: uPGRADE"}},
		{"b-hs-upgrade-list", []string{"Upgrade: websocket, foo"}},
		{"h2c and websocket", []string{"Upgrade: h2c, websocket"}},
		{"two Upgrade lines", []string{"Upgrade: h2c", "+Upgrade: websocket"}},
		{"lower-case names", []string{"-Sec-WebSocket-Key", "sec-websocket-key: " + rfcKey}},
		{"empty body", []string{"Content-Length: 0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, outcomes := serveUpgrade(t, nil, nil)
			peer := dialRaw(t, addr)
			io.WriteString(peer, upgradeRequest(tt.edits...))
			assert.Equal(t, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
				"Sec-WebSocket-Accept: "+rfcAccept+"\r\nSet-Cookie: session=1\r\n\r\n", peer.head())
			assert.NoError(t, (<-outcomes).err)
		})
	}
}

func TestUpgradeRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		edits  []string
		status int
		body   string
	}{
		{"b-hs-http10", []string{"GET / HTTP/1.0"}, 400, "the request is HTTP/1.0, which cannot be upgraded: use HTTP/1.1"},
		{"b-hs-post", []string{"POST / HTTP/1.1"}, 405, `the method is "POST": a WebSocket is opened with GET`},
		{"body", []string{"Content-Length: 2"}, 400, "the request has a body"},
		{"chunked body", []string{"Transfer-Encoding: chunked"}, 400, "the request has a body"},
		{"b-hs-no-upgrade-but-connection", []string{"-Upgrade"}, 426, `send "Upgrade: websocket"`},
		{"other upgrade", []string{"Upgrade: h2c"}, 426, `send "Upgrade: websocket"`},
		{"no Connection", []string{"-Connection"}, 400, `the Connection header is "": it has to contain "Upgrade"`},
		{"keep-alive", []string{"Connection: keep-alive"}, 400, `the Connection header is "keep-alive"`},
		{"no version", []string{"-Sec-WebSocket-Version"}, 426, `Sec-WebSocket-Version is ""`},
		{"b-hs-version-12", []string{"Sec-WebSocket-Version: 12"}, 426, `is "12": this server speaks version 13`},
		{"b-hs-version-8", []string{"Sec-WebSocket-Version: 8"}, 426, `is "8"`},
		{"b-hs-version-list", []string{"Sec-WebSocket-Version: 13, 8"}, 426, `is "13, 8"`},
		{"two versions", []string{"+Sec-WebSocket-Version: 13"}, 426, `is "13, 13"`},
		{"b-hs-key-missing", []string{"-Sec-WebSocket-Key"}, 400, `Sec-WebSocket-Key is ""`},
		{"b-hs-key-not-base64", []string{"Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!=="}, 400, "send 16 bytes in base64, once"},
		{"short key", []string{"Sec-WebSocket-Key: c2hvcnQ="}, 400, `Sec-WebSocket-Key is "c2hvcnQ="`},
		{"b-hs-key-twice", []string{"+Sec-WebSocket-Key: " + rfcKey}, 400, "Sec-WebSocket-Key is"},
		{"b-hs-origin", []string{"Origin: https://evil.example"}, 403, `origin "https://evil.example" may not open a WebSocket on host "example.com"`},
		{"two origins", []string{"Origin: http://example.com", "+Origin: http://evil.example"}, 403, "may not open"},
		{"bad protocol", []string{"Sec-WebSocket-Protocol: chat, a b"}, 400, `contains "a b", which is not a token`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, outcomes := serveUpgrade(t, &UpgradeOptions{Protocols: []string{"chat"}}, nil)
			peer := dialRaw(t, addr)
			io.WriteString(peer, upgradeRequest(tt.edits...)+"0\r\n\r\n") // for those that announce a body
			resp := peer.response()
			body, _ := io.ReadAll(resp.Body)
			assert.Equal(t, tt.status, resp.StatusCode)
			assert.Contains(t, string(body), tt.body)
			assert.Equal(t, 1, strings.Count(string(body), "\n"), "one line: %q", body)
			assert.Equal(t, "text/plain; charset=utf-8", resp.Header.Get("Content-Type"))

			var e *HandshakeError
			require.ErrorAs(t, (<-outcomes).err, &e)
			assert.Equal(t, tt.status, e.StatusCode)
			assert.Equal(t, string(body), e.Detail+"\n")
		})
	}
}

func TestRefusalHeaders(t *testing.T) {
	for _, tt := range []struct {
		edit  string
		lines []string
	}{
		{"POST / HTTP/1.1", []string{"Allow: GET"}},
		{"-Upgrade", []string{"Upgrade: websocket", "Connection: Upgrade"}},
		{"Sec-WebSocket-Version: 8", []string{"Sec-WebSocket-Version: 13", "Upgrade: websocket", "Connection: Upgrade"}},
	} {
		addr, _ := serveUpgrade(t, nil, nil)
		peer := dialRaw(t, addr)
		io.WriteString(peer, upgradeRequest(tt.edit))
		head := peer.head()
		for _, line := range tt.lines {
			assert.Contains(t, head, "\r\n"+line+"\r\n")
		}
	}
}

func TestUpgradeRefusesHTTP2(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := Upgrade(w, r, nil)
		assert.Error(t, err)
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	resp, err := srv.Client().Get(srv.URL)
	require.NoError(t, err)
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	assert.Equal(t, 505, resp.StatusCode)
	assert.Contains(t, string(body), "HTTP/2.0")
}

// What net/http refuses by itself never reaches a handler.
func TestNetHTTPRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, request string
		status        int
	}{
		{"b-hs-no-host", upgradeRequest("-Host"), 400},
		{"two hosts", upgradeRequest("+Host: evil.example"), 400},
		{"endless header", upgradeRequest("X: " + strings.Repeat("x", 2<<20)), 431},
		{"space before the colon", upgradeRequest("Upgrade : websocket"), 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, outcomes := serveUpgrade(t, nil, nil)
			peer := dialRaw(t, addr)
			go io.WriteString(peer, tt.request)
			assert.Equal(t, tt.status, peer.response().StatusCode)
			assert.Empty(t, outcomes)
		})
	}
}

func TestUpgradeSubprotocols(t *testing.T) {
	for _, tt := range []struct {
		name    string
		server  []string
		offered []string
		want    string
	}{
		{"none", nil, nil, ""},
		{"b-hs-proto-offered-not-chosen", nil, []string{"chat"}, ""},
		{"not offered", []string{"chat"}, nil, ""},
		{"none in common", []string{"chat"}, []string{"superchat"}, ""},
		{"the server's preference", []string{"b", "a"}, []string{"a, b"}, "b"},
		{"two lines", []string{"b"}, []string{"a", "b"}, "b"},
		{"case counts", []string{"chat"}, []string{"Chat"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, outcomes := serveUpgrade(t, &UpgradeOptions{Protocols: tt.server}, nil)
			peer := dialRaw(t, addr)
			var edits []string
			for _, offered := range tt.offered {
				edits = append(edits, "+Sec-WebSocket-Protocol: "+offered)
			}
			io.WriteString(peer, upgradeRequest(edits...))
			head := peer.head()
			if tt.want == "" {
				assert.NotContains(t, head, "Protocol:")
			} else {
				assert.Contains(t, head, "\r\nSec-WebSocket-Protocol: "+tt.want+"\r\n")
			}
			c := <-outcomes
			require.NoError(t, c.err)
			assert.Equal(t, tt.want, c.protocol)
		})
	}
}

func TestUpgradeOrigins(t *testing.T) {
	for _, tt := range []struct {
		name   string
		opts   UpgradeOptions
		origin string
		status int
	}{
		{"same host", UpgradeOptions{}, "http://example.com", 101},
		{"allowed", UpgradeOptions{AllowedOrigins: []string{"https://*.example.org"}}, "https://a.example.org", 101},
		{"not allowed", UpgradeOptions{AllowedOrigins: []string{"https://*.example.org"}}, "http://a.example.org", 403},
		{"not checked", UpgradeOptions{InsecureSkipOriginCheck: true}, "https://evil.example", 101},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, _ := serveUpgrade(t, &tt.opts, nil)
			peer := dialRaw(t, addr)
			io.WriteString(peer, upgradeRequest("Origin: "+tt.origin))
			assert.Equal(t, tt.status, peer.response().StatusCode)
		})
	}
}

func TestUpgradeCompression(t *testing.T) {
	for _, tt := range []struct {
		name   string
		opts   *UpgradeOptions
		offer  string
		agreed bool
	}{
		{"offered", nil, "permessage-deflate; client_max_window_bits", true},
		{"not offered", nil, "", false},
		{"another extension", nil, "x-webkit-deflate-frame", false},
		{"disabled", &UpgradeOptions{Options: Options{Compression: &Compression{Disable: true}}}, "permessage-deflate", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, outcomes := serveUpgrade(t, tt.opts, nil)
			peer := dialRaw(t, addr)
			io.WriteString(peer, upgradeRequest("+Sec-WebSocket-Extensions: "+tt.offer))
			head := peer.head()
			c := <-outcomes
			require.NoError(t, c.err)
			assert.Equal(t, tt.agreed, c.deflate != nil)
			if !tt.agreed {
				assert.NotContains(t, head, "Extensions")
				assert.Empty(t, c.extensions)
				return
			}
			assert.Contains(t, head, "\r\nSec-WebSocket-Extensions: "+c.extensions+"\r\n")
			assert.True(t, strings.HasPrefix(c.extensions, "permessage-deflate"))
		})
	}
}

// b-hs-early-frames
func TestUpgradeKeepsEarlyFrames(t *testing.T) {
	addr, outcomes := serveUpgrade(t, nil, nil)
	peer := dialRaw(t, addr)
	peer.Write(append([]byte(upgradeRequest()), maskedHi...))
	c := <-outcomes
	require.NoError(t, c.err)
	assert.Equal(t, maskedHi, c.buffered)
	assert.False(t, c.client)
	peer.Write(maskedHi)
	assert.Equal(t, append(bytes.Clone(maskedHi), maskedHi...), readN(t, c.wireConfig, 2*len(maskedHi)))
}

func TestUpgradeHeader(t *testing.T) {
	opts := &UpgradeOptions{Header: http.Header{"X-Room": {"a", "b"}, "Set-Cookie": {"own=1"}}}
	addr, _ := serveUpgrade(t, opts, func(w http.ResponseWriter) http.ResponseWriter {
		h := w.Header()
		h.Set("Content-Length", "5")
		h.Set("Connection", "close")
		h.Set("Sec-WebSocket-Protocol", "smuggled")
		h.Set("Content-Encoding", "gzip")
		h.Set("X-Split", "a\r\nSec-WebSocket-Extensions: evil")
		return w
	})
	peer := dialRaw(t, addr)
	io.WriteString(peer, upgradeRequest())
	head := peer.head()
	assert.Contains(t, head, "\r\nX-Room: a\r\nX-Room: b\r\n")
	assert.Contains(t, head, "\r\nSet-Cookie: session=1\r\nSet-Cookie: own=1\r\n")
	assert.Contains(t, head, "\r\nX-Split: a  Sec-WebSocket-Extensions: evil\r\n")
	assert.Equal(t, 1, strings.Count(head, "Connection:"))
	for _, gone := range []string{"Content-", "Protocol:", "close"} {
		assert.NotContains(t, head, gone)
	}
	assert.Equal(t, http.Header{"X-Room": {"a", "b"}, "Set-Cookie": {"own=1"}}, opts.Header, "options are not changed")
}

func TestUpgradeOptionsThatAreMistakes(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts UpgradeOptions
		want string
	}{
		{"protocol", UpgradeOptions{Protocols: []string{"a b"}}, `UpgradeOptions.Protocols: "a b" is not a token`},
		{"origin", UpgradeOptions{AllowedOrigins: []string{"*"}}, "say so with InsecureSkipOriginCheck"},
		{"subprotocol header", UpgradeOptions{Header: http.Header{"Sec-Websocket-Protocol": {"x"}}}, "is chosen from Protocols"},
		{"accept header", UpgradeOptions{Header: http.Header{"sec-websocket-accept": {"x"}}}, "is not for the caller"},
		{"upgrade header", UpgradeOptions{Header: http.Header{"Upgrade": {"x"}}}, "Upgrade is not for the caller"},
		{"connection header", UpgradeOptions{Header: http.Header{"Connection": {"x"}}}, "Connection is not"},
		{"length header", UpgradeOptions{Header: http.Header{"Content-Length": {"1"}}}, "Content-Length is not"},
		{"header name", UpgradeOptions{Header: http.Header{"a b": {"1"}}}, `"a b" is not a header name`},
		{"line break", UpgradeOptions{Header: http.Header{"X": {"a\r\nb"}}}, "the value of X contains a line break or NUL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, outcomes := serveUpgrade(t, &tt.opts, nil)
			peer := dialRaw(t, addr)
			io.WriteString(peer, upgradeRequest())
			resp := peer.response()
			body, _ := io.ReadAll(resp.Body)
			assert.Equal(t, 500, resp.StatusCode)
			assert.Contains(t, string(body), tt.want)
			assert.ErrorContains(t, (<-outcomes).err, tt.want)
		})
	}
}

// opaqueWriter is a middleware's ResponseWriter without Unwrap, transparentWriter one with it.
type (
	opaqueWriter      struct{ http.ResponseWriter }
	transparentWriter struct{ http.ResponseWriter }
)

func (w transparentWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestUpgradeThroughWrappers(t *testing.T) {
	addr, outcomes := serveUpgrade(t, nil, func(w http.ResponseWriter) http.ResponseWriter {
		return transparentWriter{transparentWriter{w}}
	})
	peer := dialRaw(t, addr)
	io.WriteString(peer, upgradeRequest())
	assert.Equal(t, 101, peer.response().StatusCode)
	assert.NoError(t, (<-outcomes).err)
}

func TestUpgradeNamesTheWrapper(t *testing.T) {
	addr, outcomes := serveUpgrade(t, nil, func(w http.ResponseWriter) http.ResponseWriter {
		return transparentWriter{opaqueWriter{w}}
	})
	peer := dialRaw(t, addr)
	io.WriteString(peer, upgradeRequest())
	resp := peer.response()
	body, _ := io.ReadAll(resp.Body)
	assert.Equal(t, 500, resp.StatusCode)
	assert.Contains(t, string(body), "edgews.opaqueWriter cannot hand over its connection: if it wraps another ResponseWriter, add Unwrap() http.ResponseWriter")
	err := (<-outcomes).err
	assert.ErrorIs(t, err, http.ErrNotSupported)
	assert.ErrorContains(t, err, "opaqueWriter")
}

func TestUpgradeTwice(t *testing.T) {
	second := make(chan error, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrade(w, r, nil)
		if assert.NoError(t, err) {
			defer c.conn.Close()
		}
		_, err = Upgrade(w, r, nil)
		second <- err
	}))
	defer srv.Close()
	peer := dialRaw(t, srv.Listener.Addr().String())
	io.WriteString(peer, upgradeRequest())
	peer.head()
	assert.ErrorIs(t, <-second, http.ErrHijacked)
	rest, _ := io.ReadAll(peer.r)
	assert.Empty(t, rest, "no second answer")
}

// oneConn is a listener with a single connection to accept.
type oneConn struct {
	conn   chan net.Conn
	closed chan struct{}
}

func (l oneConn) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conn:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l oneConn) Close() error   { close(l.closed); return nil }
func (l oneConn) Addr() net.Addr { return &net.UnixAddr{} }

func TestUpgradeClearsDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(chan wireConfig, 1)
		srv := http.Server{ReadTimeout: time.Second, WriteTimeout: time.Second}
		srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := upgrade(w, r, nil)
			assert.NoError(t, err)
			got <- c
		})
		near, far := net.Pipe()
		ln := oneConn{make(chan net.Conn, 1), make(chan struct{})}
		ln.conn <- far
		go srv.Serve(ln)
		defer srv.Close()

		peer := &rawPeer{t, near, bufio.NewReader(near)}
		go io.WriteString(peer, upgradeRequest())
		peer.head()
		c := <-got
		defer c.conn.Close()
		time.Sleep(time.Hour)
		go io.Copy(near, peer.r)
		assertEchoes(t, c)
	})
}

// An open socket keeps nothing of its request in memory.
func TestUpgradeLetsTheRequestGo(t *testing.T) {
	got, requests := make(chan wireConfig, 1), make(chan weak.Pointer[http.Request], 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrade(w, r, &UpgradeOptions{Protocols: []string{"chat"}})
		assert.NoError(t, err)
		requests <- weak.Make(r)
		got <- c
	}))
	defer srv.Close()
	peer := dialRaw(t, srv.Listener.Addr().String())
	peer.Write(append([]byte(upgradeRequest("+Sec-WebSocket-Protocol: chat")), maskedHi...))
	peer.head()
	c, request := <-got, <-requests
	defer c.conn.Close()
	assert.Eventually(t, func() bool { runtime.GC(); return request.Value() == nil }, testPatience, time.Millisecond)
	runtime.KeepAlive(c)
}

// hijacker hands over any connection.
type hijacker struct {
	http.ResponseWriter
	conn net.Conn
}

func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) { return h.conn, nil, nil }

func TestUpgradeDoesNotWriteForEver(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header = http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, handshake.VersionHeader: {"13"}, handshake.KeyHeader: {rfcKey}}
	_, err := Upgrade(hijacker{httptest.NewRecorder(), server}, r, &UpgradeOptions{Options: Options{WriteTimeout: time.Millisecond}})
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	assert.True(t, timeout.Timeout())
	_, err = server.Write(nil)
	assert.ErrorIs(t, err, io.ErrClosedPipe)
}

func TestIsUpgrade(t *testing.T) {
	for _, tt := range []struct {
		header http.Header
		want   bool
	}{
		{http.Header{}, false},
		{http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}}, true},
		{http.Header{"Upgrade": {"h2c, WebSocket"}}, true},
		{http.Header{"Upgrade": {"h2c"}, "Connection": {"Upgrade"}}, false},
	} {
		assert.Equal(t, tt.want, IsUpgrade(&http.Request{Header: tt.header}), "%v", tt.header)
	}
}

func TestUpgradeReturnsASocket(t *testing.T) {
	got := make(chan *Socket, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := Upgrade(w, r, &UpgradeOptions{Protocols: []string{"chat"}})
		assert.NoError(t, err)
		got <- s
	}))
	defer srv.Close()
	peer := dialRaw(t, srv.Listener.Addr().String())
	io.WriteString(peer, upgradeRequest("+Sec-WebSocket-Protocol: chat"))
	peer.head()
	s := <-got
	assert.Equal(t, "chat", s.Protocol())
	assert.Equal(t, "", s.URL())
	assert.Equal(t, "", s.Extensions())
}

// serveRespond serves Respond with client and reports what it returned.
func serveRespond(t *testing.T, client *Socket) (string, <-chan error) {
	t.Helper()
	errs := make(chan error, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		errs <- Respond(w, r, client, &UpgradeOptions{Protocols: []string{"chat"}})
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String(), errs
}

func TestRespond(t *testing.T) {
	client, server := NewPair()
	addr, errs := serveRespond(t, client)

	peer := dialRaw(t, addr)
	io.WriteString(peer, upgradeRequest("+Sec-WebSocket-Protocol: chat"))
	assert.Equal(t, 101, peer.response().StatusCode)
	require.NoError(t, <-errs)
	assert.Equal(t, "chat", server.Protocol())

	again := dialRaw(t, addr)
	io.WriteString(again, upgradeRequest())
	assert.Equal(t, 500, again.response().StatusCode)
	assert.ErrorIs(t, <-errs, ErrUsed)
	assert.Equal(t, Open, server.ReadyState(), "a pair that is in use is left as it is")
}

func TestRespondNeedsAPair(t *testing.T) {
	addr, errs := serveRespond(t, nil)
	peer := dialRaw(t, addr)
	io.WriteString(peer, upgradeRequest())
	resp := peer.response()
	body, _ := io.ReadAll(resp.Body)
	assert.Equal(t, 500, resp.StatusCode)
	assert.Equal(t, "the handler's socket cannot be used in a response\n", string(body))
	err := <-errs
	assert.ErrorIs(t, err, ErrNotPair)
	var e *HandshakeError
	require.True(t, errors.As(err, &e))
	assert.Equal(t, 500, e.StatusCode)
}

// A proxy may treat the connection as a tunnel without looking at the status. What its client sends next must not be served as a request.
func TestRefusedUpgradeClosesTheConnection(t *testing.T) {
	const next = "GET /private HTTP/1.1\r\nHost: example.com\r\n\r\n"
	served := make(chan string, 10)
	rooms := NewNamespace("rooms", func(context.Context, *State) (Object, error) {
		return nil, errors.New("no rooms today")
	}, &NamespaceOptions{Options: Options{Logger: slog.New(slog.DiscardHandler)}})
	mux := http.NewServeMux()
	mux.HandleFunc("/chat", func(w http.ResponseWriter, r *http.Request) { Upgrade(w, r, nil) })
	mux.HandleFunc("/wrong", func(w http.ResponseWriter, r *http.Request) {
		Upgrade(w, r, &UpgradeOptions{Protocols: []string{"a b"}})
	})
	mux.HandleFunc("/opaque", func(w http.ResponseWriter, r *http.Request) { Upgrade(opaqueWriter{w}, r, nil) })
	mux.HandleFunc("/nil", func(w http.ResponseWriter, r *http.Request) { Respond(w, r, nil, nil) })
	mux.Handle("/room", rooms.Get(rooms.NewUniqueID()))
	mux.HandleFunc("/private", func(w http.ResponseWriter, r *http.Request) { served <- r.URL.Path })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	refusals := []struct {
		name, request string
		status        int
	}{
		{"origin", upgradeRequest("+Origin: https://evil.example"), 403},
		{"method", upgradeRequest("POST /chat HTTP/1.1"), 405},
		{"version", upgradeRequest("Sec-WebSocket-Version: 8"), 426},
		{"no upgrade", upgradeRequest("-Upgrade"), 426},
		{"key", upgradeRequest("-Sec-WebSocket-Key"), 400},
		{"options", upgradeRequest("GET /wrong HTTP/1.1"), 500},
		{"wrapper", upgradeRequest("GET /opaque HTTP/1.1"), 500},
		{"no pair", upgradeRequest("GET /nil HTTP/1.1"), 500},
		{"object", upgradeRequest("GET /room HTTP/1.1"), 500},
	}
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			refusedAndClosed(t, srv, tt.request+next, tt.status)
		})
	}
	require.NoError(t, rooms.Shutdown(t.Context()))
	refusedAndClosed(t, srv, upgradeRequest("GET /room HTTP/1.1")+next, 503)
	assert.Empty(t, served)
}

// refusedAndClosed checks that one answer comes, with that status, and then the end.
func refusedAndClosed(t *testing.T, srv *httptest.Server, requests string, status int) {
	t.Helper()
	peer := dialRaw(t, srv.Listener.Addr().String())
	io.WriteString(peer, requests)
	head := peer.head()
	assert.Contains(t, head, fmt.Sprintf("HTTP/1.1 %d ", status))
	assert.Contains(t, head, "\r\nConnection: close\r\n")
	assert.Equal(t, status == http.StatusUpgradeRequired, strings.Contains(head, "\r\nConnection: Upgrade\r\n"))
	rest, _ := io.ReadAll(peer.r)
	assert.NotContains(t, string(rest), "HTTP/1.1 ", "nothing follows")
}

func TestUpgradeAfterTheAnswerHasBegun(t *testing.T) {
	for _, tt := range []struct {
		name  string
		begin func(w http.ResponseWriter)
		edits []string
		want  string
	}{
		{"WriteHeader", func(w http.ResponseWriter) { w.WriteHeader(200) }, nil, "the answer has begun already"},
		{"Write", func(w http.ResponseWriter) { io.WriteString(w, "hello") }, nil, "the answer has begun already"},
		{"WriteHeader, to be refused", func(w http.ResponseWriter) { w.WriteHeader(200) }, []string{"-Sec-WebSocket-Key"}, "the answer has begun already"},
		{"Hijack, to be refused", func(w http.ResponseWriter) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			conn.Close()
		}, []string{"-Sec-WebSocket-Key"}, "taken over already"},
	} {
		for _, wrap := range []func(http.ResponseWriter) http.ResponseWriter{
			func(w http.ResponseWriter) http.ResponseWriter { return w },
			func(w http.ResponseWriter) http.ResponseWriter { return transparentWriter{w} },
		} {
			t.Run(tt.name, func(t *testing.T) {
				errs := make(chan error, 2)
				var said bytes.Buffer
				srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w = wrap(w)
					tt.begin(w)
					_, err := Upgrade(w, r, nil)
					errs <- err
					errs <- Respond(w, r, nil, nil)
				}))
				srv.Config.ErrorLog = log.New(&said, "", 0)
				srv.Start()
				peer := dialRaw(t, srv.Listener.Addr().String())
				io.WriteString(peer, upgradeRequest(append(tt.edits, "Connection: Upgrade, close")...))
				all, _ := io.ReadAll(peer.r)
				assert.Equal(t, 1, strings.Count(string(all), "HTTP/1.1 "), "%s", all)
				assert.Contains(t, string(all), "200 OK")
				assert.ErrorContains(t, <-errs, tt.want)
				assert.Error(t, <-errs)
				srv.Close()
				assert.Empty(t, said.String())
			})
		}
	}
}

func TestUpgradeRecordedAfterTheAnswerHasBegun(t *testing.T) {
	w := httptest.NewRecorder()
	w.WriteHeader(http.StatusTeapot)
	_, err := Upgrade(w, httptest.NewRequest("GET", "/", nil), nil)
	assert.ErrorContains(t, err, "the answer has begun already")
	assert.Empty(t, w.Body.String())
}
