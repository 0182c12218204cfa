package edgews

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/edgews/edgews/internal/tunnel"
)

// observePassThrough tells observer that the connection of r, whose client is at conn, is passed through from now on. The result is t for its
// tunnel, whose end is told. protocol and extensions are what the two sides have agreed on. Without an Observer it returns t.
func observePassThrough(t *tunnel.Options, observer Observer, opts *Options, r *http.Request, conn net.Conn, protocol, extensions string) *tunnel.Options {
	if observer == nil {
		return t
	}
	s := newPassedSocket(opts, r, conn, protocol, extensions)
	s.mu.Lock()
	s.beginTellingLocked(observer)
	s.observed.passed = true
	s.tellAndUnlock()
	return alsoEnded(t, s.passedUntil)
}

// newPassedSocket returns the socket that an Observer is told of. The program cannot use it, like one that it has given to Respond.
func newPassedSocket(opts *Options, r *http.Request, conn net.Conn, protocol, extensions string) *Socket {
	s := &Socket{mu: new(sync.Mutex), id: newSocketID(), opts: opts, phase: phaseUsed, socketExtra: new(socketExtra)}
	s.link = passedLink{&connectingLink{s: s}}
	s.opened = time.Now().UnixNano()
	kept := func(text string) string { return strings.Clone(clippedTo(text, maxKeptName)) } // the target has chosen it
	s.about = &identity{protocol: kept(protocol), extensions: kept(extensions), where: whereOf(r)}
	s.keepAddrsLocked(addrs{conn.LocalAddr(), conn.RemoteAddr()}.orUnknown())
	return s
}

// passedLink is the link of a connection that is passed through. Nothing can be sent by it, and nothing arrives.
type passedLink struct{ *connectingLink }

func (passedLink) send(outgoing) error { return ErrUsed }

// passedUntil tells that the connection has ended with err; nil: both sides have ended their streams.
func (s *Socket) passedUntil(err error) {
	end := &closeResult{CloseError{Code: StatusNoStatusRcvd, WasClean: true}, nil}
	if err != nil {
		end = &closeResult{CloseError{Code: StatusAbnormalClosure}, err}
	}
	s.mu.Lock()
	s.extraLocked().result = end
	s.facts |= lost
	s.noteCauseLocked(passThroughCause(err))
	s.mu.Unlock()
	s.tellClosed()
}

// passThroughCause says why a connection that was passed through has ended.
func passThroughCause(err error) CloseCause {
	switch {
	case err == nil:
		return ClosedByPeer
	case errors.Is(err, tunnel.ErrWriteTimeout):
		return ClosedAsSlow
	case errors.Is(err, tunnel.ErrEndTimeout):
		return ClosedAsSilent
	case errors.Is(err, tunnel.ErrIdleTimeout):
		return ClosedByShutdown
	}
	return ClosedAsLost
}

// alsoEnded returns t for one tunnel, whose end is reported to ended too.
func alsoEnded(t *tunnel.Options, ended func(error)) *tunnel.Options {
	own, before := *t, t.Ended
	own.Ended = func(err error) {
		ended(err)
		if before != nil {
			before(err)
		}
	}
	return &own
}
