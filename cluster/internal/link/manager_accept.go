package link

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// Serve accepts links on the listener until the Manager is closed or Accept fails, and closes the listener. After Close it returns ErrClosed.
// With neither a secret nor TLS, the listener must be on a loopback address.
func (m *Manager) Serve(listener net.Listener) error {
	defer listener.Close()
	if err := m.CheckListener(listener); err != nil {
		return err
	}
	if !m.addListener(listener) {
		return ErrClosed
	}
	defer m.removeListener(listener)
	pause := time.Duration(0)
	for {
		c, err := listener.Accept()
		switch {
		case m.ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return ErrClosed
		case err == nil:
			pause = 0
			m.admit(c)
		case errors.Is(err, net.ErrClosed):
			return err
		default: // too many open files, or a connection that was gone before it was accepted
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			m.options.Logger.Warn("edgews: link: accept failed", "error", err, "pause", pause)
			select {
			case <-time.After(pause):
			case <-m.ctx.Done():
			}
		}
	}
}

// CheckListener returns the error with which Serve would refuse a listener: without security only loopback addresses are served.
func (m *Manager) CheckListener(listener net.Listener) error {
	if m.security.plain() && !local(listener.Addr()) {
		return fmt.Errorf("%w: %v", ErrInsecure, listener.Addr())
	}
	return nil
}

func (m *Manager) addListener(l net.Listener) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.listeners[l] = true
	return true
}

func (m *Manager) removeListener(l net.Listener) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.listeners, l)
}

// admit starts the handshake of an accepted connection.
func (m *Manager) admit(c net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.unproved >= maxUnproved {
		c.Close()
		return
	}
	m.unproved++
	m.tasks.Go(func() { m.accept(c) })
}

func (m *Manager) proved() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unproved--
}

// accept does the handshake of an accepted connection and runs the link until it breaks.
func (m *Manager) accept(c net.Conn) {
	ctx, release, stop := m.guard(c, m.options.HandshakeTimeout)
	defer stop()
	h, err := m.security.protect(ctx, c, false, "")
	var said hello
	w := welcome{
		Cluster: m.options.Cluster, ID: m.options.Self.ID, Incarnation: m.options.Self.Incarnation, Nonce: newNonce(), Limits: m.limits(),
	}
	if err == nil {
		said, w, err = h.accept(w, m.options.Self.Versions)
	}
	var l *peerLink
	if err == nil {
		l, err = m.incomingLink(h, said)
	}
	m.proved()
	peer := Peer{ID: said.ID, Incarnation: said.Incarnation, Addr: said.Addr, Versions: said.Versions}
	if err != nil {
		m.options.Logger.Warn("edgews: link: handshake failed", "from", c.RemoteAddr(), "peer", peer.ID, "error", err)
		return
	}
	defer m.expireLater(l)
	if h.send(typeReady, 0, nil) != nil {
		return
	}
	release()
	err = m.run(l, c, h, w.Version, said.Limits)
	m.logProtocol(peer, err)
	l.failed(err)
	switch {
	case errors.Is(err, ErrProtocol):
		m.forget(l)
		l.drop(err)
	case !l.isOver() && peer.Addr != "" && m.unreachable(peer):
		m.Connect(peer) // it may have died: its address tells, if it refuses
	}
}

// incomingLink returns the link for a peer that has proved to be a member. The peer is told if there is none.
func (m *Manager) incomingLink(h *handshake, said hello) (*peerLink, error) {
	peer := Peer{ID: said.ID, Incarnation: said.Incarnation, Addr: said.Addr, Versions: said.Versions}
	if m.options.Admit != nil && !m.options.Admit(peer) {
		return nil, h.refuse(refuseNotAdmitted, fmt.Errorf("%w: not admitted", ErrRefused))
	}
	l, old, err := m.findIncoming(peer, said)
	if old != nil {
		old.drop(ErrSessionLost)
	}
	switch {
	case errors.Is(err, ErrSessionLost):
		return nil, h.refuse(refuseSession, err)
	case err != nil:
		return nil, h.refuse(refuseClosed, err)
	}
	return l, nil
}

// findIncoming returns the link of the peer's session, which is new if the peer says so, and one of an earlier session, which is over.
func (m *Manager) findIncoming(peer Peer, said hello) (l, old *peerLink, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, nil, ErrClosed
	}
	l = m.incoming[peer.key()]
	if l != nil && l.session == said.Session { // session of an incoming link never changes
		return l, nil, nil
	}
	old = l
	if said.Resume {
		delete(m.incoming, peer.key())
		return nil, old, ErrSessionLost
	}
	l = newLink(m, peer, false, said.Session)
	m.incoming[peer.key()] = l
	return l, old, nil
}

// expireLater ends the link when its peer has not connected again in time.
func (m *Manager) expireLater(l *peerLink) {
	if !m.startExpiring(l) {
		return
	}
	m.tasks.Go(func() {
		for wait := m.options.ResumeWithin; wait > 0; wait = l.expiresIn(m.options.ResumeWithin) {
			if !l.pause(wait) {
				return
			}
		}
		if l.expired() {
			m.forget(l)
			l.drop(ErrSessionLost)
		}
	})
}

// startExpiring reports whether a goroutine must be started that ends the link.
func (m *Manager) startExpiring(l *peerLink) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if m.closed || l.over != nil || l.expiring {
		return false
	}
	l.expiring = true
	return true
}

// expiresIn returns how long the link may still be without a connection; 0 if it has one, or if it may not any more.
func (l *peerLink) expiresIn(resumeWithin time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		return 0
	}
	return max(0, time.Duration(l.detachedAt-l.manager.now())+resumeWithin)
}

// expired ends the expiry; it returns true when the link has no connection.
func (l *peerLink) expired() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expiring = false
	return l.conn == nil
}
