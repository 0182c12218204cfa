package edgews

import (
	"cmp"
	"context"
	"errors"
)

// attachable returns nil if Respond may use s, otherwise why not: s must be an end of a pair, neither accepted nor used.
func (s *Socket) attachable() error {
	if s == nil {
		return ErrNotPair
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attachableLocked()
}

// attachableLocked is attachable. mu must be held.
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

// attach gives the connection of c to the other end of the pair, and returns that end. What the other end has already sent is queued
// on the connection in order. s must not be used afterwards. If attach returns an error, the caller still owns the connection.
//
// ctx is the context of the request. If it is that of an object's event, the other end belongs to the object before anything
// arrives.
func (s *Socket) attach(ctx context.Context, c wireConfig) (server *Socket, err error) {
	o, inObject := ctx.Value(objectContextKey{}).(*object) // without mu: it may be the program's code
	s.mu.Lock()
	if err := s.attachableLocked(); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	m := s.link.(*memory)
	server = m.peer
	s.status |= used
	if server.is(ended) { // it has ended before there was a connection
		s.mu.Unlock()
		return nil, ErrClosed
	}
	server.opts = c.opts
	server.describeLocked(c.identity())
	as := countAsMessage
	if server.counter != nil {
		as = countAsNothing // the meter of its object has counted what it has sent
	}
	w := newWire(server, c)
	m.handOverLocked(server, w, as)
	server.link = w
	if inObject {
		server.pinToLocked(o, pinAccepted)
	}
	server.warnIfUnacceptedLocked()
	s.mu.Unlock()
	w.transmit()
	return server, nil
}

// handOverLocked moves what server has sent from the inbox of m.self, the other end, to w, where it is counted by as. mu must be
// held.
func (m *memory) handOverLocked(server *Socket, w *wire, as countRule) {
	sender := server.link.(*memory)
	if sender.closeTimer != nil {
		sender.closeTimer.Stop()
	}
	in := m.self.in
	claimed := server.is(streamingOut)
	server.status &^= streamingOut // messages before the first piece must not wait for the last one
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
	case claimed: // the first piece has not been sent yet
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

// takeOverLocked queues what an end of a pair has sent. pieces says whether it may be a piece of a message. mu must be held.
func (w *wire) takeOverLocked(it item, pieces bool, as countRule) {
	out := outgoing{kind: it.kind, data: it.buf.B, first: it.first, last: it.last, stream: pieces && !(it.first && it.last), ungated: true, countAs: as}
	w.queueLocked(&out, it.buf.B, false)
	it.buf.Free()
}

// errUnanswered ends a pair whose one end an object has accepted in ServeHTTP, if the other end was neither accepted nor given to
// Respond.
var errUnanswered = errors.New("edgews: the request was answered without Respond, and the other end of the pair was not accepted")

// abandon ends the pair of s, which has not become a connection because of cause. For the other end, the connection is lost. abandon
// has no effect if Respond could not have used s.
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

// hideRefusalLocked suppresses the error event of an object's end of a pair that has ended because Respond refused the other end.
// The object gets only the close event, as in Workers. mu must be held.
func (s *Socket) hideRefusalLocked() {
	if m, pair := s.link.(*memory); pair && s.is(ended) && m.peer.is(used) {
		s.result.err = nil
	}
}
