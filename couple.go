package edgews

import (
	"cmp"
	"time"
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
func (s *Socket) attach(c wireConfig) (server *Socket, err error) {
	s.mu.Lock()
	if err := s.attachableLocked(); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	m := s.link.(*memory)
	server = m.peer
	s.status |= used
	if server.fate != nil { // it gave up before there was a connection
		s.mu.Unlock()
		return nil, ErrClosed
	}
	server.opts, server.about = c.opts, c.identity()
	w := newWire(server, c)
	m.handOver(server, w)
	server.link = w
	s.mu.Unlock()
	w.transmit()
	return server, nil
}

// handOver moves what server has sent to the pair's other end, which m belongs to, into w. mu must be held.
func (m *memory) handOver(server *Socket, w *wire) {
	sender := server.link.(*memory)
	if sender.closeTimer != nil {
		sender.closeTimer.Stop()
	}
	in := m.self.in
	server.status &^= streamingOut // what comes before the pieces of a message is not behind it
	for in.queue.len() > 0 {
		w.takeOverLocked(in.pop(), true)
	}
	closing := in.closing
	if g := sender.gated; g != nil {
		w.holdLocked()
		for _, it := range g.items {
			w.takeOverLocked(it, true)
		}
		closing = cmp.Or(closing, g.closing)
	}
	w.plain = server.is(streamingOut)
	for _, it := range sender.held {
		w.takeOverLocked(it, false)
	}
	if closing != nil {
		w.closeLocked(*closing)
	}
	if server.is(accepted) {
		server.accepted = time.Since(epoch)
		w.startLocked()
	}
	if server.waits == nil {
		return
	}
	for _, waiting := range server.waits.pings.waiting {
		w.pingLocked(waiting.id)
	}
}

// takeOverLocked queues what a pair's end has sent. pieces says whether it may be a piece of a message. mu must be held.
func (w *wire) takeOverLocked(it item, pieces bool) {
	out := outgoing{kind: it.kind, data: it.buf.b, first: it.first, last: it.last, stream: pieces && !(it.first && it.last), ungated: true}
	w.queueLocked(&out, it.buf.b, false)
	it.buf.free()
}
