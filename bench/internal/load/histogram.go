package load

import (
	"math/bits"
	"time"
)

// Histogram counts durations in constant memory, accurate to 3 %.
type Histogram struct {
	total  int
	counts [64 * fine]uint32
}

const fine = 32 // steps between one power of two and the next

func (h *Histogram) add(d time.Duration, n int) {
	h.counts[step(uint64(max(d, 0)))] += uint32(n)
	h.total += n
}

// Quantile returns the duration that a share q of all durations does not exceed, or 0 if there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	left := int(q * float64(h.total))
	for i, n := range h.counts {
		if left -= int(n); n > 0 && left <= 0 {
			return time.Duration(upper(i))
		}
	}
	return 0
}

// step returns the index of v: the position of its highest bit, and the next five bits.
func step(v uint64) int {
	if v < fine {
		return int(v)
	}
	shift := bits.Len64(v) - 6
	return (shift+1)*fine + int(v>>shift) - fine
}

// upper returns the smallest value beyond index i.
func upper(i int) uint64 {
	if i < fine {
		return uint64(i)
	}
	shift := i/fine - 1
	return uint64(i%fine+fine+1) << shift
}
