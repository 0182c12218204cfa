package main

import (
	"fmt"
	"io"
	"math/bits"
	"strings"
	"sync"
	"time"
)

// A histogram's buckets are as wide as 1/subBuckets of the power of two that they lie in, so a quantile is wrong by 1/64 at most.
const (
	subBits    = 6
	subBuckets = 1 << subBits
)

// histogram counts durations. The zero value is empty. It is safe for concurrent use.
type histogram struct {
	mu       sync.Mutex
	counts   []int64 // by bucketOf
	n        int64
	sum      time.Duration
	min, max time.Duration
}

// record counts d; a negative d counts as 0.
func (h *histogram) record(d time.Duration) {
	d = max(d, 0)
	i := bucketOf(d)
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.counts) <= i {
		h.counts = append(h.counts, 0)
	}
	h.counts[i]++
	if h.n == 0 || d < h.min {
		h.min = d
	}
	h.n++
	h.sum += d
	h.max = max(h.max, d)
}

// bucketOf returns the bucket of d: the nanoseconds below subBuckets have one each, and each power of two above has subBuckets.
func bucketOf(d time.Duration) int {
	n := uint64(d)
	shift := max(bits.Len64(n)-subBits-1, 0)
	return shift*subBuckets + int(n>>shift)
}

// bucketEnd returns the greatest duration in bucket i.
func bucketEnd(i int) time.Duration {
	if i < 2*subBuckets {
		return time.Duration(i)
	}
	shift := i/subBuckets - 1
	return time.Duration((uint64(i-shift*subBuckets)+1)<<shift - 1)
}

// distribution is what a report says about a histogram. Durations are in milliseconds in JSON.
type distribution struct {
	Count int64  `json:"count"`
	Min   millis `json:"min"`
	Mean  millis `json:"mean"`
	P50   millis `json:"p50"`
	P90   millis `json:"p90"`
	P99   millis `json:"p99"`
	P999  millis `json:"p99_9"`
	Max   millis `json:"max"`
}

// millis is a duration that is a number of milliseconds in JSON.
type millis time.Duration

func (m millis) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%.6g", float64(m)/float64(time.Millisecond)), nil
}

func (m millis) String() string { return brief(time.Duration(m)) }

// distribution returns what h has counted; nil if nothing.
func (h *histogram) distribution() *distribution {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n == 0 {
		return nil
	}
	q := func(share float64) millis { return millis(h.quantileLocked(share)) }
	return &distribution{
		Count: h.n, Min: millis(h.min), Mean: millis(h.sum / time.Duration(h.n)),
		P50: q(0.5), P90: q(0.9), P99: q(0.99), P999: q(0.999), Max: millis(h.max),
	}
}

// quantile returns the duration that share of the durations do not exceed; 0 if there are none.
func (h *histogram) quantile(share float64) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.quantileLocked(share)
}

func (h *histogram) quantileLocked(share float64) time.Duration {
	rank, seen := int64(share*float64(h.n)), int64(0)
	for i, n := range h.counts {
		if seen += n; seen > rank || seen == h.n && n > 0 {
			return min(max(bucketEnd(i), h.min), h.max)
		}
	}
	return 0
}

// bar is one row of a drawing: how many durations are at most UpTo, and more than that of the row before.
type bar struct {
	UpTo  millis `json:"up_to"`
	Count int64  `json:"count"`
}

// bars returns the rows from the first to the last that are not empty. Their ends are 1, 2 and 5 times the powers of ten; a bucket belongs to the row
// that its end is in.
func (h *histogram) bars() (rows []bar) {
	h.mu.Lock()
	defer h.mu.Unlock()
	end, step := time.Duration(1000), 0
	current := bar{UpTo: millis(end)}
	flush := func() {
		if current.Count > 0 || len(rows) > 0 {
			rows = append(rows, current)
		}
		end = end * []time.Duration{2, 5, 2}[step] / []time.Duration{1, 2, 1}[step]
		step = (step + 1) % 3
		current = bar{UpTo: millis(end)}
	}
	for i, n := range h.counts {
		for n > 0 && bucketEnd(i) > end {
			flush()
		}
		current.Count += n
	}
	if current.Count > 0 {
		flush()
	}
	return rows
}

// drawWidth is the length of the longest bar, in columns.
const drawWidth = 40

// draw prints the rows as bars.
func draw(w io.Writer, rows []bar) {
	most := int64(1)
	for _, r := range rows {
		most = max(most, r.Count)
	}
	for _, r := range rows {
		length := int((r.Count*drawWidth + most - 1) / most) // a row that is not empty has a bar
		fmt.Fprintf(w, "  <= %-7s %9d  %s\n", r.UpTo, r.Count, strings.Repeat("#", length))
	}
}
