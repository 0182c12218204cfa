//go:build !edgews_noloop

package park

import (
	"slices"
	"sync"
	"sync/atomic"
)

// table finds the connection of an event. The kernel returns a descriptor and a generation with each event, not a Go pointer, which
// the garbage collector would not see there. A connection's index is the number of its descriptor, which no other connection has
// until the descriptor is closed.
type table struct {
	chunks atomic.Pointer[[]*chunk] // replaced when it grows; a chunk without connections may be nil

	mu  sync.Mutex // held to change the table
	gen uint32     // of the connection added last
}

const chunkSize = 256

// chunk contains the connections of a range of descriptors, and when their timers fire. The times are packed, so that a sweep touches
// only the connections whose timers are due.
type chunk struct {
	conns [chunkSize]atomic.Pointer[Conn]
	due   [chunkSize]atomic.Uint32 // see dueTime; 0: not set
}

func (t *table) all() []*chunk {
	if p := t.chunks.Load(); p != nil {
		return *p
	}
	return nil
}

// add puts c at the index c.fd. If there is an earlier connection, it uses TLS and has been shut down: its descriptor was closed
// before its handler calls Close.
func (t *table) add(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gen++
	c.gen = t.gen
	t.growLocked(int(c.fd) / chunkSize)
	ch := t.chunk(c.fd)
	ch.due[c.fd%chunkSize].Store(0)
	ch.conns[c.fd%chunkSize].Store(c)
}

// growLocked makes chunk n, unless it exists. mu must be held.
func (t *table) growLocked(n int) {
	chunks := t.all()
	if n < len(chunks) && chunks[n] != nil {
		return
	}
	chunks = slices.Clone(chunks) // others read it
	for len(chunks) <= n {
		chunks = append(chunks, nil)
	}
	chunks[n] = new(chunk)
	t.chunks.Store(&chunks)
}

// remove removes c, unless another connection has taken its index.
func (t *table) remove(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ch := t.chunk(c.fd)
	if ch.conns[c.fd%chunkSize].CompareAndSwap(c, nil) {
		ch.due[c.fd%chunkSize].Store(0)
	}
}

// at returns the connection that has fd, or nil.
func (t *table) at(fd int32) *Conn {
	if n := fd / chunkSize; fd < 0 || int(n) >= len(t.all()) || t.all()[n] == nil {
		return nil
	}
	return t.chunk(fd).conns[fd%chunkSize].Load()
}

// find returns the connection of an event, or nil if it has been removed.
func (t *table) find(fd int32, gen uint32) *Conn {
	c := t.chunk(fd).conns[uint32(fd)%chunkSize].Load()
	if c == nil || c.gen != gen {
		return nil
	}
	return c
}

func (t *table) chunk(fd int32) *chunk { return t.all()[uint32(fd)/chunkSize] }

// setDue sets the time of c's timer. It reports whether it did: an earlier time stays.
func (t *table) setDue(c *Conn, at uint32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	ch := t.chunk(c.fd)
	due := &ch.due[c.fd%chunkSize]
	if old := due.Load(); ch.conns[c.fd%chunkSize].Load() != c || old != 0 && int32(old-at) <= 0 {
		return false
	}
	due.Store(at)
	return true
}
