// Package buf has pooled byte buffers.
//
// In builds with the race detector a freed buffer is overwritten: code that goes on using it after Free delivers bytes that tests
// recognise, or is reported by the race detector.
package buf

import (
	"math/bits"
	"sync"
)

// Buffer is a byte slice that comes from a pool and goes back to it with Free. Code passes a pointer to it, so that Get and Free do
// not allocate. A Buffer has one owner at a time; its methods are not safe for concurrent use.
type Buffer struct {
	// B is the content. Its owner appends to it in place; where there is no room, Reserve, Resize or Grow moves it.
	B []byte

	// WipeOnFree makes Free overwrite B with Wiped, also without the race detector.
	WipeOnFree bool
}

// Wiped is the value of the bytes of a buffer that was freed with WipeOnFree. It never occurs in UTF-8.
const Wiped = 0xDB

// maxPooled is the largest capacity, in bytes, that goes back to a pool. Larger buffers are left to the garbage collector: they are
// rare, and a pool would keep the memory of one large message for as long as it is in use.
const maxPooled = 512 << 10

// pools has one pool for each size class.
var pools [56]sync.Pool

// sizeClass returns the size class of buffers for n bytes, and their capacity: multiples of 16 up to 64, and four sizes in each
// doubling beyond. At most a quarter of a buffer is unused, so the length of a queue's content is close to the memory that it occupies.
func sizeClass(n int) (class, size int) {
	if n <= 64 {
		class = max(n-1, 0) / 16
		return class, (class + 1) * 16
	}
	shift := bits.Len(uint(n-1)) - 3
	steps := (n-1)>>shift + 1 // 5 to 8
	return 4*shift + steps - 17, steps << shift
}

// Get returns an empty buffer with room for at least n bytes.
func Get(n int) *Buffer {
	if n > maxPooled {
		return &Buffer{B: make([]byte, 0, n)}
	}
	class, size := sizeClass(n)
	if b, _ := pools[class].Get().(*Buffer); b != nil {
		return b
	}
	return &Buffer{B: make([]byte, 0, size)}
}

// Copy returns a buffer that holds a copy of p.
func Copy(p []byte) *Buffer {
	b := Get(len(p))
	b.B = append(b.B, p...)
	return b
}

// Free gives b back to its pool. The caller must not use b or its bytes afterwards. Free of a nil Buffer does nothing.
func (b *Buffer) Free() {
	if b == nil {
		return
	}
	if b.WipeOnFree {
		wipe(b.B)
		b.WipeOnFree = false
	}
	Poison(b.B)
	if cap(b.B) > maxPooled {
		return
	}
	if class, size := sizeClass(cap(b.B)); cap(b.B) == size {
		b.B = b.B[:0]
		pools[class].Put(b)
	}
}

// wipe fills p with Wiped.
func wipe(p []byte) {
	if len(p) == 0 {
		return
	}
	p[0] = Wiped
	for n := 1; n < len(p); n *= 2 {
		copy(p[n:], p[:n])
	}
}

// Reserve returns a buffer with the content of b and room for n more bytes: b itself if it has that room; otherwise a larger buffer,
// at least twice as long as the content, and b has been freed. To bound memory by the bytes that a peer has sent, callers reserve what
// has arrived or a small multiple of it, never the length that a frame header announces.
func (b *Buffer) Reserve(n int) *Buffer {
	if cap(b.B)-len(b.B) >= n {
		return b
	}
	return b.Resize(max(len(b.B)+n, 2*len(b.B)))
}

// Resize moves the content of b to a buffer with room for n bytes in all, frees b and returns the other.
func (b *Buffer) Resize(n int) *Buffer {
	other := Get(n)
	other.B = append(other.B, b.B...)
	other.WipeOnFree = b.WipeOnFree
	b.Free()
	return other
}

// Fit moves the content of b to a smaller buffer if it fills less than half of b, and frees b. It returns the buffer that has
// the content.
func (b *Buffer) Fit() *Buffer {
	if n := len(b.B); 2*max(n, 16) < cap(b.B) {
		return b.Resize(n)
	}
	return b
}

// Grow returns p, a slice of b's memory, in memory with room for n more bytes. b holds that memory afterwards; the memory that p had is
// freed. Grow makes a Buffer a [deflate.Room].
//
// [deflate.Room]: https://pkg.go.dev/github.com/edgews/edgews/internal/deflate#Room
func (b *Buffer) Grow(p []byte, n int) []byte {
	larger := Get(len(p) + n)
	b.B, larger.B = append(larger.B, p...), b.B
	larger.Free()
	return b.B
}
