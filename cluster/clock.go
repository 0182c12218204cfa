package cluster

import "time"

// clock measures the time since it was made with the monotonic clock of the process. The wall clock may jump meanwhile.
type clock struct {
	began time.Time
	rate  float64 // how fast it runs: 1, except in tests
}

func newClock(rate float64) clock { return clock{time.Now(), rate} }

// now returns the time since the clock was made. time.Since uses the monotonic clock.
func (c clock) now() time.Duration {
	elapsed := time.Since(c.began)
	if c.rate != 1 {
		elapsed = time.Duration(float64(elapsed) * c.rate)
	}
	return elapsed
}

// timer returns how long a timer must run until the clock shows at.
func (c clock) timer(at time.Duration) time.Duration {
	left := max(0, at-c.now())
	if c.rate != 1 {
		left = time.Duration(float64(left)/c.rate) + 1 // so that rounding does not make it too short
	}
	return left
}
