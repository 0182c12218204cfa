package edgews

import (
	"time"

	"github.com/edgews/edgews/internal/park"
)

// monoMillis is a time of the monotonic clock, in milliseconds since the process started, modulo 2^32. A socket stores several
// of them, in 4 bytes each. Two times can be compared if they are at most maxSpan apart. 0 means no time.
type monoMillis uint32

// maxSpan is the longest duration between two times that are compared.
const maxSpan = park.MaxSpan

// nowMillis returns the current time. It is never 0.
func nowMillis() monoMillis { return monoMillis(park.Now()) }

// after returns the time d after t, rounded up to a millisecond. It is never 0. A d of more than maxSpan counts as maxSpan.
func (t monoMillis) after(d time.Duration) monoMillis {
	d = min(d, maxSpan)
	return max(t+monoMillis((d+time.Millisecond-1)/time.Millisecond), 1)
}

// sub returns the duration t-u. It is negative if t is before u.
func (t monoMillis) sub(u monoMillis) time.Duration {
	return time.Duration(int32(t-u)) * time.Millisecond
}
