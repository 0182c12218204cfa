package edgews

import "context"

// meterFor returns the meter, and the object if it is one's, for which a connection counts that is opened in ctx: the object that
// opens it, if that object has a meter, otherwise m.
func meterFor(ctx context.Context, m *Meter) (*Meter, *object) {
	if o, ok := ctx.Value(objectContextKey{}).(*object); ok && o.counter != nil {
		return o.counter.meter, o
	}
	return m, nil
}

// startCounterLocked begins to count a connection with m, and for o unless it is nil. If a peer has opened it, it counts as a
// connection. mu must be held, or s be new.
func (s *Socket) startCounterLocked(m *Meter, o *object, byPeer bool) {
	if m == nil {
		return
	}
	if s.counter == nil {
		s.extraLocked().counter = newUsageCounter(m, o, s)
	}
	if !s.counter.timing { // a pair that has answered Stub.Connect, and is given to Respond then, has been counted
		s.counter.startConnectionLocked(byPeer)
	}
}

// countForObjectLocked begins to count for a socket that o accepts, unless it counts already. mu must be held.
func (s *Socket) countForObjectLocked(o *object) {
	if o.counter == nil || s.counter != nil {
		return
	}
	if w, ok := s.link.(*wire); ok {
		s.startCounterLocked(o.counter.meter, o, !w.client)
		return
	}
	s.extraLocked().counter = newUsageCounter(o.counter.meter, o, s)
	s.counter.registerLocked()
}

// countArrivalLocked counts a message of n bytes that has arrived on the wire, unless an object owns the socket: then the message
// counts when the object gets it. It returns the counter, or nil, and what countReceivedLocked returns. mu must be held.
func (s *Socket) countArrivalLocked(n int) (c *usageCounter, ok bool) {
	c = s.counter
	return c, c == nil || s.consumer == toObject || c.countReceivedLocked(1, n)
}

// countTakenLocked counts a message, or a piece of one, that has come through a pair, unless an object owns the socket: then the message
// counts when the object gets it. It does not fail the socket if a quota is used up: the quota does, which has noticed. mu must be held.
func (s *Socket) countTakenLocked(it *item) {
	if s.counter == nil || s.consumer == toObject {
		return
	}
	messages := 0
	if it.last {
		messages = 1
	}
	s.counter.addReceivedLocked(messages, len(it.buf.B))
}
