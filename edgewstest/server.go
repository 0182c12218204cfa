package edgewstest

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edgews/edgews"
)

// Server is an HTTP server in memory: the server of net/http over connections that need no network. It works in a synctest bubble
// if New is called in it. Its methods may be called from any goroutine, except those that may end the test: these are Dial, DialPeer and
// Close.
type Server struct {
	// URL is the server's address, "http://edgews.test", which is only known to Client. It is also the origin that passes the origin check.
	URL string

	// Config is the server. It may be changed before the first connection, for example to set ConnState or a time-out.
	Config *http.Server

	// OnConnect, if it is not nil, is called for each new connection with the client's end, before a byte is sent: to set faults that
	// concern the opening handshake. Set it before the first connection.
	OnConnect func(client *Conn)

	t        testing.TB
	listener *listener
	client   *http.Client
	start    sync.Once     // starts Config.Serve
	done     chan struct{} // closed when that has returned
	closing  atomic.Bool   // Close has been called
	requests context.Context
	cut      context.CancelFunc // ends requests, on which the contexts of all requests depend
	log      *testLog

	mu sync.Mutex
	// Guarded by mu.
	transports []*http.Transport
	dialed     []dialedSocket
}

// dialedSocket is a socket that Dial has returned.
type dialedSocket struct {
	path   string
	socket *edgews.Socket
	conn   *Conn
}

// New starts a server with handler. At the end of the test it is closed, as by [Server.Close]. handler must not be nil.
func New(t testing.TB, handler http.Handler) *Server {
	t.Helper()
	if handler == nil {
		t.Fatal("edgewstest: New: the handler is nil")
	}
	s := &Server{
		URL: "http://edgews.test", Config: &http.Server{Handler: handler},
		t: t, listener: newListener(), done: make(chan struct{}), log: &testLog{t: t},
	}
	s.requests, s.cut = context.WithCancel(context.Background())
	s.client = &http.Client{Transport: s.newTransport()}
	t.Cleanup(s.Close)
	return s
}

// Dial opens a socket to the handler, not accepted yet, and ends the test if that fails. path begins with a slash and may have a query. opts
// are those of [edgews.Dial]; of HTTPClient everything but the Transport is used. The opening handshake has a minute.
//
// At the end of the test the socket is closed with 1001, unless it has ended.
func (s *Server) Dial(path string, opts *edgews.DialOptions) *edgews.Socket {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	socket, _, err := s.TryDial(ctx, path, opts)
	if err != nil {
		s.t.Fatalf("edgewstest: Dial %s: %v", path, err)
	}
	return socket
}

// TryDial is Dial with a context and an error: for tests of refusals. It returns what [edgews.Dial] returns.
func (s *Server) TryDial(ctx context.Context, path string, opts *edgews.DialOptions) (*edgews.Socket, *http.Response, error) {
	if !strings.HasPrefix(path, "/") {
		return nil, nil, fmt.Errorf("edgewstest: the path %q does not begin with a slash", path)
	}
	var own edgews.DialOptions
	if opts != nil {
		own = *opts
	}
	var client http.Client
	if own.HTTPClient != nil {
		client = *own.HTTPClient
	}
	client.Transport = s.newTransport()
	own.HTTPClient = &client
	var last atomic.Pointer[Conn] // after redirects there may have been several
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if c, ok := info.Conn.(*Conn); ok {
			last.Store(c)
		}
	}})
	socket, resp, err := edgews.Dial(ctx, s.URL+path, &own)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.dialed = append(s.dialed, dialedSocket{path, socket, last.Load()})
	}
	return socket, resp, err
}

// newTransport returns a transport that connects to the server for every address.
func (s *Server) newTransport() *http.Transport {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := s.DialConn(ctx)
		if err != nil {
			return nil, err
		}
		return c, nil
	}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.transports = append(s.transports, transport)
	return transport
}

// Client returns an HTTP client whose requests to any host go to the server: for code under test that dials by itself, and
// for plain requests. It may be changed before its first use, for example to add a cookie jar.
func (s *Server) Client() *http.Client { return s.client }

// Conn returns the client's end of the connection of a socket that Dial or TryDial has returned, to add faults to it or to end it. It returns
// nil for other sockets. The bytes belong to the socket: do not read or write them.
func (s *Server) Conn(socket *edgews.Socket) *Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.dialed {
		if d.socket == socket {
			return d.conn
		}
	}
	return nil
}

// DialConn opens a connection to the server and sends nothing, for tests that send the bytes of requests. The test closes it; otherwise it
// is cut at the end of the test.
func (s *Server) DialConn(ctx context.Context) (*Conn, error) {
	s.start.Do(s.serve)
	client, server := s.listener.newConn(false)
	if s.OnConnect != nil {
		s.OnConnect(client)
	}
	if err := s.listener.connect(ctx, client, server); err != nil {
		return nil, err
	}
	return client, nil
}

// DialPeer opens a connection and makes the opening handshake of a client, with additional header fields, which may be nil. It ends
// the test if the handler does not answer with 101.
func (s *Server) DialPeer(path string, header http.Header) *Peer {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	conn, err := s.DialConn(ctx)
	if err != nil {
		s.t.Fatalf("edgewstest: DialPeer %s: %v", path, err)
		return nil
	}
	p := NewPeer(s.t, conn, true)
	p.Upgrade(s.URL+path, header)
	return p
}

// serve starts the server.
func (s *Server) serve() {
	s.Config.Handler = s.watch(s.Config.Handler)
	if s.Config.ErrorLog == nil {
		s.Config.ErrorLog = log.New(s.log, "", 0)
	}
	connContext := s.Config.ConnContext
	s.Config.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		if connContext != nil {
			ctx = connContext(ctx, conn)
		}
		ctx, cancel := context.WithCancel(context.WithValue(ctx, connKey{}, conn))
		context.AfterFunc(s.requests, cancel)
		return ctx
	}
	go func() {
		defer close(s.done)
		if err := s.Config.Serve(s.listener); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			s.log.errorf("edgewstest: the server has ended: %v", err)
		}
	}()
}

// connKey is the key of the server's end of the connection in the context of a request.
type connKey struct{}

// watch returns a handler that calls handler, and notes that it runs.
func (s *Server) watch(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request := r.Method + " " + r.URL.RequestURI()
		conn, _ := r.Context().Value(connKey{}).(*Conn)
		defer s.listener.handlerStarts(conn, request)()
		defer func() {
			if value := recover(); value != nil {
				if value != http.ErrAbortHandler {
					s.log.errorf("edgewstest: the handler of %s panicked: %v\n\n%s", request, value, debug.Stack())
				}
				panic(http.ErrAbortHandler)
			}
		}()
		handler.ServeHTTP(w, r)
	})
}

// Close ends the server, as the end of the test does. It closes the sockets that Dial has returned and cuts the other connections. Then
// handlers have to return, and sockets of the handler have to close their connections, within a minute. It reports those that do not
// as errors of the test, handlers with the place where they wait, and cuts them. Objects of a [edgews.Namespace] end their sockets; the
// namespace itself is the test's to shut down. Calling Close again does nothing.
func (s *Server) Close() {
	s.t.Helper()
	if s.closing.Swap(true) {
		return
	}
	s.closeSockets()
	s.mu.Lock()
	transports := s.transports
	s.mu.Unlock()
	for _, transport := range transports {
		transport.CloseIdleConnections()
	}
	s.listener.hangUp()
	if !s.listener.awaitEnd() {
		s.listener.reportHandlers(s.t)
		s.listener.reportConns(s.t, "a socket that is not accepted does not notice; accept it or close it")
	}
	s.start.Do(func() { close(s.done) }) // no connection was ever opened
	s.listener.Close()
	s.Config.Close()
	s.cut()
	s.listener.closeAll()
	<-s.done
	s.log.close()
}

// closeSockets closes the sockets that Dial has returned, and waits for them.
func (s *Server) closeSockets() {
	s.t.Helper()
	s.mu.Lock()
	dialed := s.dialed
	s.mu.Unlock()
	var closing []dialedSocket
	for _, d := range dialed {
		if err := d.socket.Close(edgews.StatusGoingAway, "the test is over"); errors.Is(err, edgews.ErrNotAccepted) {
			d.conn.Close() // the socket does not use it yet
			continue
		}
		closing = append(closing, d)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, d := range closing {
		select {
		case <-d.socket.Done():
		case <-ctx.Done():
			s.t.Errorf("edgewstest: the socket of Dial %s is %v, %v after Close", d.path, d.socket.ReadyState(), patience)
		}
	}
}
