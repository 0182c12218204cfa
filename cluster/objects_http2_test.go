package cluster_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	_ "github.com/edgews/edgews/edgewsh2" // net/http's server accepts the extended CONNECT
)

// serveHTTP2 starts another server of a site, which speaks HTTP/2 without TLS. It returns its address.
func (s *site) serveHTTP2(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: s.server.Handler, Protocols: unencryptedHTTP2()}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return l.Addr().String()
}

func unencryptedHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

// TestHTTP2: an ordinary request and a WebSocket over HTTP/2, through a node that is not the home. The WebSocket survives its home.
func TestHTTP2(t *testing.T) {
	sites := startSites(t, "a", "b", "c")
	home, others := settledHomeOf(t, sites, "lobby")
	addr := others[0].serveHTTP2(t)
	client := &http.Client{Transport: &http.Transport{Protocols: unencryptedHTTP2()}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	resp, err := client.Post("http://"+addr+"/lobby", "text/plain", strings.NewReader("hello"))
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, "HTTP/2.0 202 1 hello", fmt.Sprint(resp.Proto, " ", resp.StatusCode, " ", string(body)))

	c := dialHTTP2(t, addr, "/lobby?user=u")
	assert.Equal(t, "u x 1 of 1", c.ask("x"))
	require.NoError(t, home.Leave(t.Context()))
	assert.Equal(t, "u x 2 of 1", c.ask("x"))
	c.data(0x88, "\x03\xe8") // Close 1000
	assert.Equal(t, "\x88\x02\x03\xe8", string(c.answer(4)))
	others[0].awaitNoSockets(t)
}

// awaitNoSockets waits until a site has no sockets of clients.
func (s *site) awaitNoSockets(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return s.OpenSockets() == 0 }, 30*time.Second, 5*time.Millisecond)
}

// streamHTTP2 is a WebSocket on stream 1 of a connection, of a client that is as simple as can be.
type streamHTTP2 struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	got  []byte // of the stream
}

// The types of frames (RFC 9113 section 6).
const (
	frameData     = 0
	frameHeaders  = 1
	frameSettings = 4
)

// dialHTTP2 opens a WebSocket with an extended CONNECT (RFC 8441).
func dialHTTP2(t *testing.T, addr, path string) *streamHTTP2 {
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	c := &streamHTTP2{t: t, conn: conn, r: bufio.NewReader(conn)}
	_, err = io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	require.NoError(t, err)
	c.frame(frameSettings, 0, 0, nil)
	var fields []byte
	for _, f := range [][2]string{
		{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"}, {":path", path}, {":authority", addr},
		{"sec-websocket-version", "13"}, {"sec-websocket-protocol", "tally"},
	} {
		fields = append(fields, 0, byte(len(f[0]))) // a literal without indexing, RFC 7541 section 6.2.2
		fields = append(append(append(fields, f[0]...), byte(len(f[1]))), f[1]...)
	}
	c.frame(frameHeaders, 4, 1, fields) // END_HEADERS
	for {
		kind, payload := c.read()
		if kind == frameHeaders {
			require.Equal(t, byte(0x88), payload[0], "a status that is not 200")
			return c
		}
	}
}

func (c *streamHTTP2) frame(kind, flags byte, stream uint32, payload []byte) {
	c.t.Helper()
	head := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	head = binary.BigEndian.AppendUint32(append(head, flags), stream)
	_, err := c.conn.Write(append(head, payload...))
	require.NoError(c.t, err)
}

// read returns the next frame. It answers settings.
func (c *streamHTTP2) read() (kind byte, payload []byte) {
	c.t.Helper()
	var head [9]byte
	_, err := io.ReadFull(c.r, head[:])
	require.NoError(c.t, err)
	payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err = io.ReadFull(c.r, payload)
	require.NoError(c.t, err)
	if kind = head[3]; kind == frameSettings && head[4] == 0 {
		c.frame(frameSettings, 1, 0, nil)
	}
	return kind, payload
}

// data sends a WebSocket frame, masked with zeros. first is its first byte.
func (c *streamHTTP2) data(first byte, content string) {
	c.t.Helper()
	c.frame(frameData, 0, 1, append([]byte{first, 0x80 | byte(len(content)), 0, 0, 0, 0}, content...))
}

// answer returns the next n bytes of the stream.
func (c *streamHTTP2) answer(n int) []byte {
	c.t.Helper()
	for len(c.got) < n {
		if kind, payload := c.read(); kind == frameData {
			c.got = append(c.got, payload...)
		}
	}
	got := c.got[:n]
	c.got = c.got[n:]
	return got
}

// ask sends a text message, and returns the next one.
func (c *streamHTTP2) ask(text string) string {
	c.t.Helper()
	c.data(0x81, text)
	head := c.answer(2)
	require.Equal(c.t, byte(0x81), head[0])
	return string(c.answer(int(head[1])))
}
