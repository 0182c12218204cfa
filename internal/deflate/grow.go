package deflate

import "slices"

// Grower reallocates slices that are full.
type Grower interface {
	// Grow returns p, moved if necessary, with capacity for n more bytes.
	Grow(p []byte, n int) []byte
}

// heapGrower allocates with append.
type heapGrower struct{}

func (heapGrower) Grow(p []byte, n int) []byte { return slices.Grow(p, max(n, minGrowth)) }

// minGrowth is the smallest step, in bytes, by which a slice grows.
const minGrowth = 512
