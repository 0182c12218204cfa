//go:build !edgews_noloop

package park

import (
	"sync"
	"sync/atomic"
)

// backlog is a queue of connections that have used up the budget of a turn, or have yielded it, and have more to do. Each of them still has its turn,
// which the poller that pops it continues. A poller pops one connection each time it has fetched and handled events, so a connection
// on which little arrives does not wait for those on which much does.
type backlog struct {
	count atomic.Int32

	mu    sync.Mutex
	conns []*Conn // from head on
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
