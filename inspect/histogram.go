package inspect

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Buckets of a histogram: four for each power of two, from 256 ns to 137 s. The first is for what is less, the last for what is more.
const (
	firstPower  = 8
	lastPower   = 37
	bucketCount = 4*(lastPower-firstPower) + 2
)

// histogram counts durations. The zero histogram is empty.
type histogram [bucketCount]int64

// atomicHistogram is a histogram that several goroutines may add to.
type atomicHistogram [bucketCount]atomic.Int64

// bucketOf returns the bucket of d.
func bucketOf(d time.Duration) int {
	power := bits.Len64(uint64(max(d, 0))) - 1
	switch {
	case power < firstPower:
		return 0
	case power >= lastPower:
		return bucketCount - 1
	}
	quarter := int(d>>(power-2)) & 3
	return 1 + 4*(power-firstPower) + quarter
}

// bucketEnd returns the end of a bucket, which is the beginning of the next one; of the last one, its beginning.
func bucketEnd(i int) time.Duration {
	i = min(i, bucketCount-2)
	power, quarter := firstPower+i/4, i%4
	return time.Duration(4+quarter) << (power - 2)
}

// bucketMiddle returns what stands for the durations of a bucket.
func bucketMiddle(i int) time.Duration {
	switch i {
	case 0:
		return bucketEnd(0) / 2
	case bucketCount - 1:
		return bucketEnd(i)
	}
	return (bucketEnd(i-1) + bucketEnd(i)) / 2
}

// add counts d.
func (h *atomicHistogram) add(d time.Duration) { h[bucketOf(d)].Add(1) }

// addTo adds h to sum.
func (h *atomicHistogram) addTo(sum *histogram) {
	for i := range h {
		sum[i] += h[i].Load()
	}
}

// less returns h without what earlier has.
func (h *histogram) less(earlier *histogram) (d histogram) {
	for i := range h {
		d[i] = h[i] - earlier[i]
	}
	return d
}

// count returns how many durations h has.
func (h *histogram) count() (n int64) {
	for _, c := range h {
		n += c
	}
	return n
}

// quantile returns the duration that a share q of h does not exceed, or 0 if h is empty.
func (h *histogram) quantile(q float64) time.Duration {
	rank := int64(q * float64(h.count()))
	for i, c := range h {
		if rank -= c; rank < 0 {
			return bucketMiddle(i)
		}
	}
	return h.max()
}

// max returns the end of the highest bucket that is not empty, or 0.
func (h *histogram) max() time.Duration {
	for i := bucketCount - 1; i >= 0; i-- {
		if h[i] > 0 {
			return bucketEnd(i)
		}
	}
	return 0
}

// quantiles describes h.
func (h *histogram) quantiles() Quantiles {
	n := h.count()
	if n == 0 {
		return Quantiles{}
	}
	return Quantiles{Count: n, P50: millis(h.quantile(0.5)), P99: millis(h.quantile(0.99)), Max: millis(h.max())}
}

// millis returns d in milliseconds.
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// unixMillis returns t as a time of the protocol.
func unixMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
