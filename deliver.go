package edgews

import "fmt"

// complete delivers a message, or its last piece: to the listeners at once, or to the inbox. owned is the buffer
// that holds data, or nil when data lies in the read buffer.
func (w *wire) complete(data []byte, owned *buffer, more bool) bool {
	s := w.s
	if !w.limiter.allow(1, len(data)) {
		s.fail(StatusPolicyViolation, "rate limit exceeded", errTooFast)
		return false
	}
	s.mu.Lock()
	if s.fate != nil { // a listener, or another goroutine, has ended the socket: what was read ahead comes too late
		s.mu.Unlock()
		owned.free()
		return false
	}
	if reply := s.autoResponseLocked(w.kind, data); reply != nil {
		s.mu.Unlock()
		owned.free()
		s.respond(reply)
		return true
	}
	onMessage := w.onMessageLocked()
	if len(onMessage) == 0 {
		defer s.mu.Unlock()
		if owned == nil {
			owned = copyOf(data)
		}
		return w.keepLocked(item{kind: w.kind, first: !w.streamed, last: true, buf: owned})
	}
	w.corkLocked(more)
	s.mu.Unlock()

	err := onMessage.dispatch(s, MessageEvent{s, Message{w.kind, data}})
	owned.free()
	if err != nil {
		s.panicked(err)
	}
	return err == nil && w.alive()
}

var errTooFast = fmt.Errorf("%w (see Options.RateLimit)", ErrRateLimited)

// onMessageLocked returns the listeners that get the next message; none when it goes to the inbox. mu must be held.
func (w *wire) onMessageLocked() list[MessageEvent] {
	s := w.s
	switch {
	case s.is(pulling) || w.streamed:
		return nil
	case s.listeners != nil && len(s.listeners.message) > 0:
		return s.listeners.message
	}
	return awaitListener(s, pickMessage)
}

// keepLocked puts it into the inbox, where the receive methods find it. When those have been used, it waits for
// room, and the peer with it; when nobody has shown interest yet, what does not fit is dropped. mu must be held.
func (w *wire) keepLocked(it item) bool {
	s := w.s
	if !s.is(pulling) {
		if s.in.bytes+weight(it) > inboxLimit {
			it.buf.free()
			return true
		}
		s.in.push(it)
		s.in.unheard++
		return true
	}
	if !w.pauseLocked(func() bool { return !s.in.full() }) {
		it.buf.free()
		return false
	}
	s.in.push(it)
	s.arrivedForOwnerLocked()
	return true
}

// stream decides what becomes of a message that is large and not complete: someone waits for a whole message,
// then it goes on growing; someone reads it piece by piece, then the piece is handed over; nobody does yet,
// then the peer has to wait.
func (w *wire) stream() bool {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.is(pulling) || s.is(owned) { // an object takes whole messages
		return true
	}
	decided := func() bool {
		if w.streamed {
			return s.in.bytes < inboxLimit || s.in.want == wantMessage
		}
		return s.in.queue.len() == 0 && s.in.want != wantNothing
	}
	if !w.pauseLocked(decided) {
		return false
	}
	if !w.streamed && s.in.want == wantMessage {
		return true
	}
	if !w.limiter.allow(0, len(w.message.b)) {
		s.failLocked(StatusPolicyViolation, "rate limit exceeded", errTooFast)
		return false
	}
	s.in.push(item{kind: w.kind, first: !w.streamed, buf: w.message})
	w.message, w.streamed = nil, true
	return true
}

// pauseLocked waits, without reading, until ready says so. It returns false if the socket ends first. mu must
// be held; it is released while waiting.
func (w *wire) pauseLocked(ready func() bool) bool {
	s := w.s
	for s.fate == nil && !ready() {
		space := s.in.space.wait()
		w.out.corked = false
		s.mu.Unlock()
		w.transmit()
		<-space
		s.mu.Lock()
	}
	return s.fate == nil
}

// alive reports whether the socket goes on.
func (w *wire) alive() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.s.fate == nil
}
