package edgews

import (
	"context"
	"time"
)

// Ping sends a Ping frame and waits for its Pong: RFC 6455 §5.5.2. It returns the round-trip time. Pings overtake
// messages that wait in the queue. The other end of a pair answers once it is accepted.
//
// The first call on a socket that is not accepted accepts it, as Receive does. Cancelling ctx returns ctx.Err()
// and leaves the socket usable. Do not call Ping from a listener of the same socket: the Pong is behind the
// event that is being delivered.
//
// The peer's pings are answered as they come. Deviation: of several that arrive together Workers answer only the last, which RFC 6455
// §5.5.3 permits as well.
func (s *Socket) Ping(ctx context.Context) (rtt time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	one, l, err := s.sendPing()
	if err != nil {
		return 0, err
	}
	l.transmit()
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

func (s *Socket) sendPing() (ping, link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acceptForPullLocked()
	if err := s.writableLocked(); err != nil {
		return ping{}, nil, err
	}
	one := s.waitsLocked().pings.begin()
	s.link.pingLocked(one.id)
	return one, s.link, nil
}

// pings are those that wait for their pong. Guarded by the socket's mu.
type pings struct {
	last    uint64
	waiting []ping
	spare   chan time.Duration // of one that has been answered; or nil
}

type ping struct {
	id   uint64
	sent time.Time
	done chan time.Duration // has room for the answer; closed when there will be none
}

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

// pong answers ping id and all before it: RFC 6455 §5.5.3 lets a peer answer only the most recent one.
func (p *pings) pong(id uint64) {
	n := 0
	for n < len(p.waiting) && p.waiting[n].id <= id {
		p.waiting[n].done <- time.Since(p.waiting[n].sent)
		n++
	}
	p.waiting = append(p.waiting[:0], p.waiting[n:]...)
}

func (p *pings) abandon() {
	for _, one := range p.waiting {
		close(one.done)
	}
	p.waiting = nil
}

// forget takes a ping out whose caller no longer waits.
func (p *pings) forget(id uint64) {
	for i, one := range p.waiting {
		if one.id == id {
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			return
		}
	}
}
