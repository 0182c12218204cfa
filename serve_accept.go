package edgews

import (
	"errors"
	"net"
	"net/http"
	"reflect"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/edgews/edgews/internal/park"
)

// Accepted implements [park.AcceptHandler].
func (s *upgradeServer) Accepted(a park.Accepted) {
	s.retryDelay = 0
	if s.endedByListener() {
		a.Discard()
		return
	}
	c := &servedConn{server: s, remote: a.Remote, acceptedAt: nowMillis()}
	if !s.add(c) {
		a.Discard()
		return
	}
	if s.srv.ConnState != nil || s.srv.ConnContext != nil {
		c.hooked = &hookedConn{c: c, local: a.LocalAddr()}
		c.hooked.callAcceptHooks()
	}
	c.start(a)
}

// The delays after accept has failed, as in net/http.
const (
	firstRetryDelay = 5 * time.Millisecond
	maxRetryDelay   = time.Second
)

// AcceptFailed implements [park.AcceptHandler].
func (s *upgradeServer) AcceptFailed(err error) time.Duration {
	err = &net.OpError{Op: "accept", Net: s.Addr().Network(), Addr: s.Addr(), Err: err}
	if !isOutOfDescriptors(err) {
		s.acceptEnded(err)
		return 0
	}
	s.retryDelay = min(max(2*s.retryDelay, firstRetryDelay), maxRetryDelay)
	s.logf("http: Accept error: %v; retrying in %v", err, s.retryDelay)
	return s.retryDelay
}

// isOutOfDescriptors reports whether accepting may succeed later.
func isOutOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// acceptEnded makes Serve return err, unless it is about to return anyway.
func (s *upgradeServer) acceptEnded(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// watchPeriod is how often watch looks. Neither fact that it looks for can be waited for.
const watchPeriod = time.Second

// watch notices that the program has closed the listener itself, and what it has last told SetKeepAlivesEnabled. It ends with Serve.
func (s *upgradeServer) watch() {
	ticker := time.NewTicker(watchPeriod)
	defer ticker.Stop()
	for {
		s.followKeepAlives()
		if s.endedByListener() {
			return
		}
		select {
		case <-ticker.C:
		case <-s.closing:
			return
		}
	}
}

// followKeepAlives tells rest what the program has last told SetKeepAlivesEnabled, if it has changed.
func (s *upgradeServer) followKeepAlives() {
	disabled := keepAlivesDisabled(s.srv)
	if off := disabled != nil && disabled.Load(); off != s.keepAlivesOff {
		s.keepAlivesOff = off
		s.rest.SetKeepAlivesEnabled(!off)
	}
}

// endedByListener ends accepting, and reports true, if the listener has been closed.
func (s *upgradeServer) endedByListener() bool {
	if s.raw.Control(func(uintptr) {}) == nil {
		return false
	}
	_, err := s.listener.Accept()
	s.acceptEnded(err)
	return true
}

// keepAlivesDisabled returns what http.Server.SetKeepAlivesEnabled sets. Should a version of Go change that, it returns nil: rest then keeps
// connections alive whatever the program says.
func keepAlivesDisabled(srv *http.Server) *atomic.Bool {
	field := reflect.ValueOf(srv).Elem().FieldByName("disableKeepAlives")
	if !field.IsValid() || field.Type() != reflect.TypeFor[atomic.Bool]() {
		return nil
	}
	return (*atomic.Bool)(field.Addr().UnsafePointer())
}

// add adds c to the list of connections. It reports whether it did: not after the server has been stopped.
func (s *upgradeServer) add(c *servedConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	c.next = s.conns
	if c.next != nil {
		c.next.prev = c
	}
	s.conns = c
	return true
}

// removeLocked removes c from the list of connections. mu must be held.
func (s *upgradeServer) removeLocked(c *servedConn) {
	switch {
	case c.prev != nil:
		c.prev.next = c.next
	case s.conns == c:
		s.conns = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
}
