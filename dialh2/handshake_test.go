package dialh2_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/dialh2"
	"github.com/edgews/edgews/edgewsh2"
)

// connect sends an extended CONNECT that edit has changed. Its stream stays open, unless edit replaces the body.
func (s *server) connect(t *testing.T, path string, edit func(*http.Request)) *http.Response {
	t.Helper()
	r := s.opening(t, path)
	body, end := io.Pipe()
	t.Cleanup(func() { end.Close() })
	r.Method, r.Body, r.ContentLength = http.MethodConnect, body, -1
	r.Header = http.Header{":protocol": {"websocket"}, "Sec-Websocket-Version": {"13"}}
	edit(r)
	resp, err := connectTransport(s.transport.TLSClientConfig).RoundTrip(r)
	require.NoError(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// The answer to an extended CONNECT is 200, with the subprotocol, the extensions and the headers of the handler, and without the headers of
// HTTP/1.1 (RFC 8441 §5, RFC 9113 §8.2.2).
func TestResponse(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
		w.Header().Set("Content-Length", "5")
		w.Header().Set("Content-Encoding", "gzip")
		socket, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Protocols: []string{"chat"}, Header: http.Header{"X-Room": {"lobby"}}})
		if assert.NoError(t, err) {
			assert.Equal(t, "chat", socket.Protocol())
			echoAll(socket)
		}
	}))
	resp := s.connect(t, "/", func(r *http.Request) {
		r.Header["Sec-Websocket-Protocol"] = []string{"news, chat"}
		r.Header["Sec-Websocket-Extensions"] = []string{"permessage-deflate; client_max_window_bits"}
	})
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	resp.Header.Del("Date")
	assert.Equal(t, http.Header{
		"Sec-Websocket-Protocol":   {"chat"},
		"Sec-Websocket-Extensions": {"permessage-deflate; client_max_window_bits=12"},
		"Set-Cookie":               {"session=1"},
		"X-Room":                   {"lobby"},
	}, resp.Header)
}

func TestRefusals(t *testing.T) {
	var refused error
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, refused = edgews.Upgrade(w, r, nil)
	}))
	for _, c := range []struct {
		name   string
		edit   func(*http.Request)
		status int
		text   string
	}{
		{"version", func(r *http.Request) { r.Header.Set("Sec-Websocket-Version", "8") }, 400, "this server speaks version 13"},
		{"no version", func(r *http.Request) { r.Header.Del("Sec-Websocket-Version") }, 400, "this server speaks version 13"},
		{"protocol", func(r *http.Request) { r.Header[":protocol"] = []string{"connect-udp"} }, 501, `the :protocol is "connect-udp"`},
		{"subprotocol", func(r *http.Request) { r.Header.Set("Sec-Websocket-Protocol", "a b") }, 400, "not a token"},
		{"origin", func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, 403, "may not open a WebSocket"},
		{"stream ended", func(r *http.Request) { r.Body, r.ContentLength = http.NoBody, 0 }, 400, "the stream of a WebSocket stays open"},
		{"length", func(r *http.Request) { r.ContentLength = 100 }, 400, "the stream of a WebSocket stays open"},
		{"GET", func(r *http.Request) { r.Method = http.MethodGet; delete(r.Header, ":protocol") }, 505, "extended CONNECT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp := s.connect(t, "/", c.edit)
			assert.Equal(t, c.status, resp.StatusCode)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			assert.Contains(t, string(body), c.text)
			for _, name := range []string{"Connection", "Upgrade"} {
				assert.NotContains(t, resp.Header, name, "HTTP/2 has no such header")
			}
			if c.status == http.StatusBadRequest {
				assert.Equal(t, "13", resp.Header.Get("Sec-Websocket-Version"))
			}
			var e *edgews.HandshakeError
			require.ErrorAs(t, refused, &e)
			assert.Equal(t, c.status, e.StatusCode)
		})
	}
	t.Run("Dial", func(t *testing.T) {
		_, resp, err := edgews.Dial(within(t), s.webSocketURL("/"), &edgews.DialOptions{HTTPClient: s.client, Header: http.Header{"Origin": {"https://evil.example"}}})
		require.ErrorContains(t, err, "may not open a WebSocket")
		assert.Equal(t, http.StatusForbidden, resp.StatusCode)
	})
}

// Upgrade after an answer, and a second Upgrade, answer nothing and return an error.
func TestUpgradeTooLate(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/answered" {
			w.WriteHeader(http.StatusTeapot)
			_, err := edgews.Upgrade(w, r, nil)
			assert.ErrorContains(t, err, "the answer has begun already")
			return
		}
		socket, err := edgews.Upgrade(w, r, nil)
		if !assert.NoError(t, err) {
			return
		}
		echoAll(socket)
		_, err = edgews.Upgrade(w, r, nil)
		assert.ErrorContains(t, err, "the answer has begun already")
		_, _, err = http.NewResponseController(w).Hijack()
		assert.ErrorIs(t, err, http.ErrNotSupported)
	}))
	says(t, s.dial(t, "/", edgews.DialOptions{}), "hello", "hello")
	_, resp, err := edgews.Dial(within(t), s.webSocketURL("/answered"), &edgews.DialOptions{HTTPClient: s.client})
	require.Error(t, err)
	assert.Equal(t, http.StatusTeapot, resp.StatusCode)
}

// zipped is a middleware's ResponseWriter that compresses what is written.
type zipped struct {
	http.ResponseWriter
	z *gzip.Writer
}

func (w zipped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w zipped) WriteHeader(status int) {
	w.Header().Set("Content-Encoding", "gzip")
	w.ResponseWriter.WriteHeader(status)
}

func (w zipped) Write(p []byte) (int, error) { return w.z.Write(p) }

func (w zipped) Flush() { _ = w.z.Flush() }

// A middleware that compresses does not touch the frames. One that hides its ResponseWriter is refused, as over HTTP/1.1.
func TestMiddleware(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/zipped", func(w http.ResponseWriter, r *http.Request) { returns(nil)(zipped{w, gzip.NewWriter(w)}, r) })
	mux.Handle("/hidden", http.TimeoutHandler(returns(nil), patience, ""))
	s := serve(t, mux)
	says(t, s.dial(t, "/zipped", edgews.DialOptions{}), "hello", "hello")
	_, resp, err := edgews.Dial(within(t), s.webSocketURL("/hidden"), &edgews.DialOptions{HTTPClient: s.client})
	require.ErrorContains(t, err, "http.TimeoutHandler (*http.timeoutWriter) cannot hand over the connection")
	assert.Equal(t, http.StatusInternalServerError, resp.StatusCode)
}

// What middleware does at its end, and to the request, does not touch the stream: it writes, ends its context, and bounds the body.
func TestMiddlewareEndsWhileTheSocketIsOpen(t *testing.T) {
	ended := make(chan context.Context, 1)
	limited := http.MaxBytesHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		returns(nil)(w, r.WithContext(ctx))
		n, err := w.Write([]byte("a footer"))
		assert.Zero(t, n)
		assert.ErrorIs(t, err, http.ErrHijacked)
		w.WriteHeader(http.StatusTeapot)
		w.(http.Flusher).Flush()
		ended <- r.Context()
	}), 10)
	_, object, _ := rooms(t, nil)
	for name, h := range map[string]http.Handler{"plain": limited, "object": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		object.ServeHTTP(w, r)
		_, err := w.Write([]byte("a footer"))
		assert.ErrorIs(t, err, http.ErrHijacked)
		ended <- r.Context()
	})} {
		t.Run(name, func(t *testing.T) {
			socket := serve(t, h).dial(t, "/", edgews.DialOptions{})
			<-(<-ended).Done() // as over HTTP/1.1, it ends when the handler returns
			for range 10 {
				says(t, socket, "much longer than the limit", "much longer than the limit")
			}
		})
	}
}

// Redirects, cookies and addresses work as over HTTP/1.1.
func TestDialOptions(t *testing.T) {
	addrs := make(chan [2]string, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1", Path: "/"})
		http.Redirect(w, r, "/ws", http.StatusFound)
	})
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("session")
		assert.NoError(t, err)
		assert.Equal(t, "1", cookie.Value)
		assert.Equal(t, "yes", r.Header.Get("X-Mine"))
		assert.NotContains(t, r.Header, "Sec-Websocket-Key")
		addrs <- [2]string{r.RemoteAddr, r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()}
		returns(nil)(w, r)
	})
	s := serve(t, mux)
	var err error
	s.client.Jar, err = cookiejar.New(nil)
	require.NoError(t, err)
	socket := s.dial(t, "/login", edgews.DialOptions{Header: http.Header{"X-Mine": {"yes"}}})
	says(t, socket, "hello", "hello")
	conn := edgews.NetConn(socket, edgews.Text)
	assert.Equal(t, <-addrs, [2]string{conn.LocalAddr().String(), conn.RemoteAddr().String()})
}

// A request that does not open a WebSocket is an ordinary one.
func TestOrdinaryRequests(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.False(t, edgews.IsUpgrade(r))
		_, _ = io.Copy(w, r.Body)
	}))
	resp, err := s.client.Post(s.URL, "text/plain", bytes.NewReader([]byte("hello")))
	require.NoError(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, "hello", string(got))
	assert.Equal(t, 2, resp.ProtoMajor)
}

// Where there is no HTTP/2, Fallback opens the WebSocket over HTTP/1.1; without a Fallback, Dial fails.
func TestFallback(t *testing.T) { testFallback(t, false, "the server does not speak HTTP/2") }

// The same holds for a server with HTTP/2 and without extended CONNECT.
func TestFallbackWithoutExtendedConnect(t *testing.T) {
	if os.Getenv("GODEBUG") == "http2xconnect=0" {
		testFallback(t, true, "extended connect not supported")
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "GODEBUG=http2xconnect=0")
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", output)
}

// Without TLS, a server that does not speak HTTP/2 answers in HTTP/1.1.
func TestFallbackWithoutTLS(t *testing.T) {
	server := httptest.NewServer(returns(nil))
	defer server.Close()
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	dialsThroughFallback(t, server, new(dialh2.Transport), "the server does not speak HTTP/2")
}

func testFallback(t *testing.T, http2Too bool, refusal string) {
	server := httptest.NewUnstartedServer(returns(nil))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = http2Too
	server.StartTLS()
	defer server.Close()
	transport := &dialh2.Transport{TLSClientConfig: server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()}
	dialsThroughFallback(t, server, transport, refusal)
}

// dialsThroughFallback expects that transport connects to server with a Fallback, and that without one it fails with refusal.
func dialsThroughFallback(t *testing.T, server *httptest.Server, transport *dialh2.Transport, refusal string) {
	defer transport.CloseIdleConnections()
	opts := &edgews.DialOptions{HTTPClient: &http.Client{Transport: transport}}
	address := strings.Replace(server.URL, "http", "ws", 1)
	_, _, err := edgews.Dial(within(t), address, opts)
	require.ErrorContains(t, err, refusal)
	transport.Fallback = server.Client().Transport
	socket, resp, err := edgews.Dial(within(t), address, opts)
	require.NoError(t, err)
	assert.Equal(t, 1, resp.ProtoMajor)
	says(t, socket, "hello", "hello")
	require.NoError(t, socket.Close(edgews.StatusNormalClosure, ""))
	ended(t, socket)
}

// The context of Dial bounds the handshake, and does not end the socket.
func TestDialContext(t *testing.T) {
	release := make(chan struct{})
	mux := http.NewServeMux()
	mux.Handle("/", returns(nil))
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done() // the client has reset the stream
		close(release)
	})
	s := serve(t, mux)
	ctx, cancel := newContext(t)
	socket, _, err := edgews.Dial(ctx, s.webSocketURL("/"), &edgews.DialOptions{HTTPClient: s.client})
	require.NoError(t, err)
	cancel()
	says(t, socket, "hello", "hello")
	require.NoError(t, socket.Close(edgews.StatusNormalClosure, ""))
	ended(t, socket)
	s.client.Timeout = 20 * time.Millisecond
	_, _, err = edgews.Dial(within(t), s.webSocketURL("/slow"), &edgews.DialOptions{HTTPClient: s.client})
	require.ErrorContains(t, err, "HTTPClient.Timeout of 20ms exceeded")
	<-release
}

// Reconnect and NewNamespace's Stub need nothing more than the HTTPClient.
func TestReconnect(t *testing.T) {
	h, sockets := accepts(t, nil)
	s := serve(t, h)
	n := 0
	for socket, err := range edgews.Reconnect(within(t), s.webSocketURL("/"), &edgews.ReconnectOptions{
		DialOptions: edgews.DialOptions{HTTPClient: s.client}, MinDelay: time.Millisecond, MaxDelay: time.Millisecond,
	}) {
		require.NoError(t, err)
		server := <-sockets
		require.NoError(t, server.Accept())
		if n++; n == 3 {
			require.NoError(t, server.Close(edgews.StatusPolicyViolation, "enough"))
		} else {
			require.NoError(t, server.Close(edgews.StatusServiceRestart, ""))
		}
		require.NoError(t, socket.Accept())
		ended(t, socket)
		if n == 3 {
			break
		}
	}
	assert.Equal(t, 3, n)
}

// Without TLS, the server has to know that it gets HTTP/2.
func TestWithoutTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(edgewsh2.Handler(requireHTTP2(t, returns(nil))))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	u, err := url.Parse(server.URL)
	require.NoError(t, err)
	client := &http.Client{Transport: new(dialh2.Transport)}
	socket, _, err := edgews.Dial(within(t), "ws://"+u.Host, &edgews.DialOptions{HTTPClient: client})
	require.NoError(t, err)
	says(t, socket, "hello", "hello")
	require.NoError(t, socket.Close(edgews.StatusNormalClosure, ""))
	ended(t, socket)
	client.CloseIdleConnections()
}

// The addresses of both ends are those of the connection, also when middleware has put the client's address from a header into the request, and
// also after the end, as over HTTP/1.1.
func TestAddresses(t *testing.T) {
	h, sockets := accepts(t, nil)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = "203.0.113.9"
		h.ServeHTTP(w, r)
	}))
	for version := 1; version <= 2; version++ {
		httpClient := s.client
		if version == 1 {
			httpClient = s.Client()
		}
		client, resp, err := edgews.Dial(within(t), s.webSocketURL("/"), &edgews.DialOptions{HTTPClient: httpClient})
		require.NoError(t, err)
		require.Equal(t, version, resp.ProtoMajor)
		server := <-sockets
		same := func() {
			assert.Equal(t, client.LocalAddr().String(), server.RemoteAddr().String())
			assert.Equal(t, client.RemoteAddr().String(), server.LocalAddr().String())
			assert.IsType(t, new(net.TCPAddr), server.RemoteAddr())
			assert.IsType(t, new(net.TCPAddr), client.RemoteAddr())
		}
		same()
		require.NoError(t, client.Accept())
		require.NoError(t, server.Accept())
		same()
		require.NoError(t, client.Close(edgews.StatusNormalClosure, ""))
		ended(t, server)
		ended(t, client)
		same()
	}
}

// An Upgrade that is called when a handler has returned gets an error. The handler around that one still answers.
func TestUpgradeAfterTheReturnOfAnInnerHandler(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var late *http.Request
		edgewsh2.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { late = r })).ServeHTTP(w, r)
		_, err := edgews.Upgrade(w, late, nil)
		assert.ErrorContains(t, err, "handler has returned")
		http.Error(w, "nothing here", http.StatusTeapot)
	}))
	_, resp, err := edgews.Dial(within(t), s.webSocketURL("/"), &edgews.DialOptions{HTTPClient: s.client})
	require.Error(t, err)
	require.NotNil(t, resp)
	assert.Equal(t, http.StatusTeapot, resp.StatusCode)
}

// A route for GET does not match an extended CONNECT, as the documentation of edgewsh2 says.
func TestRoutes(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /get", returns(nil))
	mux.HandleFunc("/any", returns(nil))
	mux.HandleFunc("GET /both", returns(nil))
	mux.HandleFunc("CONNECT /both", returns(nil))
	mux.HandleFunc("/{room}/socket", returns(nil))
	s := serve(t, mux)
	for _, path := range []string{"/any", "/both", "/lobby/socket?cursor=1"} {
		says(t, s.dial(t, path, edgews.DialOptions{}), "hello", "hello")
	}
	_, resp, err := edgews.Dial(within(t), s.webSocketURL("/get"), &edgews.DialOptions{HTTPClient: s.client})
	require.Error(t, err)
	require.NotNil(t, resp)
	assert.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
}
