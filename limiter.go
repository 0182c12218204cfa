package edgews

import "time"

// limiter enforces a RateLimit: two token buckets that hold one second's worth each. Owned by the reader.
type limiter struct {
	messages, bytes bucket
}

func newLimiter(r RateLimit) *limiter {
	if r.Messages <= 0 && r.Bytes <= 0 {
		return nil
	}
	now := time.Now()
	return &limiter{newBucket(r.Messages, now), newBucket(r.Bytes, now)}
}

// allow reports whether so many messages of n bytes together are within the limits: 0 for a piece of one that
// goes on. A nil limiter allows everything.
func (l *limiter) allow(messages, n int) bool {
	if l == nil {
		return true
	}
	now := time.Now()
	return l.messages.take(messages, now) && l.bytes.take(n, now)
}

type bucket struct {
	rate   float64 // tokens per second, and the most that it holds; 0: no limit
	tokens float64
	filled time.Time
}

func newBucket(rate int, now time.Time) bucket {
	return bucket{float64(max(rate, 0)), float64(max(rate, 0)), now}
}

func (b *bucket) take(n int, now time.Time) bool {
	if b.rate == 0 {
		return true
	}
	b.tokens = min(b.rate, b.tokens+now.Sub(b.filled).Seconds()*b.rate)
	b.filled = now
	b.tokens -= float64(n)
	return b.tokens >= 0
}
