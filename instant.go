package edgews

import (
	"time"

	"github.com/edgews/edgews/internal/park"
)

// instant is a moment in milliseconds since the process started, modulo 2^32, so that what every socket has of them is small. Those
// less than 24 days apart can be compared. 0 is none.
type instant uint32

// farthest is how far apart they are at the most.
const farthest = 24 * 24 * time.Hour

func now() instant { return instant(park.Now()) }

// after returns the first instant that is not earlier than d after t.
func (t instant) after(d time.Duration) instant {
	d = min(d, farthest)
	return max(t+instant((d+time.Millisecond-1)/time.Millisecond), 1)
}

// sub returns how long t is after u, which is negative if it is before it.
func (t instant) sub(u instant) time.Duration { return time.Duration(int32(t-u)) * time.Millisecond }
