package edgews

import (
	"fmt"

	"github.com/edgews/edgews/internal/buf"
)

// beginHandlerLocked records that the application is about to be called. Keep-alive does not count the time of the call. While other
// connections wait for the poller, what the application sends is written at the end of the turn. mu must be held.
func (w *wire) beginHandlerLocked() {
	w.lastReceived = 0
	if !w.s.is(corked) && w.conn.OthersWait() {
		w.s.facts |= corked
	}
}

// deliver delivers a message, or the last piece of one, to the listeners or to the inbox. It is called in the connection's turn and calls
// the listeners itself. size is that of the message's frames, with their headers. b is the buffer that holds data, which deliver frees or
// stores; nil: data lies in the read buffer. deliver reports whether to continue reading.
func (w *wire) deliver(kind Kind, data []byte, size int, b *buf.Buffer) bool {
	s := w.s
	if w.limiter != nil && !w.limiter.Allow(1, len(data)) {
		return w.fail(StatusPolicyViolation, "rate limit exceeded", errTooFast)
	}
	s.mu.Lock()
	w.beginHandlerLocked()
	if s.hasEndedLocked() { // a listener or another goroutine has ended the socket: messages behind that are dropped
		s.mu.Unlock()
		b.Free()
		return false
	}
	if reply := s.autoResponseLocked(kind, data); reply != nil {
		w.lastReceived = w.coarseNowLocked() // the application is not called
		s.observeAnsweredLocked(kind, len(data), size)
		s.mu.Unlock()
		b.Free()
		s.autoRespond(reply)
		return true
	}
	s.noteMessageLocked()
	c, ok := s.countArrivalLocked(len(data))
	if !ok {
		s.mu.Unlock()
		b.Free()
		w.transmit()
		return false
	}
	onMessage := w.onMessageLocked()
	if !onMessage.empty() {
		s.beginHandlingLocked(kind, len(data), size, c.handlerStarted())
		o := s.observed
		s.mu.Unlock()
		return w.dispatch(onMessage, c, o, kind, data, b)
	}
	defer s.mu.Unlock()
	if b == nil {
		b = buf.Copy(data)
	}
	return w.storeLocked(item{kind: kind, first: !w.isStreamed(), last: true, wireSize: wireSize(size), buf: b})
}

// errTooFast is the reason for the end of a socket whose peer exceeds Options.RateLimit.
var errTooFast = fmt.Errorf("%w (see Options.RateLimit)", ErrRateLimited)

// dispatch calls the listeners with a message, tells the Observer unless o is nil, frees b and reports whether to continue reading. mu must not be locked.
func (w *wire) dispatch(onMessage listenerSnapshot[MessageEvent], c *usageCounter, o *observedSocket, kind Kind, data []byte, b *buf.Buffer) bool {
	err := dispatchObserved(onMessage, o, w.s, MessageEvent{w.s, Message{kind, data}})
	returned := c.handlerReturned()
	b.Free()
	if o != nil {
		w.s.handled(returned)
	}
	if err != nil {
		w.s.panicked(err)
	}
	return err == nil
}

// redeliver is deliver for the message that storeLocked has kept for a listener. It has been counted already.
func (w *wire) redeliver() bool {
	it := item{kind: w.kind, first: true, last: true, wireSize: wireSize(w.wireSize), buf: w.message}
	w.message, w.messageWaits = nil, false
	s := w.s
	s.mu.Lock()
	if onMessage := w.onMessageLocked(); !onMessage.empty() {
		c, o := s.counter, s.observed
		s.beginHandlingLocked(it.kind, len(it.buf.B), int(it.wireSize), c.handlerStarted())
		s.mu.Unlock()
		return w.dispatch(onMessage, c, o, it.kind, it.buf.B, it.buf)
	}
	defer s.mu.Unlock()
	return w.storeLocked(it)
}

// onMessageLocked returns the listeners for the next message; none: it goes to the inbox. mu must be held.
func (w *wire) onMessageLocked() listenerSnapshot[MessageEvent] {
	s := w.s
	if !s.deliversDirectlyLocked() || w.isStreamed() {
		return listenerSnapshot[MessageEvent]{}
	}
	return s.messageListenersLocked()
}

// storeLocked puts a message without a listener into the inbox, for a receive method or for the socket's object, and reports whether to
// continue reading. Reading pauses when the inbox is full. If the socket has no listener, object or receiver yet, storeLocked pauses reading
// until listenerGrace is over, and afterwards drops messages that do not fit into the inbox. mu must be held.
func (w *wire) storeLocked(it item) bool {
	s := w.s
	if !s.deliversDirectlyLocked() {
		in := s.inboxLocked()
		if s.consumer == toObject {
			in.want = wantNothing // the object has asked for one message
		}
		in.push(it)
		s.queueObjectEventLocked()
		w.conn.WorkHandedOff()
		return !in.full() || w.pauseReadingLocked()
	}
	if s.awaitsListenerLocked() {
		w.acquireIncoming(w.limit())
		w.kind, w.deflated, w.message, w.messageWaits, w.wireSize = it.kind, false, it.buf, true, int(it.wireSize)
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

// hasRoom reports whether reading may continue: the inbox has room or is not used. If not, it pauses reading.
func (w *wire) hasRoom() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.s.deliversDirectlyLocked() || w.s.in == nil || !w.s.in.full() || w.pauseReadingLocked()
}

// streamPiece decides what happens to w.message, which is large and not complete. If the socket has no receiver and no object, or a receiver
// waits for a whole message, w.message grows further. If a receiver waits for a piece, w.message is moved to the inbox as one, and later
// pieces follow until the inbox is full. Otherwise reading pauses. streamPiece reports whether to continue reading.
func (w *wire) streamPiece() bool {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noteMessageLocked()
	switch {
	case s.consumer == toListeners:
		return true
	case s.consumer == toObject || w.deflated: // delivered as whole messages only
		return s.inboxLocked().isAwaited() || w.pauseForObjectLocked()
	}
	whole := s.in.want == wantMessage
	switch {
	case w.streamed:
		if s.in.bytes >= inboxLimit && !whole {
			return w.pauseReadingLocked()
		}
	case s.in.queue.Len() > 0 || s.in.want == wantNothing:
		return w.pauseReadingLocked()
	case whole:
		return true
	}
	if !w.limiter.Allow(0, len(w.message.B)) {
		return w.endLocked(pendingEnd{code: StatusPolicyViolation, reason: "rate limit exceeded", err: errTooFast})
	}
	if !s.counter.countReceivedLocked(0, len(w.message.B)) {
		go w.transmit() // writes the Close frame; it needs mu
		return false
	}
	s.in.push(item{kind: w.kind, first: !w.streamed, wireSize: wireSize(w.wireSize), buf: w.message})
	w.message, w.streamed, w.wireSize = nil, true, 0
	w.conn.WorkHandedOff()
	return true
}

// pauseForObjectLocked pauses reading until a receiver wants the rest of a message. It asks the socket's object, if there is one. mu must be
// held.
func (w *wire) pauseForObjectLocked() bool {
	if w.s.consumer == toObject {
		w.s.askObjectLocked(wantRest)
	}
	return w.pauseReadingLocked()
}

// askObjectLocked queues an event that asks the socket's object for a receive demand, as the next message is large. mu must be held.
func (s *Socket) askObjectLocked(demand receiveDemand) {
	s.inboxLocked().wantFromObject = demand
	s.queueObjectEventLocked()
}

// alive reports whether the socket has not ended.
func (w *wire) alive() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return !w.s.hasEndedLocked()
}
