package edgews

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// shutdownCalled runs when srv.Shutdown has been called, in a goroutine of its own.
func (s *upgradeServer) shutdownCalled() { close(s.shutdownBegan) }

// shutdownGrace is how long after Close it may take until srv calls shutdownCalled, in a goroutine. If it does not, srv.Close was called, and
// not srv.Shutdown.
const shutdownGrace = 50 * time.Millisecond

// shutDown is the last part of Accept: srv has closed the listener. If requests are being served, it returns a connection for which
// srv.Shutdown waits instead of those that srv does not know.
func (s *upgradeServer) shutDown() (net.Conn, error) {
	if !s.stop() || s.isQuiescent() {
		return nil, net.ErrClosed
	}
	late := time.NewTimer(shutdownGrace)
	defer late.Stop()
	select {
	case <-s.shutdownBegan:
		return s.standIn(), nil
	case <-late.C:
		s.closeAll()
		return nil, net.ErrClosed
	}
}

// standIn returns a connection for which srv.Shutdown waits, and that srv.Close closes, instead of those that srv does not know. It
// lasts until the requests have ended after Shutdown.
func (s *upgradeServer) standIn() net.Conn {
	w := &shutdownConn{s: s, released: make(chan struct{})}
	go func() {
		select {
		case <-s.shutdownBegan:
			s.stop()
			s.drain()
			w.release()
		case <-w.released: // by srv.Close
		}
	}()
	return w
}

// stop ends accepting, and closes the connections whose request is not complete. It reports whether it is the first call.
func (s *upgradeServer) stop() bool {
	s.accepting.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	first := !s.stopped
	s.stopped = true
	for c := s.conns; c != nil; c = c.next {
		if c.phase == servedReading {
			c.cutLocked()
		}
	}
	return first
}

// isQuiescent reports whether no request is being served. If all that are served are with rest, it closes the idle connections, and rest
// serves no new ones.
func (s *upgradeServer) isQuiescent() bool {
	s.mu.Lock()
	requests := s.requests
	s.mu.Unlock()
	if requests > 0 { // rest may have to send their answers
		return false
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	return s.rest.Shutdown(ended) == nil
}

// drain waits until all requests have been answered. Idle connections are closed at once.
func (s *upgradeServer) drain() {
	s.rest.SetKeepAlivesEnabled(false)
	for ended := s.requestsEnded(); ended != nil; ended = s.requestsEnded() {
		<-ended
	}
	_ = s.rest.Shutdown(context.Background()) // ends at the latest with closeAll
}

// requestsEnded returns a channel that is closed when no request is served outside of net/http, or nil if that is so now.
func (s *upgradeServer) requestsEnded() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requests == 0 {
		return nil
	}
	return s.idle.wait()
}

// closeAll closes all connections, as http.Server.Close does.
func (s *upgradeServer) closeAll() {
	s.mu.Lock()
	for c := s.conns; c != nil; c = c.next {
		c.cutLocked()
	}
	s.mu.Unlock()
	_ = s.rest.Close()
}

// shutdownConn is a connection for which srv.Shutdown waits. srv takes it for an active one as long as srv's goroutine for it has read
// something and waits in Close.
type shutdownConn struct {
	s *upgradeServer

	released    chan struct{}
	releaseOnce sync.Once

	mu     sync.Mutex
	read   bool // srv has read
	closed bool // srv's goroutine, or srv.Close, has called Close
}

func (w *shutdownConn) release() { w.releaseOnce.Do(func() { close(w.released) }) }

// Read implements [net.Conn]. An empty line is not a request, so srv closes the connection.
func (w *shutdownConn) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.read || len(p) == 0 {
		return 0, io.EOF
	}
	w.read = true
	p[0] = '\n'
	return 1, nil
}

// Close implements [net.Conn]. The first call after Read is that of srv's goroutine and waits. Every other is that of srv.Close, which also
// lets the first one return. Should srv.Close have come first, then the goroutine's call does that.
func (w *shutdownConn) Close() error {
	w.mu.Lock()
	waits := w.read && !w.closed
	w.closed = true
	w.mu.Unlock()
	if waits {
		<-w.released
		return nil
	}
	w.s.closeAll()
	w.release()
	return nil
}

// Write implements [net.Conn].
func (w *shutdownConn) Write(p []byte) (int, error) { return len(p), nil }

// LocalAddr implements [net.Conn].
func (w *shutdownConn) LocalAddr() net.Addr { return w.s.Addr() }

// RemoteAddr implements [net.Conn].
func (w *shutdownConn) RemoteAddr() net.Addr { return w.s.Addr() }

// SetDeadline implements [net.Conn].
func (w *shutdownConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements [net.Conn].
func (w *shutdownConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements [net.Conn].
func (w *shutdownConn) SetWriteDeadline(time.Time) error { return nil }
