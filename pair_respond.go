package edgews

import (
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
	case s.phase == phaseUsed:
		return ErrUsed
	case s.isAcceptedLocked() || m.peer.phase == phaseUsed:
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
	observer := observerIn(ctx, c.opts.Observer)           // the same
	s.mu.Lock()
	if err := s.attachableLocked(); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	m := s.link.(*memory)
	server = m.peer
	s.phase = phaseUsed
	s.leaveRostersLocked()
	if server.hasEndedLocked() { // it has ended before there was a connection
		s.mu.Unlock()
		return nil, ErrClosed
	}
	server.opts = c.opts
	server.describeLocked(c.identity())
	as := countAsMessage
	if server.counter != nil {
		as = countAsNothing // the meter of its object has counted what it has sent
	}
	w := newLink(server, c)
	m.handOverLocked(server, w, as, observer)
	server.link = w
	if inObject {
		server.pinToLocked(o, pinAccepted)
	}
	server.warnIfUnacceptedLocked()
	s.mu.Unlock()
	if edge, ok := w.(*ClusterSocket); ok {
		edge.conn.Bind(edge)
		server.connectedToEdge()
	}
	w.transmit()
	server.tell()
	return server, nil
}

// newLink returns the link of s to the connection of c, for a socket that exists already. mu must be held.
func newLink(s *Socket, c wireConfig) link {
	conn, ok := c.conn.(*edgeConn)
	if !ok {
		return newWire(s, c)
	}
	edge := &ClusterSocket{inboxDelivery: inboxDelivery{self: s}}
	edge.bindLocked(conn.conn, c)
	return edge
}

// answerConnect is attach for a request of Stub.Connect: the other end of the pair gets a new socket in place of s, which conn gives to the
// caller of Connect. The connection of c is conn.
func (s *Socket) answerConnect(ctx context.Context, conn *connectConn, c wireConfig) (server *Socket, err error) {
	defer func() {
		if err != nil {
			c.places.release()
			return
		}
		c.places.join(server)
	}()
	o, inObject := ctx.Value(objectContextKey{}).(*object)
	observer := observerIn(ctx, c.opts.Observer)
	s.mu.Lock()
	if err := s.attachableLocked(); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	m := s.link.(*memory)
	server = m.peer
	s.phase = phaseUsed
	s.leaveRostersLocked()
	if server.hasEndedLocked() {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	client := &Socket{mu: s.mu, id: newSocketID(), opts: Options{}.resolve(), socketExtra: &socketExtra{in: new(inbox)}}
	client.link = &memory{inboxDelivery: inboxDelivery{self: client}, peer: server, answered: true}
	moved := &memory{inboxDelivery: inboxDelivery{self: server}, peer: client, answered: true}
	server.opts = c.opts
	server.describeLocked(c.identity())
	c.url, c.where = conn.w.request.URL.String(), ""
	client.describeLocked(c.identity())
	as := countAsMessage
	if server.counter != nil {
		as = countAsNothing
	}
	server.startCounterLocked(c.meter, c.object, true)
	server.counter.registerLocked() // no wire does
	m.handOverLocked(server, moved, as, observer)
	server.link = moved
	if inObject {
		server.pinToLocked(o, pinAccepted)
	}
	server.warnIfUnacceptedLocked()
	s.mu.Unlock()
	server.tell()
	if err := conn.give(client); err != nil {
		client.abandon(err)
		return nil, err
	}
	return server, nil
}

// handOverLocked moves what server has sent from the inbox of m.self, the other end, to w. What is deferred stays with server. as says how
// it is counted, on w. observer, which may be nil, is told of server from now on, unless another one is already. mu must be held.
func (m *memory) handOverLocked(server *Socket, w link, as countRule, observer Observer) {
	if sender := server.link.(*memory); sender.closeTimer != nil {
		sender.closeTimer.Stop()
	}
	fresh := server.observed == nil && server.isAcceptedLocked()
	if fresh {
		server.beginTellingLocked(observer)
	}
	in := m.self.in
	for in.queue.Len() > 0 {
		it := in.pop()
		if !it.last && in.queue.Len() == 0 { // the beginning of a NextWriter's message
			server.facts |= uncompressed
		}
		p := outgoingPiece{kind: it.kind, first: it.first, last: it.last, body: it.buf.B, payload: len(it.buf.B)}
		server.countHandedOverLocked(p, as)
		w.queueLocked(p)
		if fresh { // otherwise it has been told of when it was sent
			server.observeSentLocked(&p)
		}
		it.buf.Free()
	}
	if d := server.deferred; d != nil {
		for p := d.pieces.first; p != nil; p = p.next {
			if !p.revocable { // it counts when it is settled
				server.countHandedOverLocked(p.outgoingPiece, as)
			}
		}
	}
	if in.closing != nil {
		w.closeLocked(*in.closing)
	}
	if server.isAcceptedLocked() {
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

// countHandedOverLocked counts p, which was sent before s had a connection, as its first piece was. mu must be held.
func (s *Socket) countHandedOverLocked(p outgoingPiece, as countRule) {
	s.counter.countSentLocked(&outgoing{data: p.body, first: p.first, last: p.last, countAs: as})
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
	s.phase = phaseUsed // what is sent to it is dropped
	s.leaveRostersLocked()
	s.facts |= lost
	for s.in.queue.Len() > 0 {
		s.in.pop().buf.Free()
	}
	server := s.link.(*memory).peer
	if server.hasEndedLocked() {
		return
	}
	server.discardDeferredLocked()
	server.loseLocked(cause)
	if server.consumer == toObject {
		server.hideRefusalLocked()
	}
}

// hideRefusalLocked suppresses the error event of an object's end of a pair that has ended because Respond refused the other end.
// The object gets only the close event, as in Workers. mu must be held.
func (s *Socket) hideRefusalLocked() {
	if m, pair := s.link.(*memory); pair && s.hasEndedLocked() && m.peer.phase == phaseUsed {
		s.result.err = nil
	}
}
