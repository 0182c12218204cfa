package edgews

import (
	"context"
	"time"
)

// Ping sends a Ping frame (RFC 6455 §5.5.2), waits for its Pong and returns the round-trip time. Pings overtake
// messages that wait in the queue. The other end of a pair answers once it is accepted.
//
// On a socket that has not been accepted, Ping accepts it, as Receive does. Cancelling ctx returns ctx.Err()
// and leaves the socket usable. If the socket ends first, the error is ErrClosed and tells how the socket ended. Do not call Ping
// from a listener of the same socket: the Pong is read only after the listener has returned.
//
// All pings of the peer are answered. Deviation: of several pings that arrive together, Workers answer only the last. RFC 6455
// §5.5.3 permits both.
func (s *Socket) Ping(ctx context.Context) (rtt time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	one, l, err := s.sendPing()
	if err != nil {
		return 0, err
	}
	l.transmit()
	s.tell()
	select {
	case rtt, ok := <-one.done:
		if !ok {
			return 0, s.ended()
		}
		s.mu.Lock()
		s.waiters.pings.spare = one.done
		s.mu.Unlock()
		return rtt, nil
	case <-ctx.Done():
		s.mu.Lock()
		s.waiters.pings.forget(one.id)
		s.mu.Unlock()
		return 0, ctx.Err()
	}
}

// sendPing queues a Ping frame and returns the link that has to transmit it.
func (s *Socket) sendPing() (ping, link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acceptForPullLocked()
	if err := s.writableLocked(); err != nil {
		return ping{}, nil, err
	}
	one := s.waitersLocked().pings.begin()
	s.link.pingLocked(one.id)
	return one, s.link, nil
}

// pings holds the calls of Ping that wait for a Pong. Guarded by the socket's mu.
type pings struct {
	last    uint64             // the id of the latest ping
	waiting []ping             // in the order of their ids
	spare   chan time.Duration // the channel of an answered ping, for the next one; or nil
}

// ping is one call of Ping.
type ping struct {
	id   uint64
	sent time.Time
	done chan time.Duration // gets the round-trip time, for which it has room; closed if the socket ends first
}

// begin adds a ping.
func (p *pings) begin() ping {
	p.last++
	done := p.spare
	if p.spare = nil; done == nil {
		done = make(chan time.Duration, 1)
	}
	one := ping{p.last, time.Now(), done}
	p.waiting = append(p.waiting, one)
	return one
}

// pongLocked completes ping id and all before it, since a peer may answer only the most recent one (RFC 6455 §5.5.3). The mu of s must be held.
func (p *pings) pongLocked(s *Socket, id uint64) {
	n := 0
	for n < len(p.waiting) && p.waiting[n].id <= id {
		rtt := time.Since(p.waiting[n].sent)
		p.waiting[n].done <- rtt
		s.observePongLocked(rtt)
		n++
	}
	p.waiting = append(p.waiting[:0], p.waiting[n:]...)
}

// abandon fails all pings that wait: the socket has ended.
func (p *pings) abandon() {
	for _, one := range p.waiting {
		close(one.done)
	}
	p.waiting = nil
}

// forget removes a ping whose caller no longer waits.
func (p *pings) forget(id uint64) {
	for i, one := range p.waiting {
		if one.id == id {
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			return
		}
	}
}
