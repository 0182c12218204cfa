package load

import (
	"testing"
	"time"
)

func TestHistogramIsWithinThreePercent(t *testing.T) {
	for _, d := range []time.Duration{1, 31, 32, 33, 1000, 4_200, 1_000_000, time.Minute} {
		var h Histogram
		h.add(d, 1)
		if got := h.Quantile(0.5); got < d || float64(got) > 1.035*float64(d)+1 {
			t.Errorf("%d comes out as %d", d, got)
		}
	}
}

func TestHistogramQuantiles(t *testing.T) {
	var h Histogram
	for d := range time.Duration(100) {
		h.add(d*time.Microsecond, 1)
	}
	for q, want := range map[float64]time.Duration{0.5: 50 * time.Microsecond, 0.99: 99 * time.Microsecond} {
		if got := h.Quantile(q); got < want*95/100 || got > want*105/100 {
			t.Errorf("quantile %v is %v, not about %v", q, got, want)
		}
	}
}
