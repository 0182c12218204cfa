package metrics

import (
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
	bounds  []time.Duration
	buckets []atomic.Uint64
	nanos   atomic.Int64 // has room for 292 years
}

func newDurations(bounds []time.Duration) durations {
	return durations{bounds: bounds, buckets: make([]atomic.Uint64, len(bounds)+1)}
}

func (h *durations) observe(d time.Duration) {
	d = max(d, 0) // a clock that is set back makes no negative durations
	h.buckets[bucketOf(h.bounds, d)].Add(1)
	h.nanos.Add(int64(d))
}

func (h *durations) read() *Distribution {
	d := &Distribution{Buckets: make([]uint64, len(h.buckets))}
	d.add(h.buckets)
	d.Sum = time.Duration(h.nanos.Load()).Seconds()
	return d
}

// add adds what buckets have to those of d.
func (d *Distribution) add(buckets []atomic.Uint64) {
	for i := range buckets {
		d.Buckets[i] += buckets[i].Load()
	}
}

// bucketOf returns the index of the bucket of v. Most values are small, so it looks from below.
func bucketOf[T ~int64](bounds []T, v T) int {
	for i, b := range bounds {
		if v <= b {
			return i
		}
	}
	return len(bounds)
}
