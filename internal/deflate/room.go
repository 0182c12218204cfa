package deflate

import "slices"

// Room is where a slice goes that is full.
type Room interface {
	// Grow returns p, moved if need be, with room for n more bytes.
	Grow(p []byte, n int) []byte
}

// heap is all the room there is.
type heap struct{}

func (heap) Grow(p []byte, n int) []byte { return slices.Grow(p, max(n, minRoom)) }

// minRoom is the least, in bytes, that a slice grows by.
const minRoom = 512
