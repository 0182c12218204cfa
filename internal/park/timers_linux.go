package park

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// alarms calls Due on connections. One timer serves them all: it looks through the table, where each connection has four
// bytes for this.
type timers struct {
	table *table
	start time.Time

	nextSweep atomic.Int64 // when the timer fires, in milliseconds since start; math.MaxInt64: not at all

	mu         sync.Mutex
	sweepTimer *time.Timer
}

// coarse is how far apart the timer's calls are at the least.
const minSweepInterval = 20 * time.Millisecond

func (a *timers) now() int64 { return int64(time.Since(a.start) / time.Millisecond) }

// set makes c due after d, unless it is due earlier. Times are kept modulo 2^32 ms, of which half can lie ahead: 24 days.
func (a *timers) set(c *Conn, d time.Duration) {
	d = min(d, 24*24*time.Hour)
	at := a.now() + int64((d+time.Millisecond-1)/time.Millisecond)
	at = max(at, 1)
	if a.table.setDue(c, dueTime(at)) && at < a.nextSweep.Load() {
		a.schedule(at)
	}
}

// stamp is a time as the table has it, where 0 is none.
func dueTime(at int64) uint32 { return max(uint32(at), 1) }

func (a *timers) schedule(at int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at >= a.nextSweep.Load() {
		return
	}
	a.nextSweep.Store(at)
	d := time.Duration(at-a.now()) * time.Millisecond
	if a.sweepTimer == nil {
		a.sweepTimer = time.AfterFunc(d, a.sweep)
	} else {
		a.sweepTimer.Reset(d)
	}
}

// sweep calls those who are due, and finds out when to do so again. What is set meanwhile schedules itself.
func (a *timers) sweep() {
	a.mu.Lock()
	a.nextSweep.Store(math.MaxInt64)
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
				c.h.TimerFired()
			}
		}
	}
	if soonest != math.MaxInt64 {
		a.schedule(max(soonest, now+int64(minSweepInterval/time.Millisecond)))
	}
}

func (a *timers) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sweepTimer != nil {
		a.sweepTimer.Stop()
	}
}
