package dialh2_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// A proxy passes WebSockets through between HTTP/2 and HTTP/1.1, in both directions, with edgewsh2.Handler and without. So does Respond with a
// dialed socket.
func TestProxy(t *testing.T) {
	for _, c := range []struct {
		name         string
		front        func(testing.TB, http.Handler, ...func(*server)) *server
		client, back int // the version of HTTP
		respond      bool
	}{
		{"HTTP/2 to HTTP/1.1", serve, 2, 1, false},
		{"HTTP/2 to HTTP/1.1, bare", serveBare, 2, 1, false},
		{"HTTP/2 to HTTP/2", serve, 2, 2, false},
		{"HTTP/1.1 to HTTP/2", serve, 1, 2, false},
		{"Respond, HTTP/2 to HTTP/1.1", serve, 2, 1, true},
		{"Respond, HTTP/2 to HTTP/2, bare", serveBare, 2, 2, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, sockets := accepts(t, &edgews.UpgradeOptions{Protocols: []string{"chat"}})
			back := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				assert.Equal(t, c.back, r.ProtoMajor)
				h.ServeHTTP(w, r)
			}))
			upstream := back.client
			if c.back == 1 {
				upstream = back.Client()
			}
			var handler http.Handler = edgews.Proxy(back.webSocketURL("/"), &edgews.ProxyOptions{HTTPClient: upstream})
			if c.respond {
				handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					dialed, _, err := edgews.Dial(r.Context(), back.webSocketURL("/"), &edgews.DialOptions{HTTPClient: upstream, Protocols: []string{"chat"}})
					if assert.NoError(t, err) {
						assert.NoError(t, edgews.Respond(w, r, dialed, nil))
					}
				})
			}
			front := c.front(t, handler)
			client := front.client
			if c.client == 1 {
				client = front.Client()
			}
			for _, byServer := range []bool{true, false} {
				socket, resp, err := edgews.Dial(within(t), front.webSocketURL("/"), &edgews.DialOptions{HTTPClient: client, Protocols: []string{"chat"}})
				require.NoError(t, err)
				assert.Equal(t, c.client, resp.ProtoMajor)
				assert.Equal(t, "chat", socket.Protocol())
				server := <-sockets
				echoAll(server)
				says(t, socket, "hello", "hello")
				big := strings.Repeat("large ", 100_000)
				says(t, socket, big, big)
				if byServer {
					require.NoError(t, server.Close(4001, "bye"))
				} else {
					require.NoError(t, socket.Close(4001, "bye"))
				}
				want := &edgews.CloseError{Code: 4001, Reason: "bye", WasClean: true}
				_, err = socket.Receive(within(t))
				require.Error(t, err)
				assert.Equal(t, want, ended(t, socket))
				assert.Equal(t, want, ended(t, server))
			}
		})
	}
}

// A client that resets its stream resets the connection to the target, and the other way round.
func TestProxyPassesResetsOn(t *testing.T) {
	h, sockets := accepts(t, nil)
	back := httptest.NewServer(h)
	defer back.Close()
	front := serve(t, edgews.Proxy("ws"+strings.TrimPrefix(back.URL, "http"), nil))
	conn := front.raw(t, "/")
	server := <-sockets
	require.NoError(t, server.Accept())
	require.NoError(t, conn.Close())
	lost(t, server)

	conn = front.raw(t, "/")
	server = <-sockets
	require.NoError(t, server.Accept())
	_, err := conn.Write([]byte("\x81\x01x")) // not masked: the server fails the connection
	require.NoError(t, err)
	got, err := io.ReadAll(conn)
	assert.NoError(t, err)
	assert.Contains(t, string(got), "\x03\xea") // 1002
	ended(t, server)
}

// The refusal of a target is passed on without the headers of HTTP/1.1.
func TestProxyPassesARefusalOn(t *testing.T) {
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Reason", "none")
		http.Error(w, "not now", http.StatusUpgradeRequired)
	}))
	defer back.Close()
	front := serve(t, edgews.Proxy("ws"+strings.TrimPrefix(back.URL, "http"), nil))
	resp := front.connect(t, "/", func(*http.Request) {})
	assert.Equal(t, http.StatusUpgradeRequired, resp.StatusCode)
	assert.Equal(t, "none", resp.Header.Get("X-Reason"))
	assert.NotContains(t, resp.Header, "Upgrade")
	assert.NotContains(t, resp.Header, "Connection")
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, "not now\n", string(body))
}
