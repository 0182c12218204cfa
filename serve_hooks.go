package edgews

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// hookedConn is the net.Conn that ConnState and ConnContext get for a connection that Serve has accepted. While the connection is on the
// event loop, it can be closed and written. Afterwards hookedConn stands for the connection that net/http serves or that Hijack has
// returned. A connection that has become a Socket cannot be reached with it.
type hookedConn struct {
	c     *servedConn
	local net.Addr
	ctx   context.Context // what ConnContext has returned

	readDeadline time.Time // for the head of the request; zero: none; guarded by the server's mu

	mu     sync.Mutex
	conn   net.Conn // the connection after Serve has given it up; nil: it has not, or to a Socket
	closed bool     // Close was called before conn was known
}

// callAcceptHooks calls the hooks for a connection that has been accepted.
func (h *hookedConn) callAcceptHooks() {
	s := h.c.server
	h.ctx = s.baseContext
	if s.srv.ConnContext != nil {
		if h.ctx = s.srv.ConnContext(h.ctx, h); h.ctx == nil {
			panic("ConnContext returned nil")
		}
	}
	h.announce(http.StateNew)
}

// announce calls ConnState.
func (h *hookedConn) announce(state http.ConnState) {
	if hook := h.c.server.srv.ConnState; hook != nil {
		hook(h, state)
	}
}

// setConn sets the connection that h stands for. It closes conn if Close was called while Serve was giving the connection up.
func (h *hookedConn) setConn(conn net.Conn) {
	h.mu.Lock()
	h.conn = conn
	closed := h.closed
	h.mu.Unlock()
	if closed {
		_ = conn.Close()
	}
}

func (h *hookedConn) current() net.Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conn
}

// errServed is the error of Read while Serve reads the connection.
var errServed = errors.New("edgews: Serve reads this connection: take it with Hijack first")

// Read implements [net.Conn].
func (h *hookedConn) Read(p []byte) (int, error) {
	if conn := h.current(); conn != nil {
		return conn.Read(p)
	}
	return 0, errServed
}

// Write implements [net.Conn]. On the event loop it does not wait.
func (h *hookedConn) Write(p []byte) (int, error) {
	if conn := h.current(); conn != nil {
		return conn.Write(p)
	}
	h.c.server.mu.Lock()
	defer h.c.server.mu.Unlock()
	if h.c.phase == servedGone || !h.c.started {
		return 0, errServed
	}
	return h.c.conn.TryWrite(p)
}

// Close implements [net.Conn].
func (h *hookedConn) Close() error {
	h.mu.Lock()
	conn := h.conn
	h.closed = h.closed || conn == nil
	h.mu.Unlock()
	if conn != nil {
		return conn.Close()
	}
	h.c.server.mu.Lock()
	defer h.c.server.mu.Unlock()
	if h.c.phase == servedGone {
		return net.ErrClosed
	}
	h.c.cutLocked()
	return nil
}

// LocalAddr implements [net.Conn].
func (h *hookedConn) LocalAddr() net.Addr { return h.local }

// RemoteAddr implements [net.Conn].
func (h *hookedConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(h.c.remote) }

// SetDeadline implements [net.Conn].
func (h *hookedConn) SetDeadline(t time.Time) error {
	if conn := h.current(); conn != nil {
		return conn.SetDeadline(t)
	}
	return h.SetReadDeadline(t)
}

// SetReadDeadline implements [net.Conn]. On the event loop it limits the time until the request has arrived, if it is earlier than
// the server's own limit.
func (h *hookedConn) SetReadDeadline(t time.Time) error {
	if conn := h.current(); conn != nil {
		return conn.SetReadDeadline(t)
	}
	h.c.server.mu.Lock()
	defer h.c.server.mu.Unlock()
	h.readDeadline = t
	if h.c.started && h.c.phase == servedReading {
		h.setTimerLocked()
	}
	return nil
}

// setTimerLocked makes the deadline effective for the connection, which is on the event loop. mu of the server must be held.
func (h *hookedConn) setTimerLocked() {
	if !h.readDeadline.IsZero() {
		h.c.conn.SetTimer(max(time.Until(h.readDeadline), 0))
	}
}

// SetWriteDeadline implements [net.Conn]. On the event loop nothing waits for a write.
func (h *hookedConn) SetWriteDeadline(t time.Time) error {
	if conn := h.current(); conn != nil {
		return conn.SetWriteDeadline(t)
	}
	return nil
}
