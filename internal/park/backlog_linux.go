package park

import (
	"sync"
	"sync/atomic"
)

// backlog holds the connections whose turn ended before everything was read that had come, so that others got theirs. Each of
// them still has its turn: it is not given to anyone else until a poller goes on with it. The pollers take one between two looks for
// events, so that a connection that has been silent does not wait for those that are flooded.
type backlog struct {
	count atomic.Int32

	mu    sync.Mutex
	conns []*Conn
	head  int
}

func (b *backlog) empty() bool { return b.count.Load() == 0 }

func (b *backlog) push(c *Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.head > len(b.conns)/2 {
		n := copy(b.conns, b.conns[b.head:])
		clear(b.conns[n:])
		b.conns, b.head = b.conns[:n], 0
	}
	b.conns = append(b.conns, c)
	b.count.Add(1)
}

// pop returns the connection that has waited longest, or nil.
func (b *backlog) pop() *Conn {
	if b.empty() {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.head == len(b.conns) {
		return nil
	}
	c := b.conns[b.head]
	b.conns[b.head] = nil
	b.head++
	b.count.Add(-1)
	return c
}
