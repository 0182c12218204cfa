package edgews

import (
	"math/bits"
	"sync"
)

// buffer is a byte slice on loan from a pool. A pointer to it travels, so that neither lending nor giving
// back allocates.
type buffer struct {
	b     []byte
	spoil bool // its bytes are overwritten when it is given back
}

// maxPooled is the largest buffer that is pooled. Larger ones are left to the garbage collector: they are rare,
// and keeping them would let one large message cost memory for ever.
const maxPooled = 512 << 10

// sizeClass returns the number and the size of the pooled buffers for n bytes. The sizes are multiples of 16 up to 64, and four
// for each doubling beyond: at most a quarter of a buffer is not used, and what a queue counts is what it holds.
func sizeClass(n int) (class, size int) {
	if n <= 64 {
		class = max(n-1, 0) / 16
		return class, (class + 1) * 16
	}
	shift := bits.Len(uint(n-1)) - 3
	steps := (n-1)>>shift + 1 // 5 to 8
	return 4*shift + steps - 17, steps << shift
}

// bufferPools are by class.
var bufferPools [56]sync.Pool

// newBuffer returns an empty buffer with room for at least n bytes.
func newBuffer(n int) *buffer {
	if n > maxPooled {
		return &buffer{b: make([]byte, 0, n)}
	}
	class, size := sizeClass(n)
	if b, _ := bufferPools[class].Get().(*buffer); b != nil {
		return b
	}
	return &buffer{b: make([]byte, 0, size)}
}

// free gives b back. The caller must not use its bytes afterwards. A nil buffer is fine.
func (b *buffer) free() {
	if b == nil {
		return
	}
	if b.spoil {
		overwrite(b.b)
		b.spoil = false
	}
	poison(b.b)
	if cap(b.b) > maxPooled {
		return
	}
	if class, size := sizeClass(cap(b.b)); cap(b.b) == size {
		b.b = b.b[:0]
		bufferPools[class].Put(b)
	}
}

// spoiled is what the bytes of a message become that a pair has taken back. It is not UTF-8.
const spoiled = 0xDB

func overwrite(p []byte) {
	if len(p) == 0 {
		return
	}
	p[0] = spoiled
	for n := 1; n < len(p); n *= 2 {
		copy(p[n:], p[:n])
	}
}

// reserve makes room for n more bytes, moving to a larger buffer when needed. Callers ask for no more
// than arrives, or a few times what has, so that memory follows the bytes and not the length that a header claims.
func (b *buffer) reserve(n int) *buffer {
	if cap(b.b)-len(b.b) >= n {
		return b
	}
	return b.resize(max(len(b.b)+n, 2*len(b.b)))
}

// resize moves what b holds to a buffer for n bytes, and gives b back.
func (b *buffer) resize(n int) *buffer {
	other := newBuffer(n)
	other.b = append(other.b, b.b...)
	other.spoil = b.spoil
	b.free()
	return other
}

// fit moves what b holds to a smaller buffer, if it fills less than half of this one.
func (b *buffer) fit() *buffer {
	if n := len(b.b); 2*max(n, 16) < cap(b.b) {
		return b.resize(n)
	}
	return b
}

// Grow moves p, which b holds, to where there is room for n more bytes (see deflate.Grower).
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
		if cap(q.items) > fifoKeeps {
			q.items = nil
		}
	}
	return v
}

// fifoKeeps is the largest storage that an empty queue keeps, in items: one burst must not cost memory for ever.
const fifoKeeps = 256

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
