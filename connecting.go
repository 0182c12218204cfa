package edgews

import (
	"context"
	"sync"
)

// opening is the link of a socket whose opening handshake is under way: nothing can be sent, nothing arrives.
type opening struct {
	s   *Socket
	ctx context.Context
}

// newConnecting returns the socket of NewWebSocket: it is accepted, and connecting.
func newConnecting(url string, opts *Options) *Socket {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Socket{
		mu: new(sync.Mutex), opts: opts, status: connecting,
		socketExtra: &socketExtra{about: &identity{url: url}, waiters: &waiters{cancel: cancel}},
	}
	s.link = &opening{s, ctx}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acceptLocked(0)
	return s
}

// connecting returns the context of the handshake: Close ends it.
func (s *Socket) connecting() context.Context {
	if o, ok := s.currentLink().(*opening); ok {
		return o.ctx
	}
	return context.Background()
}

// opened gives the socket its connection and fires the open event. While the open listeners run, what they and others send leaves, but
// nothing is read.
func (s *Socket) opened(c wireConfig) {
	s.mu.Lock()
	if s.is(sentClose) { // Close was called in the last moment
		s.mu.Unlock()
		c.conn.Close()
		s.connectFailed(context.Canceled)
		return
	}
	s.opts = c.opts
	s.describeLocked(c.identity())
	w := newWire(s, c)
	s.link = w
	s.status &^= connecting
	w.startToOpenLocked()
	cancel := s.waiters.cancel
	var onOpen listenerSnapshot[OpenEvent]
	if !s.is(hosted) {
		onOpen = awaitListenersLocked(s, pickOpen)
	}
	s.notifyRoomLocked()
	g := s.pinnedSocketLocked()
	if g != nil {
		g.openEventDueLocked()
	}
	s.mu.Unlock()
	cancel()
	if g != nil { // the event is one of the object's
		w.hasOpened()
		return
	}
	exited := true // unless a listener returns: it may call runtime.Goexit
	defer func() {
		if exited {
			s.fail(StatusInternalError, "internal error", errGoexit)
			w.hasOpened()
		}
	}()
	err := onOpen.dispatch(s, OpenEvent{s})
	exited = false
	if err != nil {
		s.panicked(err)
	}
	w.hasOpened()
}

// connectFailed fires the error event and the close event of a handshake that did not succeed.
func (s *Socket) connectFailed(err error) {
	s.mu.Lock()
	s.status &^= connecting
	s.endLocked(&closeResult{CloseError{Code: StatusAbnormalClosure, Reason: "Failed to establish websocket connection"}, err}, lost)
	cancel := s.waiters.cancel
	s.mu.Unlock()
	cancel()
	s.finish()
}

func (o *opening) startLocked()                        {}
func (o *opening) closeLocked(closeFrame)              {}
func (o *opening) pingLocked(uint64)                   {}
func (o *opening) endedLocked()                        {}
func (o *opening) takenLocked(*item)                   {}
func (o *opening) bufferedLocked() (payload, size int) { return 0, 0 }
func (o *opening) resumeReadingLocked()                {}
func (o *opening) holdOutputLocked() bool              { return false } // no object has it
func (o *opening) releaseOutputLocked()                {}
func (o *opening) dropOutputLocked() (closing bool)    { return false }
func (o *opening) transmit()                           {}

func (o *opening) send(m outgoing) error {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	if o.s.link != link(o) {
		return errMoved
	}
	return sendResult(o.s.admitLocked(&m))
}

// startToOpenLocked starts the connection for writing. Reading begins with hasOpened. mu must be held.
func (w *wire) startToOpenLocked() {
	w.s.status |= openRunning
	w.readingPaused = true
	w.startLocked()
	w.lastReceived = 0 // the peer is not silent; it is not listened to
}

// hasOpened begins to read, and to deliver what happens, after the open listeners have returned.
func (w *wire) hasOpened() {
	w.s.mu.Lock()
	w.s.status &^= openRunning
	w.s.mu.Unlock()
	w.conn.Wake()
}

// isOpening reports whether the open listeners run.
func (w *wire) isOpening() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.s.is(openRunning)
}
