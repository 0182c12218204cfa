package park

import (
	"slices"
	"sync"
	"sync/atomic"
)

// table finds connections by what epoll returns: no pointer of ours may be known to the kernel only. A connection's place is the number
// of its descriptor, which nobody else has until that is closed.
type table struct {
	chunks atomic.Pointer[[]*chunk] // nil where there are no connections yet

	mu  sync.Mutex
	gen uint32
}

const chunkSize = 256

// chunk holds the connections of one range of descriptors, and when their alarms are due. Those are packed, so that looking for
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

// add gives c the place of c.fd. Whoever had it has been cut.
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

// grow makes chunk n. mu must be held.
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

// remove frees the place of c, if it still has one.
func (t *table) remove(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ch := t.chunk(c.fd)
	if ch.conns[c.fd%chunkSize].CompareAndSwap(c, nil) {
		ch.due[c.fd%chunkSize].Store(0)
	}
}

// at returns the connection that has fd now, or nil.
func (t *table) at(fd int32) *Conn {
	if n := fd / chunkSize; fd < 0 || int(n) >= len(t.all()) || t.all()[n] == nil {
		return nil
	}
	return t.chunk(fd).conns[fd%chunkSize].Load()
}

// find returns the connection of an event, or nil if it is not there any more.
func (t *table) find(fd int32, gen uint32) *Conn {
	c := t.chunk(fd).conns[fd%chunkSize].Load()
	if c == nil || c.gen != gen {
		return nil
	}
	return c
}

func (t *table) chunk(fd int32) *chunk { return t.all()[fd/chunkSize] }

// setDue notes when the alarm of c goes off. It reports whether that is new: an alarm that goes off earlier stays.
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
