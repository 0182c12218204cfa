package dialh2_test

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// accepts passes the server's end of each socket on.
func accepts(t *testing.T, opts *edgews.UpgradeOptions) (http.Handler, <-chan *edgews.Socket) {
	sockets := make(chan *edgews.Socket, 100)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, opts)
		if assert.NoError(t, err) {
			sockets <- s
		}
	}), sockets
}

func TestCloses(t *testing.T) {
	for _, c := range []struct {
		code   edgews.StatusCode
		reason string
		seen   edgews.CloseError
	}{
		{1000, "bye", edgews.CloseError{Code: 1000, Reason: "bye", WasClean: true}},
		{1001, "", edgews.CloseError{Code: 1001, WasClean: true}},
		{4999, strings.Repeat("r", 123), edgews.CloseError{Code: 4999, Reason: strings.Repeat("r", 123), WasClean: true}},
		{0, "", edgews.CloseError{Code: edgews.StatusNoStatusRcvd, WasClean: true}},
	} {
		h, sockets := accepts(t, nil)
		s := serve(t, h)
		for _, byServer := range []bool{true, false} {
			one := s.dial(t, "/", edgews.DialOptions{})
			other := <-sockets
			if byServer {
				one, other = other, one
			}
			require.NoError(t, one.Accept())
			require.NoError(t, other.Accept())
			require.NoError(t, one.Close(c.code, c.reason))
			assert.Equal(t, &c.seen, ended(t, other))
			assert.Equal(t, &c.seen, ended(t, one))
		}
	}
}

// plainWithRoom has no compression and room for more than the flow control of HTTP/2 lets through.
var plainWithRoom = edgews.Options{SendBuffer: 64 << 20, Compression: &edgews.Compression{Disable: true}}

// What is queued before a Close arrives before it, and is not cut off by the end of the stream.
func TestCloseBehindMuchData(t *testing.T) {
	h, sockets := accepts(t, &edgews.UpgradeOptions{Options: plainWithRoom})
	s := serve(t, h)
	client := s.dial(t, "/", edgews.DialOptions{})
	server := <-sockets
	require.NoError(t, server.Accept())
	for range 8 {
		require.NoError(t, server.SendBytes(make([]byte, 1<<20)))
	}
	require.NoError(t, server.Close(edgews.StatusNormalClosure, "that was all"))
	for range 8 {
		m, err := client.Receive(within(t))
		require.NoError(t, err)
		require.Len(t, m.Data, 1<<20)
	}
	_, err := client.Receive(within(t))
	require.Error(t, err)
	assert.Equal(t, &edgews.CloseError{Code: 1000, Reason: "that was all", WasClean: true}, ended(t, client))
	assert.Equal(t, &edgews.CloseError{Code: 1000, Reason: "that was all", WasClean: true}, ended(t, server))
}

// A half-open socket sends after the client's Close, and after the client has ended its side of the stream.
func TestHalfOpen(t *testing.T) {
	h, sockets := accepts(t, nil)
	s := serve(t, h)
	conn := s.raw(t, "/")
	server := <-sockets
	require.NoError(t, server.AcceptHalfOpen())
	_, err := conn.Write([]byte{0x88, 0x82, 0, 0, 0, 0, 3, 0xe8}) // Close 1000
	require.NoError(t, err)
	require.NoError(t, conn.(interface{ CloseWrite() error }).CloseWrite())
	assert.Equal(t, edgews.StatusNormalClosure, ended(t, server).Code)
	require.NoError(t, server.Send("late"))
	require.NoError(t, server.Close(edgews.StatusNormalClosure, ""))
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.Equal(t, "\x81\x04late\x88\x02\x03\xe8", string(got))
}

// raw opens a stream without a client's socket.
func (s *server) raw(t testing.TB, path string) net.Conn {
	t.Helper()
	resp, err := s.transport.RoundTrip(s.opening(t, path))
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	conn := resp.Body.(net.Conn)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// opening returns an opening handshake over HTTP/1.1, as Dial makes it.
func (s *server) opening(t testing.TB, path string) *http.Request {
	r, err := http.NewRequestWithContext(within(t), http.MethodGet, s.URL+path, nil)
	require.NoError(t, err)
	r.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-WebSocket-Version": {"13"}, "Sec-WebSocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	return r
}

// A reset by the client is 1006 at the server; other sockets of the connection go on.
func TestClientResets(t *testing.T) {
	h, sockets := accepts(t, nil)
	s := serve(t, h)
	other := s.dial(t, "/", edgews.DialOptions{})
	echoAll(<-sockets)
	conn := s.raw(t, "/")
	server := <-sockets
	require.NoError(t, server.Accept())
	require.NoError(t, conn.Close())
	lost(t, server)
	says(t, other, "still here", "still here")
}

// The end of the stream without a Close is 1006.
func TestClientEndsTheStreamWithoutClose(t *testing.T) {
	h, sockets := accepts(t, nil)
	s := serve(t, h)
	conn := s.raw(t, "/")
	server := <-sockets
	require.NoError(t, server.Accept())
	require.NoError(t, conn.(interface{ CloseWrite() error }).CloseWrite())
	lost(t, server)
	_, err := io.ReadAll(conn)
	assert.NoError(t, err, "the server has ended its side too")
}

// A handler that panics has its socket reset, also if the socket has been accepted.
func TestHandlerPanics(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		socket, err := edgews.Upgrade(w, r, nil)
		if assert.NoError(t, err) {
			echoAll(socket)
			panic(http.ErrAbortHandler)
		}
	}))
	socket := s.dial(t, "/", edgews.DialOptions{})
	require.NoError(t, socket.Accept())
	lost(t, socket)
}

// The end of the connection is 1006 for all its sockets. The handler of one that is never accepted returns, too.
func TestConnectionEnds(t *testing.T) {
	h, sockets := accepts(t, nil)
	s := serve(t, h)
	client := s.dial(t, "/", edgews.DialOptions{})
	require.NoError(t, client.Accept())
	server := <-sockets
	require.NoError(t, server.Accept())
	s.dial(t, "/", edgews.DialOptions{})
	<-sockets // not accepted
	s.CloseClientConnections()
	lost(t, client)
	lost(t, server)
}

// logs collects the texts of a logger.
type logs struct {
	slog.Handler
	texts chan string
}

func newLogs() *logs { return &logs{slog.DiscardHandler, make(chan string, 100)} }

func (*logs) Enabled(context.Context, slog.Level) bool { return true }

func (l *logs) Handle(_ context.Context, r slog.Record) error {
	l.texts <- r.Message
	return nil
}

// Without edgewsh2.Handler, a handler that returns at once ends its socket, and the log says why and what to do.
func TestHandlerReturnsWithoutWrapper(t *testing.T) {
	l := newLogs()
	h, sockets := accepts(t, &edgews.UpgradeOptions{Options: edgews.Options{Logger: slog.New(l)}})
	entered := make(chan struct{})
	s := serveBare(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		<-entered // the test has accepted the socket
	}))
	client := s.dial(t, "/", edgews.DialOptions{})
	require.NoError(t, client.Accept())
	server := <-sockets
	require.NoError(t, server.Accept())
	close(entered)
	lost(t, client)
	lost(t, server)
	for !strings.Contains(<-l.texts, "wrap the server's handler in edgewsh2.Handler") {
	}
	assert.ErrorIs(t, server.Send("too late"), edgews.ErrClosed)
}

// A handler without the wrapper may close its socket and return: the client gets the Close, and nothing is logged.
func TestHandlerClosesAndReturnsWithoutWrapper(t *testing.T) {
	l := newLogs()
	s := serveBare(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		socket, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: edgews.Options{Logger: slog.New(l)}})
		if !assert.NoError(t, err) {
			return
		}
		m, err := socket.Receive(context.Background())
		assert.NoError(t, err)
		assert.NoError(t, socket.Send("you said "+m.Text()))
		assert.NoError(t, socket.Close(edgews.StatusNormalClosure, "enough"))
		<-socket.Done()
	}))
	socket := s.dial(t, "/", edgews.DialOptions{})
	says(t, socket, "hello", "you said hello")
	_, err := socket.Receive(within(t))
	require.Error(t, err)
	assert.Equal(t, &edgews.CloseError{Code: edgews.StatusNormalClosure, Reason: "enough", WasClean: true}, ended(t, socket))
	for range len(l.texts) {
		assert.NotContains(t, <-l.texts, "edgewsh2.Handler")
	}
}

// Without the wrapper, the close event comes only when everything has been written: the handler returns then.
func TestBareHandlerReturnsWhenAllIsWritten(t *testing.T) {
	s := serveBare(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		socket, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: plainWithRoom})
		if !assert.NoError(t, err) {
			return
		}
		socket.OnMessage(func(edgews.MessageEvent) {
			for range 8 {
				assert.NoError(t, socket.SendBytes(make([]byte, 1<<20)))
			}
		})
		assert.NoError(t, socket.Accept())
		<-socket.Done()
	}))
	conn := s.raw(t, "/")
	_, err := conn.Write([]byte{0x81, 0x80, 0, 0, 0, 0, 0x88, 0x82, 0, 0, 0, 0, 3, 0xe8}) // an empty text and Close 1000
	require.NoError(t, err)
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	const header = 10
	require.Len(t, got, 8*(header+1<<20)+4)
	assert.Equal(t, "\x88\x02\x03\xe8", string(got[len(got)-4:]))
}

// The deadline of a Write ends only the wait.
func TestWriteDeadlineOfTheClient(t *testing.T) {
	h, sockets := accepts(t, nil)
	s := serve(t, h)
	conn := s.raw(t, "/")
	require.NoError(t, conn.SetWriteDeadline(time.Now().Add(20*time.Millisecond)))
	var err error
	for err == nil { // the server does not read
		_, err = conn.Write(make([]byte, 64<<10))
	}
	var timeout net.Error
	require.True(t, errors.As(err, &timeout) && timeout.Timeout(), "%v", err)
	require.NoError(t, conn.SetWriteDeadline(time.Time{}))
	assert.Error(t, conn.SetReadDeadline(time.Now()))
	server := <-sockets
	require.NoError(t, server.Accept())
	ended(t, server) // it gets a frame that is not masked
	_, err = io.ReadAll(conn)
	assert.NoError(t, err)
}

// What a handler, or middleware, does with the request and the ResponseWriter after Upgrade does not concern the socket, as over HTTP/1.1.
func TestHandlerFinishesItsRequest(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer r.Body.Close()
		if r.URL.Query().Has("early") {
			assert.NoError(t, r.Body.Close())
		}
		returns(nil)(w, r)
		w.WriteHeader(http.StatusTeapot)
		_, err := io.WriteString(w, "a page")
		assert.ErrorIs(t, err, http.ErrHijacked)
		rest, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		assert.Empty(t, rest)
	}))
	for _, path := range []string{"/", "/?early"} {
		says(t, s.dial(t, path, edgews.DialOptions{}), "hello", "hello")
	}
}

// The same holds for an object.
func TestObjectFinishesItsRequest(t *testing.T) {
	n := edgews.NewNamespace("closers", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return &closer{room{st}}, nil
	}, nil)
	t.Cleanup(func() { assert.NoError(t, n.Shutdown(within(t))) })
	errorLog := make(chan string, 100)
	s := serveBare(t, n.Get(n.IDFromName("one")), func(s *server) { s.Config.ErrorLog = log.New(lines(errorLog), "", 0) })
	for _, client := range []*http.Client{s.client, s.Client()} {
		socket, _, err := edgews.Dial(within(t), s.webSocketURL("/"), &edgews.DialOptions{HTTPClient: client})
		require.NoError(t, err)
		says(t, socket, "hello", "hello")
		require.NoError(t, socket.Close(edgews.StatusNormalClosure, ""))
		ended(t, socket)
	}
	assert.Empty(t, errorLog)
}

// lines is a Writer that passes on what is written.
type lines chan<- string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// closer is a room that closes the body of each request, and flushes its answer.
type closer struct{ room }

func (c *closer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer r.Body.Close()
	c.room.ServeHTTP(w, r)
	w.(http.Flusher).Flush()
}
