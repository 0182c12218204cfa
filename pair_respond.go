package edgews

import (
	"cmp"
	"context"
	"errors"
)

// attachable says whether Respond may use s: it has to be an end of a pair that nobody has accepted or used.
func (s *Socket) attachable() error {
	if s == nil {
		return ErrNotPair
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attachableLocked()
}

func (s *Socket) attachableLocked() error {
	switch m, pair := s.link.(*memory); {
	case !pair:
		return ErrNotPair
	case s.is(used):
		return ErrUsed
	case s.is(accepted) || m.peer.is(used):
		return ErrAccepted
	}
	return nil
}

// attach gives the other end of the pair, which it returns, the connection of c. What it has sent already goes out in order. s is
// used up. With an error the connection is still the caller's.
//
// ctx is the request's: if it is that of an object's event, the other end belongs to the object before anything arrives.
func (s *Socket) attach(ctx context.Context, c wireConfig) (server *Socket, err error) {
	s.mu.Lock()
	if err := s.attachableLocked(); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	m := s.link.(*memory)
	server = m.peer
	s.status |= used
	if server.is(ended) { // it gave up before there was a connection
		s.mu.Unlock()
		return nil, ErrClosed
	}
	server.opts = c.opts
	server.describeLocked(c.identity())
	as := countAsMessage
	if server.counter != nil {
		as = countAsNothing // its object's meter knows what it has sent
	}
	w := newWire(server, c)
	m.handOverLocked(server, w, as)
	server.link = w
	if o, ok := ctx.Value(objectContextKey{}).(*object); ok {
		server.pinToLocked(o, pinAccepted)
	}
	server.warnIfUnacceptedLocked()
	s.mu.Unlock()
	w.transmit()
	return server, nil
}

// handOver moves what server has sent to the pair's other end, which m belongs to, into w, where it counts as as
// says. mu must be held.
func (m *memory) handOverLocked(server *Socket, w *wire, as countRule) {
	sender := server.link.(*memory)
	if sender.closeTimer != nil {
		sender.closeTimer.Stop()
	}
	in := m.self.in
	claimed := server.is(streamingOut)
	server.status &^= streamingOut // what comes before the pieces of a message is not behind it
	for in.queue.Len() > 0 {
		w.takeOverLocked(in.pop(), true, as)
	}
	closing := in.closing
	if g := sender.gated; g != nil {
		w.holdOutputLocked()
		for _, it := range g.items {
			w.takeOverLocked(it, true, as)
		}
		closing = cmp.Or(closing, g.closing)
	}
	switch {
	case server.is(streamingOut):
		server.status |= uncompressed
	case claimed: // the first piece is still to come
		server.status |= streamingOut
	}
	for _, it := range sender.afterStream {
		w.takeOverLocked(it, false, as)
	}
	if closing != nil {
		w.closeLocked(*closing)
	}
	if server.is(accepted) {
		server.accepted = nowMillis()
		w.startLocked()
	}
	if server.waiters == nil {
		return
	}
	for _, waiting := range server.waiters.pings.waiting {
		w.pingLocked(waiting.id)
	}
}

// takeOverLocked queues what a pair's end has sent. pieces says whether it may be a piece of a message. mu must be held.
func (w *wire) takeOverLocked(it item, pieces bool, as countRule) {
	out := outgoing{kind: it.kind, data: it.buf.B, first: it.first, last: it.last, stream: pieces && !(it.first && it.last), ungated: true, countAs: as}
	w.queueLocked(&out, it.buf.B, false)
	it.buf.Free()
}

// errUnanswered ends a pair of which an object has taken one end in its ServeHTTP and left the other.
var errUnanswered = errors.New("edgews: the request was answered without Respond, and the other end of the pair was not accepted")

// abandon ends the pair of which s was to become a connection, and did not: the other end sees a loss of the connection. Nothing
// happens to a pair that Respond could not have used.
func (s *Socket) abandon(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attachableLocked() != nil {
		return
	}
	s.status |= used | finishing | lost // what is sent to it is dropped
	for s.in.queue.Len() > 0 {
		s.in.pop().buf.Free()
	}
	server := s.link.(*memory).peer
	if server.is(ended) {
		return
	}
	server.loseLocked(cause)
	if server.is(owned) {
		server.hideRefusalLocked()
	}
}

// hideRefusalLocked has an object hear of nothing but the close event, as in Workers, when its end of a pair has ended because Respond
// refused the other one. mu must be held.
func (s *Socket) hideRefusalLocked() {
	if m, pair := s.link.(*memory); pair && s.is(ended) && m.peer.is(used) {
		s.result.err = nil
	}
}
