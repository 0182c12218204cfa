//go:build !edgews_noloop

package park

import (
	"sync"
	"syscall"
)

// Batch collects writes of many connections, so that they leave in one system call where the kernel allows that (uring_linux.go), and
// otherwise in one each. A message to a thousand sockets is a thousand writes, and the way into the kernel and back is a large part of a small
// one.
//
// A Batch is used by one goroutine, which ends it with Close. It may be nil, and then takes nothing.
type Batch struct {
	count   int // of the writes below
	written int // how many of them the kernel has been given in a ring
	told    int // how many of them have been reported to Wrote
	writes  [batchLimit]batchedWrite
	results [batchLimit]int32 // of the writes that have been given to the kernel: bytes, or an error number below 0
}

type batchedWrite struct {
	conn *Conn
	w    BatchWriter
	p    []byte // the kernel reads it during Write, and this keeps it alive
}

const (
	// batchLimit is the number of writes after which a Batch must be written. It bounds how long the first message waits for the last one, and
	// what the batch holds: a goroutine is in the kernel for about half a millisecond for so many.
	batchLimit = 256
	// batchedSize is the size of the largest write in a Batch, in bytes. What a larger one saves is little beside what it costs.
	batchedSize = 4 << 10
	// ringFrom is the number of writes from which a ring is worth its system call.
	ringFrom = 4
)

var batches = sync.Pool{New: func() any { return new(Batch) }}

// NewBatch returns an empty Batch. Where there is no event loop, whose connections alone can use one, it returns nil.
func NewBatch() *Batch { return batches.Get().(*Batch) }

// MakeRoom calls Write if the batch is full. Like Write, it must be called without locks that Wrote needs.
func (b *Batch) MakeRoom() {
	if b != nil && b.count == batchLimit {
		b.Write()
	}
}

// Add takes a write of p to c, unless it returns false: the batch is nil or full, p is large, or c is not on the loop. Until w.Wrote is called, no
// other goroutine may write to c, and p must not change.
func (b *Batch) Add(c *Conn, w BatchWriter, p []byte) bool {
	if b == nil || b.count == batchLimit || len(p) > batchedSize || c.offLoop.Load() != nil || !c.acquireFD() {
		return false
	}
	b.writes[b.count] = batchedWrite{c, w, p}
	b.count++
	return true
}

// Write writes what the batch has taken, and calls Wrote for each.
func (b *Batch) Write() {
	if b == nil || b.count == 0 {
		return
	}
	if b.told == 0 && b.count >= ringFrom {
		b.written = b.writeRing()
	}
	for now := Now(); b.told < b.count; {
		i := b.told
		b.told++ // before Wrote, which may panic: Close then goes on with the next
		b.finish(i, now)
	}
	clear(b.writes[:b.count])
	b.count, b.written, b.told = 0, 0, 0
}

// finish tells the result of write i. One that no ring has taken is written first.
func (b *Batch) finish(i int, now uint32) {
	w := &b.writes[i]
	n, errno := int(b.results[i]), syscall.Errno(0)
	switch {
	case i >= b.written:
		n, errno = writeSocket(int(w.conn.fd), w.p)
	case n < 0:
		n, errno = 0, syscall.Errno(-n)
	}
	err := error(nil)
	if n != len(w.p) || errno != 0 {
		n, err = w.conn.loopContinueWrite(w.p, n, errno)
	}
	w.conn.releaseFD()
	w.w.Wrote(n, err, now)
}

// Close is Write, and the end of the batch. Deferred, it also reports the writes that are left when Wrote, or the code between, has panicked.
func (b *Batch) Close() {
	if b == nil {
		return
	}
	b.Write()
	batches.Put(b)
}
