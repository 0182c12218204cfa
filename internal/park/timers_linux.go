package park

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// alarms calls Due on connections. One timer serves them all: it looks through the table, where each connection has four
// bytes for this.
type alarms struct {
	table *table
	start time.Time

	next atomic.Int64 // when the timer fires, in milliseconds since start; math.MaxInt64: not at all

	mu    sync.Mutex
	timer *time.Timer
}

// coarse is how far apart the timer's calls are at the least.
const coarse = 20 * time.Millisecond

func (a *alarms) now() int64 { return int64(time.Since(a.start) / time.Millisecond) }

// set makes c due after d, unless it is due earlier. Times are kept modulo 2^32 ms, of which half can lie ahead: 24 days.
func (a *alarms) set(c *Conn, d time.Duration) {
	d = min(d, 24*24*time.Hour)
	at := a.now() + int64((d+time.Millisecond-1)/time.Millisecond)
	at = max(at, 1)
	if a.table.setDue(c, stamp(at)) && at < a.next.Load() {
		a.schedule(at)
	}
}

// stamp is a time as the table has it, where 0 is none.
func stamp(at int64) uint32 { return max(uint32(at), 1) }

func (a *alarms) schedule(at int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at >= a.next.Load() {
		return
	}
	a.next.Store(at)
	d := time.Duration(at-a.now()) * time.Millisecond
	if a.timer == nil {
		a.timer = time.AfterFunc(d, a.sweep)
	} else {
		a.timer.Reset(d)
	}
}

// sweep calls those who are due, and finds out when to do so again. What is set meanwhile schedules itself.
func (a *alarms) sweep() {
	a.mu.Lock()
	a.next.Store(math.MaxInt64)
	a.mu.Unlock()
	now := a.now()
	soonest := int64(math.MaxInt64)
	for _, ch := range a.table.all() {
		if ch == nil {
			continue
		}
		for i := range ch.due {
			at := ch.due[i].Load()
			if at == 0 {
				continue
			}
			left := int64(int32(at - uint32(now)))
			if left > 0 {
				soonest = min(soonest, now+left)
				continue
			}
			c := ch.conns[i].Load()
			if c != nil && ch.due[i].CompareAndSwap(at, 0) {
				c.h.Due()
			}
		}
	}
	if soonest != math.MaxInt64 {
		a.schedule(max(soonest, now+int64(coarse/time.Millisecond)))
	}
}

func (a *alarms) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
	}
}
