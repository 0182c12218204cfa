package edgews

import (
	"context"
	"unicode/utf8"
)

// turn delivers what is next of m: a message, or its end.
func (m *member) turn() {
	s := m.s
	s.mu.Lock()
	switch {
	case s.owner != owner(m): // it was cut off
		s.mu.Unlock()
	case s.in != nil && s.in.whole():
		m.deliverMessage()
	case s.is(finishing) && !s.is(finished):
		fate := s.fate
		s.mu.Unlock()
		m.deliverEnd(fate)
	case s.in != nil && s.in.asks != wantNothing:
		m.invite()
	default:
		s.mu.Unlock()
	}
}

// deliverMessage takes the first message. The socket's mu must be held; it is released.
func (m *member) deliverMessage() {
	s := m.s
	it := s.takeLocked()
	if s.in.whole() || s.is(finishing) || s.in.asks != wantNothing { // again, behind the others
		m.arrivedLocked(s)
	}
	reply := s.autoResponseLocked(it.kind, it.buf.B) // it came before AcceptWebSocket or SetAutoResponse
	ok, l := reply != nil || s.tab.inLocked(1, len(it.buf.B)), s.link
	s.in.lent = it.buf // it is being worked on
	s.mu.Unlock()
	defer s.workedOff(it.buf)
	switch {
	case !ok:
		l.transmit()
	case reply != nil:
		s.respond(reply)
	case m.o.ns.ctx.Err() == nil && m.o.wants(takesMessages): // or Shutdown has cut
		m.notice("WebSocketMessage", func(ctx context.Context, value Object) error {
			if h, ok := value.(MessageHandler); ok {
				return h.WebSocketMessage(ctx, s, Message{it.kind, it.buf.B})
			}
			return nil
		})
	}
}

// deliverEnd delivers the last events, and answers the peer's Close if nobody has.
func (m *member) deliverEnd(fate *ending) {
	s := m.s
	defer m.leave()
	if fate.err != nil {
		s.warn("edgews: socket failed", fate.err)
		if m.o.wants(takesErrors) {
			m.notice("WebSocketError", func(ctx context.Context, value Object) error {
				if h, ok := value.(ErrorHandler); ok {
					return h.WebSocketError(ctx, s, fate.err)
				}
				return nil
			})
		}
	}
	if !m.o.wants(takesCloses) {
		return
	}
	m.notice("WebSocketClose", func(ctx context.Context, value Object) error {
		if h, ok := value.(CloseHandler); ok {
			return h.WebSocketClose(ctx, s, CloseEvent{s, fate.Code, fate.Reason, fate.WasClean})
		}
		return nil
	})
}

// notice runs fn as an event of the object, within its event timeout.
func (m *member) notice(what string, fn func(context.Context, Object) error) {
	limit := m.o.eventTimeout()
	if limit == 0 {
		_ = m.o.notice(m.o.ns.ctx, what, fn)
		return
	}
	_ = m.o.notice(m.o.ns.ctx, what, func(ctx context.Context, value Object) error {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return fn(ctx, value)
	})
}

// leave ends what m was to the object, and with it the socket.
func (m *member) leave() {
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
	if !m.gone {
		o.conns.remove(m)
	}
	o.mu.Unlock()
	s.finished()
}

// answerLocked answers the peer's Close, if nobody has: with c, or with what the peer said. The socket's mu must be
// held.
func (m *member) answerLocked(c *closeFrame) {
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
func (m *member) cutOff(err error, reason string) {
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
		it.buf.Free()
	}
	last := s.is(finishing)
	if !utf8.ValidString(reason) {
		reason = "internal error"
	}
	c := closeFrame{StatusInternalError, clip(reason)}
	if m.gateBroken() {
		s.dropHeldLocked(c)
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
