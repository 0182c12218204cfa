package edgews

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The key of RFC 6455 §1.3 and its answer.
const (
	rfcKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	rfcAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// testPatience bounds waits that end at once unless something is broken.
const testPatience = 10 * time.Second

// maskedHi is a text frame "hi" with a zero mask, and plainHi the same from a server.
var (
	maskedHi = []byte{0x81, 0x82, 0, 0, 0, 0, 'h', 'i'}
	plainHi  = []byte{0x81, 0x02, 'h', 'i'}
)

// rawPeer speaks HTTP by hand.
type rawPeer struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dialRaw(t *testing.T, addr string) *rawPeer {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	return newRawPeer(t, conn)
}

func newRawPeer(t *testing.T, conn net.Conn) *rawPeer {
	require.NoError(t, conn.SetDeadline(time.Now().Add(testPatience)))
	t.Cleanup(func() { conn.Close() })
	return &rawPeer{t, conn, bufio.NewReader(conn)}
}

// head reads up to and including the empty line.
func (p *rawPeer) head() string {
	p.t.Helper()
	var head strings.Builder
	for {
		line, err := p.r.ReadString('\n')
		require.NoError(p.t, err, "after %q", head.String())
		head.WriteString(line)
		if line == "\r\n" {
			return head.String()
		}
	}
}

// response reads an answer.
func (p *rawPeer) response() *http.Response {
	p.t.Helper()
	resp, err := http.ReadResponse(p.r, nil)
	require.NoError(p.t, err)
	return resp
}

func TestAcceptFor(t *testing.T) {
	assert.Equal(t, rfcAccept, acceptFor(rfcKey))
}

func TestNewKey(t *testing.T) {
	a, b := newKey(), newKey()
	assert.True(t, validKey(a))
	assert.NotEqual(t, a, b)
}

func TestValidKey(t *testing.T) {
	for key, want := range map[string]bool{
		rfcKey:                         true,
		"AAAAAAAAAAAAAAAAAAAAAA==":     true,
		"":                             false,
		"dGhlIHNhbXBsZSBub25jZQ":       false, // no padding
		"dGhlIHNhbXBsZSBub25j":         false, // 15 bytes
		"dGhlIHNhbXBsZSBub25jZTE=":     false, // 17 bytes
		"!!!!!!!!!!!!!!!!!!!!!!!!":     false, // 24 characters, as gobwas wants it
		"dGhlIHNhbXBsZSBub25jZQ==, x":  false,
		"__hlIHNhbXBsZSBub25jZQ==":     false, // the URL alphabet
		"ZGdobElITmhiWEJzWlNCdWIyNWo=": false,
	} {
		assert.Equal(t, want, validKey(key), "%q", key)
	}
}

func TestLists(t *testing.T) {
	for _, tt := range []struct {
		values []string
		want   bool
	}{
		{nil, false},
		{[]string{"upgrade"}, true},
		{[]string{"Keep-Alive,\tUPGRADE"}, true},
		{[]string{"keep-alive", "Upgrade"}, true},
		{[]string{", ,upgrade,"}, true},
		{[]string{"upgraded"}, false},
		{[]string{"no upgrade"}, false},
	} {
		assert.Equal(t, tt.want, lists(tt.values, "upgrade"), "%q", tt.values)
	}
}

func TestIsToken(t *testing.T) {
	for s, want := range map[string]bool{
		"chat": true, "v1.json": true, "!#$%&'*+-.^_`|~09azAZ": true,
		"": false, "a b": false, "a,b": false, `a"b`: false, "a/b": false, "ä": false, "a\x7f": false, "a\t": false,
	} {
		assert.Equal(t, want, isToken(s), "%q", s)
	}
}

func TestHeaderValuesOfEitherSpelling(t *testing.T) {
	h := http.Header{}
	h.Add(headerProtocol, "a")
	h[headerProtocol] = []string{"b"}
	assert.Equal(t, []string{"a", "b"}, headerValues(h, headerProtocol))
	assert.Equal(t, []string{"x"}, headerValues(http.Header{"Origin": {"x"}}, "Origin"))
}

// readN reads n bytes of a connection, those in buffered first.
func readN(t *testing.T, c wireConfig, n int) []byte {
	t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(testPatience)); err != nil {
		require.ErrorIs(t, err, os.ErrNoDeadline)
	}
	got := make([]byte, n)
	_, err := io.ReadFull(io.MultiReader(bytes.NewReader(c.buffered), c.conn), got)
	require.NoError(t, err)
	return got
}
