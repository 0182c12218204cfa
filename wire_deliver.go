package edgews

import (
	"fmt"
	"time"

	"github.com/edgews/edgews/internal/buf"
)

// beginHandlerLocked notes that the application has been called, and what that means for what it sends. mu must be held.
func (w *wire) beginHandlerLocked() {
	w.lastReceived = 0
	if w.conn.OthersWait() {
		w.s.status |= corked
	}
}

// deliver delivers a message, or its last piece: to the listeners at once, or to the inbox. b is the buffer
// that holds data, or nil when data lies in the read buffer.
func (w *wire) deliver(kind Kind, data []byte, b *buf.Buffer) bool {
	s := w.s
	if w.limiter != nil && !w.limiter.Allow(1, len(data)) {
		return w.fail(StatusPolicyViolation, "rate limit exceeded", errTooFast)
	}
	s.mu.Lock()
	w.beginHandlerLocked()
	if s.result != nil { // a listener, or another goroutine, has ended the socket: what was read ahead comes too late
		s.mu.Unlock()
		b.Free()
		return false
	}
	if reply := s.autoResponseLocked(kind, data); reply != nil {
		s.mu.Unlock()
		b.Free()
		s.autoRespond(reply)
		return true
	}
	c, ok := s.countArrivalLocked(len(data))
	if !ok {
		s.mu.Unlock()
		b.Free()
		w.transmit()
		return false
	}
	onMessage := w.onMessageLocked()
	if !onMessage.empty() {
		c.handlerStarted()
		s.mu.Unlock()
		return w.dispatch(onMessage, c, kind, data, b)
	}
	defer s.mu.Unlock()
	if b == nil {
		b = buf.Copy(data)
	}
	return w.storeLocked(item{kind: kind, first: !w.isStreamed(), last: true, buf: b})
}

var errTooFast = fmt.Errorf("%w (see Options.RateLimit)", ErrRateLimited)

func (w *wire) dispatch(onMessage listenerSnapshot[MessageEvent], c *usageCounter, kind Kind, data []byte, b *buf.Buffer) bool {
	err := onMessage.dispatch(w.s, MessageEvent{w.s, Message{kind, data}})
	c.handlerReturned()
	b.Free()
	if err != nil {
		w.s.panicked(err)
	}
	return err == nil
}

// redeliver is complete for a message that was not wanted before.
func (w *wire) redeliver(it item) bool {
	s := w.s
	s.mu.Lock()
	if onMessage := w.onMessageLocked(); !onMessage.empty() {
		c := s.counter
		c.handlerStarted()
		s.mu.Unlock()
		return w.dispatch(onMessage, c, it.kind, it.buf.B, it.buf)
	}
	defer s.mu.Unlock()
	return w.storeLocked(it)
}

// onMessageLocked returns the listeners that get the next message; none when it goes to the inbox. mu must be held.
func (w *wire) onMessageLocked() listenerSnapshot[MessageEvent] {
	s := w.s
	if s.is(pulling|hosted) || w.isStreamed() {
		return listenerSnapshot[MessageEvent]{}
	}
	return s.messageListenersLocked()
}

// storeLocked puts it into the inbox, where the receive methods, or the object to which the socket belongs, find it. When those have been used and there is enough, the peer
// has to wait; when nobody has shown interest yet, what does not fit is dropped. mu must be held.
func (w *wire) storeLocked(it item) bool {
	s := w.s
	if s.is(pulling | hosted) {
		in := s.inboxLocked()
		if s.is(owned) {
			in.want = wantNothing // it has got what it has asked for
		}
		in.push(it)
		s.queueObjectEventLocked()
		w.conn.WorkHandedOff()
		return !in.full() || w.pauseReadingLocked()
	}
	if left := s.graceLeftLocked(); left > 0 { // there may be a listener soon
		later := it // or every item would be on the heap
		w.acquireIncoming(w.limit())
		w.undelivered = &later
		time.AfterFunc(left, w.conn.Wake)
		return w.pauseReadingLocked()
	}
	in := s.inboxLocked()
	if in.bytes+weight(it) > inboxLimit {
		it.buf.Free()
		return true
	}
	in.push(it)
	in.undelivered++
	return true
}

// hasRoom reports whether the inbox takes more. If not, the peer has to wait.
func (w *wire) hasRoom() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return !w.s.is(pulling|hosted) || w.s.in == nil || !w.s.in.full() || w.pauseReadingLocked()
}

// streamPiece decides what becomes of a message that is large and not complete: someone waits for a whole message,
// then it goes on growing; someone reads it piece by piece, then the piece is handed over; nobody does yet,
// then the peer has to wait.
func (w *wire) streamPiece() bool {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.is(pulling):
		return true
	case s.is(owned) || w.deflated: // these are taken whole
		return s.inboxLocked().isAwaited() || w.pauseForObjectLocked()
	}
	whole := s.in.want == wantMessage
	switch {
	case w.streamed:
		if s.in.bytes >= inboxLimit && !whole {
			return w.pauseReadingLocked()
		}
	case s.in.queue.len() > 0 || s.in.want == wantNothing:
		return w.pauseReadingLocked()
	case whole:
		return true
	}
	if !w.limiter.Allow(0, len(w.message.B)) {
		return w.endLocked(pendingEnd{code: StatusPolicyViolation, reason: "rate limit exceeded", err: errTooFast})
	}
	if !s.counter.countReceivedLocked(0, len(w.message.B)) {
		go w.transmit() // the Close, when mu is free
		return false
	}
	s.in.push(item{kind: w.kind, first: !w.streamed, buf: w.message})
	w.message, w.streamed = nil, true
	w.conn.WorkHandedOff()
	return true
}

// pauseForObjectLocked waits until more is wanted of a message, and has an object asked. mu must be held.
func (w *wire) pauseForObjectLocked() bool {
	if w.s.is(owned) {
		w.s.askObjectLocked(wantRest)
	}
	return w.pauseReadingLocked()
}

// askObjectLocked asks the object that owns the socket whether it wants the next message, which is large. mu must be held.
func (s *Socket) askObjectLocked(what receiveDemand) {
	s.inboxLocked().wantFromObject = what
	s.queueObjectEventLocked()
}

// alive reports whether the socket goes on.
func (w *wire) alive() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.s.result == nil
}
