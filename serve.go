package edgews

import (
	"context"
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/edgews/edgews/internal/handshake"
	"github.com/edgews/edgews/internal/park"
)

// Serve is srv.Serve(l) with a cheaper opening handshake. On Linux, if l is a [*net.TCPListener], it reads requests on the event loop: a
// connection has neither a goroutine nor buffers of net/http until the head of its first request has arrived, however slowly that
// happens. If this request is an opening handshake, Serve calls the handler itself. Every other request, every later request of a
// connection, and every request that is written in an unusual way is served by net/http, which gets the bytes that have been read. On
// other systems, with the build tag edgews_noloop, in a testing/synctest bubble, for other listeners (such as one that wraps another, or
// of TLS) and for a server without HTTP/1, net/http serves everything.
//
// srv means what it means there: its handler, its time-outs, limits and hooks, Shutdown and Close. The handler of an opening handshake
// runs in a goroutine of its own, and may answer with something else than an upgrade. Serve returns when accepting fails, or
// [http.ErrServerClosed] after Shutdown or Close. Shutdown also closes connections whose first request is not complete. A program can see
// these differences:
//
//   - The [net.Conn] that ConnState and ConnContext get is not a *net.TCPConn, and cannot be read. Hijack returns a *net.TCPConn
//     for an opening handshake that Serve has read, and otherwise a net.Conn of Serve with the methods of *net.TCPConn.
//   - BaseContext is called twice, with l and with a Listener of Serve. If requests are being served when Shutdown begins,
//     ConnContext and ConnState also get a connection that stands for them, until they have been answered. If accepting fails, they get one
//     that stands for all connections, until Shutdown or Close.
//   - Except for the handler and the hooks, the fields of srv are read when Serve begins.
//   - After l.Close it takes up to a second until Serve returns, and nothing that connects meanwhile is accepted.
//
// Upgrade, Respond and Stubs work in the same way whichever server has called the handler.
func Serve(l net.Listener, srv *http.Server) error {
	tcp, ok := l.(*net.TCPListener)
	if !ok || !park.CanListen() || srv.Protocols != nil && !srv.Protocols.HTTP1() {
		return srv.Serve(l)
	}
	return srv.Serve(newUpgradeServer(tcp, srv))
}

// ServeTLS is srv.ServeTLS(l, certFile, keyFile): over TLS, net/http serves everything, also HTTP/2. It is the counterpart of [Serve], so
// that a program need not know this.
func ServeTLS(l net.Listener, srv *http.Server, certFile, keyFile string) error {
	return srv.ServeTLS(l, certFile, keyFile)
}

// upgradeServer is a call of Serve. It is the net.Listener that srv.Serve gets. This Listener returns no connections: it is there so that
// srv can be shut down. The connections of the real listener are accepted on the event loop; upgradeServer is the park.AcceptHandler.
//
// A second server of net/http, rest, serves what upgradeServer hands over. It has the settings of srv. It cannot be srv itself,
// because that would call ConnState again for a connection that was announced when it was accepted.
type upgradeServer struct {
	srv      *http.Server
	listener *net.TCPListener
	rest     http.Server
	handover *handoverListener

	// Set by start.
	baseContext context.Context
	raw         syscall.RawConn
	local       net.Addr       // the local address of all connections; nil: it differs
	timeout     time.Duration  // for the head of a request; 0: none
	maxHead     int            // the largest head that is not handed over, in bytes
	accepting   *park.Listener // nil: not started

	failure error // what Accept returns next; nil: nothing has failed

	keepAlivesOff bool // what followKeepAlives has told rest; owned by start, then by watch

	retryDelay time.Duration // before the next accept after one that failed; owned by Accepted and AcceptFailed

	closeOnce     sync.Once
	closing       chan struct{} // closed by Close
	failed        chan error    // gets the error with which accepting ends
	shutdownOnce  sync.Once
	shutdownBegan chan struct{} // closed when srv.Shutdown has been called

	// mu is held during system calls that do not wait.
	mu       sync.Mutex
	conns    *servedConn // the list of connections whose phase is not servedGone
	requests int         // requests that are served outside of net/http
	idle     signal      // requests has become 0
	stopped  bool        // no request begins any more
}

func newUpgradeServer(l *net.TCPListener, srv *http.Server) *upgradeServer {
	s := &upgradeServer{
		srv: srv, listener: l,
		closing: make(chan struct{}), failed: make(chan error, 1), shutdownBegan: make(chan struct{}),
	}
	s.handover = &handoverListener{s: s, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	s.rest = http.Server{
		Handler:                      http.HandlerFunc(s.serveRest),
		DisableGeneralOptionsHandler: srv.DisableGeneralOptionsHandler,
		ReadTimeout:                  srv.ReadTimeout,
		ReadHeaderTimeout:            srv.ReadHeaderTimeout,
		WriteTimeout:                 srv.WriteTimeout,
		IdleTimeout:                  srv.IdleTimeout,
		MaxHeaderBytes:               srv.MaxHeaderBytes,
		ErrorLog:                     srv.ErrorLog,
		ConnState:                    announceHandedOver,
		ConnContext:                  contextOfHandedOver,
		HTTP2:                        srv.HTTP2,
		Protocols:                    srv.Protocols,
	}
	if srv.Protocols == nil || !srv.Protocols.UnencryptedHTTP2() {
		s.rest.TLSNextProto = make(map[string]func(*http.Server, *tls.Conn, http.Handler)) // there is no TLS, and so no HTTP/2
	}
	return s
}

// Addr implements [net.Listener].
func (s *upgradeServer) Addr() net.Addr { return s.listener.Addr() }

// Close implements [net.Listener]. srv calls it to shut down, and when Serve returns.
func (s *upgradeServer) Close() (err error) {
	err = net.ErrClosed
	s.closeOnce.Do(func() {
		close(s.closing) // first: see Accept
		err = s.listener.Close()
	})
	return err
}

// Accept implements [net.Listener]. It serves until accepting ends.
func (s *upgradeServer) Accept() (net.Conn, error) {
	switch {
	case s.failure != nil:
		return nil, s.failure
	case s.accepting == nil:
		if err := s.start(); err != nil {
			return nil, err
		}
	}
	select {
	case <-s.closing:
		return s.shutDown()
	case err := <-s.failed:
		select {
		case <-s.closing: // accepting has failed because Close closes the listener
			return s.shutDown()
		default:
		}
		s.accepting.Close()
		s.failure = err
		return s.standIn(), nil
	}
}

// start begins to accept connections.
func (s *upgradeServer) start() (err error) {
	s.baseContext = context.Background()
	if s.srv.BaseContext != nil {
		if s.baseContext = s.srv.BaseContext(s.listener); s.baseContext == nil {
			panic("BaseContext returned a nil context")
		}
	}
	s.baseContext = context.WithValue(s.baseContext, http.ServerContextKey, s.srv)
	if a, ok := s.listener.Addr().(*net.TCPAddr); ok && !a.IP.IsUnspecified() {
		s.local = a
	}
	if s.raw, err = s.listener.SyscallConn(); err != nil {
		return err
	}
	s.timeout = headTimeout(s.srv)
	s.maxHead = handshake.MaxScannedHead
	if n := s.srv.MaxHeaderBytes; n > 0 {
		s.maxHead = min(s.maxHead, n)
	}
	s.followKeepAlives()                                                     // before the first connection; watch does it again
	s.srv.RegisterOnShutdown(func() { s.shutdownOnce.Do(s.shutdownCalled) }) // before a request that Shutdown has to wait for
	if s.accepting, err = park.Listen(s.listener, s); err != nil {
		return &net.OpError{Op: "accept", Net: s.Addr().Network(), Addr: s.Addr(), Err: err}
	}
	go s.rest.Serve(s.handover)
	go s.watch()
	return nil
}

// headTimeout returns how long it may take to read the head of a request, as http.Server decides it, or 0.
func headTimeout(srv *http.Server) time.Duration {
	if srv.ReadHeaderTimeout != 0 {
		return max(srv.ReadHeaderTimeout, 0)
	}
	return max(srv.ReadTimeout, 0)
}

// handler returns the handler of the program.
func (s *upgradeServer) handler() http.Handler {
	if s.srv.Handler != nil {
		return s.srv.Handler
	}
	return http.DefaultServeMux
}

func (s *upgradeServer) logf(format string, args ...any) {
	if s.srv.ErrorLog != nil {
		s.srv.ErrorLog.Printf(format, args...)
	} else {
		log.Printf(format, args...)
	}
}
