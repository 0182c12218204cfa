package edgews

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The key of RFC 6455 §1.3 and its answer.
const (
	rfcKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	rfcAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// testPatience bounds waits that end at once unless something is broken.
const testPatience = time.Minute

// maskedHi is a text frame "hi" with a zero mask, and plainHi the same from a server.
var (
	maskedHi = []byte{0x81, 0x82, 0, 0, 0, 0, 'h', 'i'}
	plainHi  = []byte{0x81, 0x02, 'h', 'i'}
)

// freeAddr returns an address at which nothing listens. Its port is below those that a system gives to connections, so that none of another
// test takes it.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		if ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000))); err == nil {
			require.NoError(t, ln.Close())
			return ln.Addr().String()
		}
	}
	require.FailNow(t, "no free port")
	return ""
}

// rawPeer writes and reads HTTP without net/http's client.
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
