package edgews

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"

	"github.com/edgews/edgews/internal/handshake"
	"github.com/edgews/edgews/internal/park"
)

// servedConn is a connection that Serve has accepted, while the head of its first request is read on the event loop and while the
// handler of an opening handshake runs. Then it is given up: to a Socket, to another owner by Hijack, or to net/http.
//
// It is the park.Handler of the connection, and takes some two hundred bytes and what has been read. Until the head is complete, only
// the connection's turn changes its phase. From then on nothing is read, and the goroutine of the handler owns it.
type servedConn struct {
	conn   park.Conn
	server *upgradeServer
	hooked *hookedConn // nil: srv had neither ConnState nor ConnContext

	remote     netip.AddrPort
	acceptedAt monoMillis

	// Owned by the connection's turn.
	scanner  handshake.HeadScanner
	headRead bool   // nothing is read any more
	head     []byte // what has arrived; nil: nothing

	// Guarded by the server's mu.
	prev, next *servedConn
	phase      servedPhase
	started    bool               // conn is on the event loop
	counted    bool               // the server counts it in requests
	cut        bool               // it must be closed, and not be given up
	hungUp     bool               // the peer has ended its side of the connection
	cancel     context.CancelFunc // ends the context of the request; nil: no handler runs
}

// servedPhase is how far a servedConn has come.
type servedPhase uint8

const (
	servedReading  servedPhase = iota // the head is being read
	servedHandling                    // the handler runs
	servedGone                        // the connection has been given up or closed
)

// start begins to read an accepted connection.
func (c *servedConn) start(a park.Accepted) {
	s := c.server
	s.mu.Lock()
	refused := c.cut // by a hook
	s.mu.Unlock()
	if refused {
		a.Discard()
		c.gone()
		return
	}
	if err := c.conn.StartAccepted(a, c); err != nil {
		s.logf("edgews: connection from %v cannot be read on the event loop: %v", c.remote, err)
		c.gone()
		return
	}
	if s.timeout > 0 {
		c.conn.SetTimer(s.timeout)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.started = true
	switch {
	case c.phase == servedGone:
	case c.cut:
		c.conn.Shutdown()
	case c.hooked != nil:
		c.hooked.setTimerLocked()
	}
}

// gone notes that the connection, which was being read, has been closed.
func (c *servedConn) gone() {
	s := c.server
	s.mu.Lock()
	c.phase = servedGone
	s.removeLocked(c)
	s.mu.Unlock()
	c.announce(http.StateClosed)
}

// announce calls ConnState.
func (c *servedConn) announce(state http.ConnState) {
	if c.hooked != nil {
		c.hooked.announce(state)
	}
}

// cutLocked has the connection closed. mu of the server must be held.
func (c *servedConn) cutLocked() {
	c.cut = true
	if c.cancel != nil {
		c.cancel()
	}
	if c.started && c.phase != servedGone {
		c.conn.Shutdown()
	}
}

// isCut reports whether the connection must be closed.
func (c *servedConn) isCut() bool {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return c.cut
}

// ReadBuffer implements [park.Handler].
func (c *servedConn) ReadBuffer() (into []byte, ok bool) {
	if c.headRead && c.conn.PeerEnded() {
		c.peerEnded()
	}
	return nil, !c.headRead
}

// peerEnded ends the context of the request when the peer has hung up, as in net/http: bytes that arrive behind the request hide the end of
// the stream.
func (c *servedConn) peerEnded() {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.hungUp = true
	c.checkPeerLocked()
}

// checkPeerLocked ends the context of the request if the peer has hung up. mu of the server must be held.
func (c *servedConn) checkPeerLocked() {
	if c.hungUp && c.phase == servedHandling && c.cancel != nil && c.conn.AtEnd() {
		c.cancel()
	}
}

// Received implements [park.Handler].
func (c *servedConn) Received(p []byte, _ *any) (anyBuffer bool) {
	all := p
	if c.head != nil {
		c.head = append(c.head, p...)
		all = c.head
	}
	switch state, n := c.scanner.Scan(all); {
	case state == handshake.HeadIncomplete && len(all) < c.server.maxHead:
		if c.head == nil {
			c.head = bytes.Clone(p)
		}
	case state == handshake.HeadOfUpgrade && n <= c.server.maxHead:
		c.headRead, c.head = true, nil
		if c.server.beginRequest(c) {
			c.conn.WorkHandedOff()
			go c.serveUpgrade(string(all[:n]), bytes.Clone(all[n:]))
		} else {
			c.close()
		}
	default:
		if c.head == nil {
			c.head = bytes.Clone(p)
		}
		c.handOverHead()
	}
	return false
}

// ReadEnded implements [park.Handler]. net/http decides how to answer a request whose end is missing.
func (c *servedConn) ReadEnded(err error) {
	c.headRead = true
	if err == io.EOF && len(c.head) > 0 && !c.isCut() {
		c.handOverHead()
		return
	}
	if len(c.head) > 0 {
		c.announce(http.StateActive)
	}
	c.close()
}

// handOverHead gives the connection to net/http, in the connection's turn.
func (c *servedConn) handOverHead() {
	c.headRead = true
	if !c.giveUp(servedReading) {
		c.close()
		return
	}
	c.server.handover.push(&handedOver{from: c, conn: c.conn.Detach(), replay: c.head})
	c.head = nil
}

// close closes the connection in its turn.
func (c *servedConn) close() {
	c.conn.Close()
	c.gone()
}

// giveUp ends the phase in which the connection belongs to c. It reports whether it did: not if the connection must be closed.
func (c *servedConn) giveUp(phase servedPhase) bool {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.phase != phase || c.cut {
		return false
	}
	c.phase = servedGone
	s.removeLocked(c)
	return true
}

// TimerFired implements [park.Handler]: the head has not arrived in time.
func (c *servedConn) TimerFired() {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	if c.phase == servedReading {
		c.cutLocked()
	}
}

// Woken implements [park.Handler].
func (c *servedConn) Woken() {}

// Writable implements [park.Handler].
func (c *servedConn) Writable() {}

// Flush implements [park.Handler].
func (c *servedConn) Flush() {}

// localAddr returns the local address of the connection, which must be on the event loop.
func (c *servedConn) localAddr() net.Addr {
	if c.server.local != nil {
		return c.server.local
	}
	return c.conn.LocalAddr()
}
