package link

import (
	"errors"
	"math/rand/v2"
	"syscall"
	"time"
)

const (
	// firstBackoff is the pause after the second failed attempt to connect; after the first there is none, because a connection that has
	// just broken tells nothing of the peer. Each further failure doubles it.
	firstBackoff = 50 * time.Millisecond
	// soundAfter is how long a connection must have lasted for the next one to be dialled at once.
	soundAfter = 200 * time.Millisecond
)

// keep connects the link to its peer, again and again, until the link is over.
func (m *Manager) keep(l *peerLink) {
	pause := time.Duration(0)
	for {
		start := time.Now()
		connected, err := m.dial(l)
		m.logProtocol(l.peer, err)
		l.failed(err)
		switch {
		case errors.Is(err, ErrReplaced):
			m.refused(l.peer, err)
			m.forget(l)
			l.drop(err)
			return
		case refusedBySystem(err):
			m.refused(l.peer, err)
		case errors.Is(err, ErrSessionLost), errors.Is(err, ErrProtocol) && connected:
			l.renew(err)
		}
		if connected && time.Since(start) > soundAfter {
			pause = 0
		}
		if !l.pause(pause/2 + rand.N(pause/2+1)) {
			return
		}
		pause = min(max(2*pause, firstBackoff), m.options.MaxBackoff)
	}
}

// dial connects once and runs the link until the connection breaks. connected says that the handshake succeeded.
func (m *Manager) dial(l *peerLink) (connected bool, err error) {
	c, err := m.dialPeer(l.peer)
	if err != nil {
		return false, err
	}
	ctx, release, stop := m.guard(c, m.options.HandshakeTimeout)
	defer stop()
	h, err := m.security.protect(ctx, c, true, l.peer.Addr)
	if err != nil {
		return false, err
	}
	session, resume := l.sessionState()
	w, err := h.dial(m.hello(session, resume))
	if err != nil {
		return false, err
	}
	if w.ID != l.peer.ID || w.Incarnation != l.peer.Incarnation {
		return false, wrongPeer(l.peer, w)
	}
	if l.isOver() { // there may be a new link: the peer would take this session for a later one, and end that
		return false, errSuperseded
	}
	if err := h.confirm(); err != nil {
		return false, err
	}
	release()
	return true, m.run(l, c, h, w.Version, w.Limits)
}

// refusedBySystem reports whether the peer's system has refused the connection: no process listens.
func refusedBySystem(err error) bool {
	const windows = syscall.Errno(10061) // WSAECONNREFUSED; syscall.ECONNREFUSED is another number there
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, windows)
}

// sessionState returns the name of the session, and whether the peer knows it.
func (l *peerLink) sessionState() (session string, used bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session, l.used
}

// isOver reports whether the link has been dropped.
func (l *peerLink) isOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over != nil
}

// pause waits; it returns false when the link is over.
func (l *peerLink) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.done:
		return false
	}
}
