// Package ratelimit bounds the messages and the bytes that arrive in a second.
package ratelimit

import "time"

// Limiter is two token buckets, one for messages and one for bytes. Each holds the tokens of one second, so a burst of that size
// passes. Its methods are not safe for concurrent use.
type Limiter struct {
	messages, bytes bucket
}

// New returns a Limiter with full buckets. A rate of 0 or less is no limit. Without any limit New returns nil, which allows everything.
func New(messagesPerSecond, bytesPerSecond int) *Limiter {
	if messagesPerSecond <= 0 && bytesPerSecond <= 0 {
		return nil
	}
	now := time.Now()
	return &Limiter{newBucket(messagesPerSecond, now), newBucket(bytesPerSecond, now)}
}

// Allow takes tokens for the number of messages and for the n bytes that they have together, and reports whether they are within both
// limits. For a piece of a message that was counted before, messages is 0. What exceeds a limit is taken too: the caller is expected to
// close the connection. Allow of a nil Limiter is true.
func (l *Limiter) Allow(messages, n int) bool {
	if l == nil {
		return true
	}
	now := time.Now()
	return l.messages.take(messages, now) && l.bytes.take(n, now)
}

type bucket struct {
	rate   float64 // tokens per second, and the most that the bucket holds; 0: no limit
	tokens float64
	filled time.Time // when tokens was computed
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
