package edgews

import (
	"context"
	"sync"
)

// connectingLink is the link of a socket of NewWebSocket until the handshake has ended. Nothing can be sent, and nothing arrives. The
// end of the socket gives the handshake up. Its other methods do nothing.
type connectingLink struct {
	s   *Socket
	ctx context.Context // of the handshake; Close and the end of the socket cancel it
}

// newConnecting returns the socket of NewWebSocket, which is connecting, and needs no Accept.
func newConnecting(url string, opts *Options) *Socket {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Socket{
		mu: new(sync.Mutex), id: newSocketID(), opts: opts, phase: phaseConnecting, accepted: nowMillis(),
		socketExtra: &socketExtra{about: &identity{url: url}, waiters: &waiters{cancel: cancel}},
	}
	s.link = &connectingLink{s, ctx}
	return s
}

// connectContext returns the context of the handshake, which Close cancels.
func (s *Socket) connectContext() context.Context {
	if o, ok := s.currentLink().(*connectingLink); ok {
		return o.ctx
	}
	return context.Background()
}

// connected gives the socket its connection and fires the open event. While the open listeners run, messages are sent, but nothing is
// read. In an object the open event is an event of the object instead.
func (s *Socket) connected(c wireConfig) {
	s.mu.Lock()
	if s.is(sentClose) { // Close was called after the handshake had succeeded
		s.mu.Unlock()
		c.conn.Close()
		s.connectFailed(context.Canceled)
		return
	}
	s.opts = c.opts
	s.describeLocked(c.identity())
	w := newWire(s, c)
	s.link = w
	s.openLocked()
	w.startOpeningLocked()
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
	if g != nil { // the open event waits in the object's queue
		w.finishOpening()
		return
	}
	exited := true // stays true if a listener calls runtime.Goexit
	defer func() {
		if exited {
			s.fail(StatusInternalError, "internal error", errGoexit)
			w.finishOpening()
		}
	}()
	err := onOpen.dispatch(s, OpenEvent{s})
	exited = false
	if err != nil {
		s.panicked(err)
	}
	w.finishOpening()
}

// connectFailed fires the error event and the close event of a handshake that has failed. They wait for a close listener, because the
// handshake may fail before the program can add one.
func (s *Socket) connectFailed(err error) {
	s.mu.Lock()
	s.endLocked(&closeResult{CloseError{Code: StatusAbnormalClosure, Reason: "Failed to establish websocket connection"}, err}, lost)
	s.wakeAllLocked()
	awaitListenersLocked(s, pickClose)
	s.mu.Unlock()
	s.finish()
}

func (o *connectingLink) startLocked()                        {}
func (o *connectingLink) queueLocked(outgoingPiece)           {} // nothing is admitted
func (o *connectingLink) closeLocked(closeFrame)              {}
func (o *connectingLink) pingLocked(uint64)                   {}
func (o *connectingLink) endedLocked()                        { o.s.waiters.cancel() }
func (o *connectingLink) takenLocked(*item)                   {}
func (o *connectingLink) bufferedLocked() (payload, size int) { return 0, 0 }
func (o *connectingLink) resumeReadingLocked()                {}
func (o *connectingLink) transmit()                           {}
func (o *connectingLink) isParkedLocked() bool                { return false } // a goroutine connects
func (o *connectingLink) addrs() addrs                        { return addrs{unconnectedAddr, unconnectedAddr} }

func (o *connectingLink) send(m outgoing) error {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	if o.s.link != link(o) {
		return errMoved
	}
	return sendResult(o.s.admitLocked(&m))
}

// startOpeningLocked starts the connection for writing. Reading begins with finishOpening. mu must be held.
func (w *wire) startOpeningLocked() {
	w.s.facts |= openRunning
	w.readingPaused = true
	w.startLocked()
	w.lastReceived = 0 // nothing is read yet, so the silence of the peer does not count
}

// finishOpening begins to read and to deliver events, after the open listeners have returned.
func (w *wire) finishOpening() {
	w.s.mu.Lock()
	w.s.facts &^= openRunning
	w.s.mu.Unlock()
	w.conn.Wake()
}

// isOpening reports whether the open listeners are running.
func (w *wire) isOpening() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.s.is(openRunning)
}
