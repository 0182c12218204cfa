package edgews

import (
	"context"
	"net/http"
	"runtime"

	"github.com/edgews/edgews/internal/handshake"
	"github.com/edgews/edgews/internal/park"
)

// beginRequest notes that a request is being served outside of net/http, which Shutdown waits for. It returns false if the connection must
// be closed instead.
func (s *upgradeServer) beginRequest(c *servedConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || c.cut {
		return false
	}
	c.phase = servedHandling
	c.counted = true
	s.requests++
	return true
}

// endRequest notes, at most once for a connection, that its request is no longer served outside of net/http.
func (s *upgradeServer) endRequest(c *servedConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.counted {
		return
	}
	c.counted = false
	if s.requests--; s.requests == 0 {
		s.idle.broadcast()
	}
}

// serveUpgrade serves a request that has an Upgrade header. buffered has arrived behind it.
func (c *servedConn) serveUpgrade(head string, buffered []byte) {
	park.GrowStack()
	defer c.server.endRequest(c)
	w := &upgradeWriter{c: c, head: head, buffered: buffered}
	var parsed http.Request
	if !handshake.ParseUpgrade(head, &parsed) {
		w.handOver(nil)
		return
	}
	ctx, cancel := context.WithCancel(context.WithValue(c.context(), http.LocalAddrContextKey, c.localAddr()))
	defer cancel()
	parsed.RemoteAddr = c.remote.String()
	w.r, w.cancel = parsed.WithContext(ctx), cancel
	c.setCancel(cancel)
	returned := false
	defer func() {
		w.finish(returned, recover())
	}()
	c.announce(http.StateActive)
	c.server.handler().ServeHTTP(w, w.r)
	returned = true
}

// context returns the context of the connection.
func (c *servedConn) context() context.Context {
	if c.hooked != nil {
		return c.hooked.ctx
	}
	return c.server.baseContext
}

// setCancel makes cancel the function that ends the context of the request.
func (c *servedConn) setCancel(cancel context.CancelFunc) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.cancel = cancel
	c.checkPeerLocked()
	if c.cut {
		cancel()
	}
}

// finish ends the answer after the handler has returned, or has ended otherwise: with a panic, or with runtime.Goexit if cause is nil.
func (w *upgradeWriter) finish(returned bool, cause any) {
	if cause != nil && cause != http.ErrAbortHandler {
		stack := make([]byte, 64<<10)
		stack = stack[:runtime.Stack(stack, false)]
		w.c.server.logf("http: panic serving %v: %v\n%s", w.r.RemoteAddr, cause, stack)
	}
	if returned && !w.hijacked {
		w.inner() // which answers 200 if the handler has done nothing
	}
	switch w.returned.Store(true); {
	case w.answer != nil:
		w.answer.end(!returned)
	case !w.hijacked:
		w.c.closeAfterHandler()
	}
}

// closeAfterHandler closes the connection outside of its turn, unless it has been given up.
func (c *servedConn) closeAfterHandler() {
	s := c.server
	s.mu.Lock()
	mine := c.phase == servedHandling
	if mine {
		c.phase = servedGone
		s.removeLocked(c)
	}
	s.mu.Unlock()
	if mine {
		_ = c.conn.Detach().Close()
		s.endRequest(c)
		c.announce(http.StateClosed)
	}
}
