package metrics

import (
	"runtime"
	"sync/atomic"
)

// tally counts values by bucket and has two sums of them, of a low and of a high part of each value. It is safe for concurrent use, without a
// lock. A value costs one atomic addition: recent has the count and both sums of a bucket in one word, which is carried to larger counters now
// and then.
type tally struct {
	recent [maxBuckets]atomic.Uint64 // the count in the upper 16 bits, then 24 bits of the high sum and 24 of the low one

	// What has been carried.
	counts    [maxBuckets]atomic.Uint64
	low, high atomic.Uint64

	begun, done atomic.Uint64 // how many times carry has begun, and how many times it is done
}

const (
	maxBuckets = len(latencyBounds) + 1

	partBits  = 24
	partMask  = 1<<partBits - 1
	countUnit = 1 << (2 * partBits)

	// carryAt is the count at which a word is carried. It is so small that a word has room for what others add until that is done: for the
	// values of hundreds of goroutines that are all stopped between their addition and the carry.
	carryAt = 64

	// maxPart is the greatest part that may be packed, and maxPacked the greatest number.
	maxPart   = 1<<14 - 1
	maxPacked = 1<<34 - 1
)

// add counts a value whose parts are packed: two of at most maxPart, or a number of at most maxPacked, the upper bits of which are high.
func (t *tally) add(bucket uint8, packed uint64) {
	if t.recent[bucket].Add(countUnit|packed) >= carryAt*countUnit {
		t.carry(bucket)
	}
}

// addLarge counts a value of any two parts.
func (t *tally) addLarge(bucket uint8, low, high uint64) {
	t.counts[bucket].Add(1)
	t.low.Add(low)
	t.high.Add(high)
}

// carry is not inlined so that add is.
//
//go:noinline
func (t *tally) carry(bucket uint8) {
	t.begun.Add(1)
	word := t.recent[bucket].Swap(0)
	t.counts[bucket].Add(word / countUnit)
	t.high.Add(word >> partBits & partMask)
	t.low.Add(word & partMask)
	t.done.Add(1)
}

// read adds the counts to buckets and returns both sums. It reads again if something has been carried meanwhile, so that counts never go back.
func (t *tally) read(buckets []uint64) (low, high uint64) {
	for {
		var counts [maxBuckets]uint64
		done := t.done.Load()
		low, high = t.low.Load(), t.high.Load()
		for i := range buckets {
			word := t.recent[i].Load()
			counts[i] = t.counts[i].Load() + word/countUnit
			high += word >> partBits & partMask
			low += word & partMask
		}
		if t.begun.Load() == done { // none was under way at the beginning, and none has begun
			for i := range buckets {
				buckets[i] += counts[i]
			}
			return low, high
		}
		runtime.Gosched()
	}
}
