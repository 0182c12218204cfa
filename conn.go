package edgews

import (
	"context"
	"unicode/utf8"
)

// turn delivers what is next of m: a message, or its end.
func (m *objectSocket) deliverNext() {
	s := m.s
	s.mu.Lock()
	switch {
	case s.owner != owner(m): // it was cut off
		s.mu.Unlock()
	case s.in != nil && s.in.whole():
		m.deliverMessageAndUnlock()
	case s.is(finishing) && !s.is(finished):
		fate := s.fate
		s.mu.Unlock()
		m.deliverEnd(fate)
	case s.in != nil && s.in.asks != wantNothing:
		m.inviteAndUnlock()
	default:
		s.mu.Unlock()
	}
}

// deliverMessage takes the first message. The socket's mu must be held; it is released.
func (m *objectSocket) deliverMessageAndUnlock() {
	s := m.s
	it := s.takeLocked()
	if s.in.whole() || s.is(finishing) || s.in.asks != wantNothing { // again, behind the others
		m.arrivedLocked(s)
	}
	reply := s.autoResponseLocked(it.kind, it.buf.b) // it came before AcceptWebSocket or SetAutoResponse
	ok, l := reply != nil || s.tab.inLocked(1, len(it.buf.b)), s.link
	s.in.lent = it.buf // it is being worked on
	s.mu.Unlock()
	defer s.workedOff(it.buf)
	switch {
	case !ok:
		l.transmit()
	case reply != nil:
		s.autoRespond(reply)
	case m.o.ns.eventsContext.Err() == nil && m.o.mayHandle(handlesMessages): // or Shutdown has cut
		m.runHandler("WebSocketMessage", func(ctx context.Context, value Object) error {
			if h, ok := value.(MessageHandler); ok {
				return h.WebSocketMessage(ctx, s, Message{it.kind, it.buf.b})
			}
			return nil
		})
	}
}

// deliverEnd delivers the last events, and answers the peer's Close if nobody has.
func (m *objectSocket) deliverEnd(fate *ending) {
	s := m.s
	defer m.finish()
	if fate.err != nil {
		s.warn("edgews: socket failed", fate.err)
		if m.o.mayHandle(handlesErrors) {
			m.runHandler("WebSocketError", func(ctx context.Context, value Object) error {
				if h, ok := value.(ErrorHandler); ok {
					return h.WebSocketError(ctx, s, fate.err)
				}
				return nil
			})
		}
	}
	if !m.o.mayHandle(handlesCloses) {
		return
	}
	m.runHandler("WebSocketClose", func(ctx context.Context, value Object) error {
		if h, ok := value.(CloseHandler); ok {
			return h.WebSocketClose(ctx, s, CloseEvent{s, fate.Code, fate.Reason, fate.WasClean})
		}
		return nil
	})
}

// notice runs fn as an event of the object, within its event timeout.
func (m *objectSocket) runHandler(what string, fn func(context.Context, Object) error) {
	limit := m.o.eventTimeout()
	if limit == 0 {
		_ = m.o.runHandler(m.o.ns.eventsContext, what, fn)
		return
	}
	_ = m.o.runHandler(m.o.ns.eventsContext, what, func(ctx context.Context, value Object) error {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return fn(ctx, value)
	})
}

// leave ends what m was to the object, and with it the socket.
func (m *objectSocket) finish() {
	s, o := m.s, m.o
	s.mu.Lock()
	if s.owner != owner(m) { // it was cut off meanwhile
		s.mu.Unlock()
		return
	}
	m.answerLocked(nil)
	l, fate := s.link, s.fate
	s.mu.Unlock()
	l.transmit()
	s.debug("edgews: socket closed", "code", uint16(fate.Code), "reason", fate.Reason, "clean", fate.WasClean)
	o.mu.Lock()
	if !m.removed {
		o.registry.remove(m)
	}
	o.mu.Unlock()
	s.finished()
}

// answerLocked answers the peer's Close, if nobody has: with c, or with what the peer said. The socket's mu must be
// held.
func (m *objectSocket) answerLocked(c *closeFrame) {
	s := m.s
	if s.is(sentClose|lost) || !s.is(gotClose) {
		return
	}
	if c == nil {
		c = &closeFrame{s.fate.Code, s.fate.Reason}
		if c.code == StatusNoStatusRcvd {
			c.code = 0
		}
	}
	s.sayCloseLocked(*c)
}

// cutOff closes the socket of a member that its object has lost. It has no more events.
func (m *objectSocket) abort(err error, reason string) {
	s := m.s
	s.mu.Lock()
	if s.owner != owner(m) {
		s.mu.Unlock()
		return
	}
	s.owner = nil
	s.status &^= owned
	for s.in != nil && s.in.queue.len() > 0 {
		it := s.popPieceLocked()
		it.buf.free()
	}
	last := s.is(finishing)
	if !utf8.ValidString(reason) {
		reason = "internal error"
	}
	c := closeFrame{StatusInternalError, clip(reason)}
	if m.isOutputFailed() {
		s.dropHeldOutputLocked(c)
	}
	m.answerLocked(&c)
	s.failLocked(StatusInternalError, reason, err)
	l := s.link
	s.mu.Unlock()
	l.transmit()
	if last {
		s.finished()
	}
}
