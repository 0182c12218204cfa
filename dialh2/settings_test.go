package dialh2_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/dialh2"
	"github.com/edgews/edgews/edgewsh2"
)

// recorder records what is written to a connection.
type recorder struct {
	net.Conn
	mu      sync.Mutex
	written []byte // guarded by mu
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	r.written = append(r.written, p...)
	r.mu.Unlock()
	return r.Conn.Write(p)
}

// The transport sends frames of at most 16 KiB, because it has a buffer of that size for each socket.
func TestFramesAreSmall(t *testing.T) {
	server := httptest.NewUnstartedServer(edgewsh2.Handler(returns(nil)))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Config.HTTP2 = &http.HTTP2Config{MaxReadFrameSize: 1 << 20}
	server.Start()
	defer server.Close()
	var sent *recorder
	transport := &dialh2.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		sent = &recorder{Conn: conn}
		return sent, err
	}}
	defer transport.CloseIdleConnections()
	socket, _, err := edgews.Dial(within(t), "ws"+strings.TrimPrefix(server.URL, "http"), &edgews.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, Options: plainWithRoom,
	})
	require.NoError(t, err)
	big := strings.Repeat("x", 1<<20)
	says(t, socket, big, big)
	require.NoError(t, socket.Close(edgews.StatusNormalClosure, ""))
	ended(t, socket)
	sent.mu.Lock()
	defer sent.mu.Unlock()
	frames := sent.written[len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):]
	data := 0
	for len(frames) > 0 {
		length := int(frames[0])<<16 | int(frames[1])<<8 | int(frames[2])
		if frames[3] == 0 { // DATA
			assert.LessOrEqual(t, length, 16<<10)
			data += length
		}
		frames = frames[9+length:]
	}
	assert.Greater(t, data, len(big))
}

// A server that is none, or that ends at once, is an error.
func TestServerWithoutSettings(t *testing.T) {
	for name, answer := range map[string]string{
		"nothing": "", "part of a header": "\x00\x00", "part of the settings": "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05", "HTTP/1.1": "HTTP/1.1 400 Bad Request\r\n\r\n",
		"another frame": "\x00\x00\x00\x06\x00\x00\x00\x00\x00",
	} {
		t.Run(name, func(t *testing.T) {
			transport := &dialh2.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
				near, far := net.Pipe()
				go func() {
					preface := make([]byte, 24)
					_, _ = far.Read(preface)
					go func() { // what else the client sends
						for err := error(nil); err == nil; {
							_, err = far.Read(preface)
						}
					}()
					_, _ = far.Write([]byte(answer))
					far.Close()
				}()
				return near, nil
			}}
			defer transport.CloseIdleConnections()
			_, _, err := edgews.Dial(within(t), "ws://example.com/", &edgews.DialOptions{HTTPClient: &http.Client{Transport: transport}})
			require.Error(t, err)
			t.Log(err)
		})
	}
}
