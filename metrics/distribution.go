package metrics

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// Bounds of the buckets, inclusive. A decade has three of them where quantiles matter, so that an estimate is off by a factor of 2.5 at most.
var (
	latencyBounds = [...]time.Duration{
		10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
		time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
		100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
	}
	latenessBounds = [...]time.Duration{
		time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second, time.Minute, 10 * time.Minute, time.Hour,
	}
	lifetimeBounds = [...]time.Duration{
		time.Second, 10 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute, time.Hour, 4 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour,
	}
	sizeBounds = [...]int64{16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20}
)

// scale finds the buckets of values that are not negative. Bounds are a factor of two or more apart, so values whose length in bits is the same
// are in two buckets at most.
type scale struct {
	size     int // how many buckets there are
	byLength [65]struct {
		bucket uint8
		bound  int64 // inclusive, of that bucket
	}
}

func newScale[T ~int64](bounds []T) scale {
	s := scale{size: len(bounds) + 1}
	i := 0
	for length := range s.byLength {
		least := int64(1) << length >> 1
		for i < len(bounds) && int64(bounds[i]) < least {
			i++
		}
		entry := &s.byLength[length]
		entry.bucket, entry.bound = uint8(i), math.MaxInt64
		if i < len(bounds) {
			entry.bound = int64(bounds[i])
		}
	}
	return s
}

// bucketOf returns the index of the bucket of v.
func (s *scale) bucketOf(v int64) uint8 {
	entry := &s.byLength[bits.Len64(uint64(v))]
	if v > entry.bound {
		return entry.bucket + 1
	}
	return entry.bucket
}

var (
	latencyScale  = newScale(latencyBounds[:])
	latenessScale = newScale(latenessBounds[:])
	lifetimeScale = newScale(lifetimeBounds[:])
	sizeScale     = newScale(sizeBounds[:])
)

// Distribution is the value of a histogram.
type Distribution struct {
	Buckets []uint64 // per bucket of Metric.Bounds how many values were in it, not cumulated; one more for those beyond the last bound
	Sum     float64  // in the unit of the metric
}

// Count returns how many values there were.
func (d *Distribution) Count() (n uint64) {
	for _, b := range d.Buckets {
		n += b
	}
	return n
}

// durations is a histogram of durations. It is safe for concurrent use.
type durations struct {
	scale   *scale
	buckets []atomic.Uint64
	nanos   atomic.Int64 // has room for 292 years
}

func newDurations(s *scale) durations {
	return durations{scale: s, buckets: make([]atomic.Uint64, s.size)}
}

func (h *durations) observe(d time.Duration) {
	d = max(d, 0) // a clock that is set back makes no negative durations
	h.buckets[h.scale.bucketOf(int64(d))].Add(1)
	h.nanos.Add(int64(d))
}

func (h *durations) read() *Distribution {
	d := &Distribution{Buckets: make([]uint64, len(h.buckets)), Sum: time.Duration(h.nanos.Load()).Seconds()}
	for i := range h.buckets {
		d.Buckets[i] = h.buckets[i].Load()
	}
	return d
}
