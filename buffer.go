package edgews

import "sync"

// buffer is a byte slice on loan from a pool. A pointer to it travels, so that neither lending nor giving
// back allocates.
type buffer struct{ b []byte }

// bufferSizes are the capacities that are pooled. Larger buffers are left to the garbage collector: they are rare,
// and keeping them would let one large message cost memory for ever.
var bufferSizes = [...]int{512, 4 << 10, 32 << 10, 128 << 10, 512 << 10}

var bufferPools [len(bufferSizes)]sync.Pool

// newBuffer returns an empty buffer with room for at least n bytes.
func newBuffer(n int) *buffer {
	for i, size := range bufferSizes {
		if n <= size {
			if b, _ := bufferPools[i].Get().(*buffer); b != nil {
				return b
			}
			return &buffer{make([]byte, 0, size)}
		}
	}
	return &buffer{make([]byte, 0, n)}
}

// free gives b back. The caller must not use its bytes afterwards. A nil buffer is fine.
func (b *buffer) free() {
	if b == nil {
		return
	}
	poison(b.b)
	for i, size := range bufferSizes {
		if cap(b.b) == size {
			b.b = b.b[:0]
			bufferPools[i].Put(b)
			return
		}
	}
}

// reserve makes room for n more bytes, moving to a larger buffer when needed. Callers ask for no more
// than arrives, or a few times what has, so that memory follows the bytes and not the length that a header claims.
func (b *buffer) reserve(n int) *buffer {
	if cap(b.b)-len(b.b) >= n {
		return b
	}
	larger := newBuffer(max(len(b.b)+n, 2*len(b.b)))
	larger.b = append(larger.b, b.b...)
	b.free()
	return larger
}

// Grow moves p, which b holds, to where there is room for n more bytes (see deflate.Room).
func (b *buffer) Grow(p []byte, n int) []byte {
	larger := newBuffer(len(p) + n)
	b.b, larger.b = append(larger.b, p...), b.b
	larger.free()
	return b.b
}

// copyOf returns a buffer that holds a copy of p.
func copyOf(p []byte) *buffer {
	b := newBuffer(len(p))
	b.b = append(b.b, p...)
	return b
}

// fifo is a queue that reuses its storage.
type fifo[T any] struct {
	items []T
	head  int
}

func (q *fifo[T]) len() int { return len(q.items) - q.head }

func (q *fifo[T]) push(v T) {
	if q.head > len(q.items)/2 && len(q.items) == cap(q.items) { // at a constant cost per item
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, v)
}

// front returns the oldest item; the queue must not be empty.
func (q *fifo[T]) front() *T { return &q.items[q.head] }

// back returns the newest item; the queue must not be empty.
func (q *fifo[T]) back() *T { return &q.items[len(q.items)-1] }

func (q *fifo[T]) pop() T {
	v := q.items[q.head]
	var zero T
	q.items[q.head] = zero
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return v
}

// signal wakes everyone who waits for something to change. The zero value is ready. Its methods need
// the mutex that guards what is waited for.
type signal struct{ ch chan struct{} }

// wait returns a channel that the next broadcast closes.
func (s *signal) wait() <-chan struct{} {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) broadcast() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
