//go:build !edgews_noloop

package park

import (
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
)

// table finds the connection of an event. The kernel returns a descriptor and a generation with each event, not a Go pointer, which
// the garbage collector would not see there. A connection's index follows from the number of its descriptor, which no other connection
// has until the descriptor is closed.
type table struct {
	shift  uint8                    // every 1<<shift-th descriptor is of this loop, see loopOf; immutable
	chunks atomic.Pointer[[]*chunk] // replaced when it grows; a chunk without connections may be nil

	mu  sync.Mutex // held to change the table
	gen uint32     // of the connection added last
}

const chunkSize = 256

// chunk contains the connections of a range of indexes, and when their timers fire. The times are packed, so that a sweep touches
// only the connections whose timers are due.
type chunk struct {
	conns [chunkSize]atomic.Pointer[Conn]
	due   [chunkSize]atomic.Uint32 // see dueTime; 0: not set
}

// index returns the index of the connection with fd.
func (t *table) index(fd int32) uint32 { return uint32(fd) >> t.shift }

// event returns what the kernel needs to report events of c.
func (t *table) event(c *Conn, events uint32) *syscall.EpollEvent {
	return &syscall.EpollEvent{Events: events, Fd: int32(t.index(c.fd)), Pad: int32(c.gen)}
}

func (t *table) all() []*chunk {
	if p := t.chunks.Load(); p != nil {
		return *p
	}
	return nil
}

// add puts c at its index. If there is an earlier connection, it uses TLS and has been shut down: its descriptor was closed
// before its handler calls Close.
func (t *table) add(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gen++
	c.gen = t.gen
	i := t.index(c.fd)
	t.growLocked(int(i / chunkSize))
	ch := t.chunk(i)
	ch.due[i%chunkSize].Store(0)
	ch.conns[i%chunkSize].Store(c)
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
	i := t.index(c.fd)
	ch := t.chunk(i)
	if ch.conns[i%chunkSize].CompareAndSwap(c, nil) {
		ch.due[i%chunkSize].Store(0)
	}
}

// at returns the connection at an index, or nil.
func (t *table) at(i uint32) *Conn {
	if n, all := i/chunkSize, t.all(); int(n) >= len(all) || all[n] == nil {
		return nil
	}
	return t.chunk(i).conns[i%chunkSize].Load()
}

// find returns the connection of an event, or nil if it has been removed.
func (t *table) find(i, gen uint32) *Conn {
	c := t.chunk(i).conns[i%chunkSize].Load()
	if c == nil || c.gen != gen {
		return nil
	}
	return c
}

// chunk returns the chunk of an index that a connection has or has had.
func (t *table) chunk(i uint32) *chunk { return (*t.chunks.Load())[i/chunkSize] }

// setDue sets the time of c's timer. It reports whether it did: an earlier time stays.
func (t *table) setDue(c *Conn, at uint32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.index(c.fd)
	ch := t.chunk(i)
	due := &ch.due[i%chunkSize]
	if old := due.Load(); ch.conns[i%chunkSize].Load() != c || old != 0 && int32(old-at) <= 0 {
		return false
	}
	due.Store(at)
	return true
}
