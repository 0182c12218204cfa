package dialh2_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/dialh2"
	"github.com/edgews/edgews/edgewsh2"
	"github.com/stretchr/testify/require"
)

// patience bounds every wait.
const patience = time.Minute

// server is an HTTPS server of net/http that speaks HTTP/2, with a client.
type server struct {
	*httptest.Server
	transport *dialh2.Transport
	client    *http.Client
}

// serve starts a server whose handler is edgewsh2.Handler(h).
func serve(t testing.TB, h http.Handler, configure ...func(*server)) *server {
	return serveBare(t, edgewsh2.Handler(h), configure...)
}

// serveBare starts a server with the handler h. At the end of the test it waits until all handlers have returned.
func serveBare(t testing.TB, h http.Handler, configure ...func(*server)) *server {
	var running sync.WaitGroup
	s := &server{transport: new(dialh2.Transport)}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		running.Add(1)
		defer running.Done()
		h.ServeHTTP(w, r)
	}))
	s.EnableHTTP2 = true
	s.client = &http.Client{Transport: s.transport}
	for _, f := range configure {
		f(s)
	}
	s.StartTLS()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	s.transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	t.Cleanup(func() {
		running.Wait()
		s.transport.CloseIdleConnections()
		s.Close()
	})
	return s
}

// webSocketURL returns the wss URL of a path.
func (s *server) webSocketURL(path string) string {
	return "wss" + strings.TrimPrefix(s.URL, "https") + path
}

// dial opens a socket. It is closed at the end of the test.
func (s *server) dial(t testing.TB, path string, opts edgews.DialOptions) *edgews.Socket {
	t.Helper()
	opts.HTTPClient = s.client
	socket, resp, err := edgews.Dial(within(t), s.webSocketURL(path), &opts)
	require.NoError(t, err)
	require.Equal(t, 2, resp.ProtoMajor)
	t.Cleanup(func() {
		_ = socket.Accept()
		_ = socket.Close(edgews.StatusNormalClosure, "")
		ended(t, socket)
	})
	return socket
}

// within returns a context that ends after patience.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// ended waits for the end of a socket and returns it.
func ended(t testing.TB, s *edgews.Socket) *edgews.CloseError {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(patience):
		require.Fail(t, "the socket does not end")
	}
	var e *edgews.CloseError
	require.ErrorAs(t, s.Err(), &e)
	return e
}

// says has s send a text and expects the answer.
func says(t testing.TB, s *edgews.Socket, text, answer string) {
	t.Helper()
	require.NoError(t, s.Write(within(t), edgews.Text, []byte(text)))
	expects(t, s, answer)
}

// expects receives a text.
func expects(t testing.TB, s *edgews.Socket, text string) {
	t.Helper()
	m, err := s.Receive(within(t))
	require.NoError(t, err)
	require.Equal(t, text, m.Text())
}

// lost expects that a socket ends because its connection is lost.
func lost(t testing.TB, s *edgews.Socket) {
	t.Helper()
	e := ended(t, s)
	require.Equal(t, edgews.StatusAbnormalClosure, e.Code)
	require.False(t, e.WasClean)
}

// newContext returns a context that the test cancels.
func newContext(t testing.TB) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	return ctx, cancel
}
