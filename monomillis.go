package edgews

import (
	"time"

	"github.com/edgews/edgews/internal/park"
)

// monoMillis is a moment of the monotonic clock in milliseconds since the process started, modulo 2^32. Sockets store several
// of them, in 4 bytes each. Two that are at most maxSpan apart can be compared. 0 means none.
type monoMillis uint32

// maxSpan is the longest duration between two moments that are compared.
const maxSpan = park.MaxSpan

// nowMillis returns the present moment. It is never 0.
func nowMillis() monoMillis { return monoMillis(park.Now()) }

// after returns the first moment that is not earlier than d after t. It is never 0. A d of more than maxSpan counts as maxSpan.
func (t monoMillis) after(d time.Duration) monoMillis {
	d = min(d, maxSpan)
	return max(t+monoMillis((d+time.Millisecond-1)/time.Millisecond), 1)
}

// sub returns the duration t-u. It is negative if t is before u.
func (t monoMillis) sub(u monoMillis) time.Duration {
	return time.Duration(int32(t-u)) * time.Millisecond
}
