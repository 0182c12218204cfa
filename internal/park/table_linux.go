package park

import (
	"sync"
	"sync/atomic"
)

// table finds connections by what epoll returns: no pointer of ours may be known to the kernel only.
type table struct {
	chunks atomic.Pointer[[]*chunk]

	mu   sync.Mutex
	free []uint32 // indexes
	gen  uint32
}

const chunkSize = 256

// chunk holds the connections of one range of indexes, and when their alarms are due. Those are packed, so that looking for
// alarms touches no connection.
type chunk struct {
	conns [chunkSize]atomic.Pointer[Conn]
	due   [chunkSize]atomic.Uint32
}

func (t *table) all() []*chunk {
	if p := t.chunks.Load(); p != nil {
		return *p
	}
	return nil
}

func (t *table) add(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.free) == 0 {
		t.grow()
	}
	last := len(t.free) - 1
	c.index = t.free[last]
	t.free = t.free[:last]
	t.gen++
	c.gen = t.gen
	t.all()[c.index/chunkSize].conns[c.index%chunkSize].Store(c)
}

// grow adds a chunk. mu must be held.
func (t *table) grow() {
	chunks := append(t.all()[:len(t.all()):len(t.all())], new(chunk))
	t.chunks.Store(&chunks)
	first := uint32(len(chunks)-1) * chunkSize
	for i := range uint32(chunkSize) {
		t.free = append(t.free, first+chunkSize-1-i)
	}
}

func (t *table) remove(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ch := t.all()[c.index/chunkSize]
	ch.conns[c.index%chunkSize].Store(nil)
	ch.due[c.index%chunkSize].Store(0)
	t.free = append(t.free, c.index)
}

// find returns the connection of an event, or nil if it is not there any more.
func (t *table) find(index, gen uint32) *Conn {
	c := t.all()[index/chunkSize].conns[index%chunkSize].Load()
	if c == nil || c.gen != gen {
		return nil
	}
	return c
}

// due returns where the alarm of c is.
func (t *table) due(c *Conn) *atomic.Uint32 {
	return &t.all()[c.index/chunkSize].due[c.index%chunkSize]
}
