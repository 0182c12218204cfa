//go:build !edgews_noloop

package park

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// timers calls TimerFired for connections on the loop. One time.Timer serves them all: when it fires, sweep scans the table, in which
// each connection has four bytes for the time of its timer. Times are in milliseconds since start.
type timers struct {
	table *table
	start time.Time

	nextSweep atomic.Int64 // when sweepTimer fires; math.MaxInt64: not set

	mu         sync.Mutex
	sweepTimer *time.Timer
}

// minSweepInterval is the shortest time between two sweeps.
const minSweepInterval = 20 * time.Millisecond

func (t *timers) now() int64 { return int64(time.Since(t.start) / time.Millisecond) }

// set makes the timer of c fire after d, or after MaxSpan if that is shorter, unless it fires earlier.
func (t *timers) set(c *Conn, d time.Duration) {
	d = min(d, MaxSpan)
	at := t.now() + int64((d+time.Millisecond-1)/time.Millisecond)
	at = max(at, 1)
	if t.table.setDue(c, dueTime(at)) && at < t.nextSweep.Load() {
		t.schedule(at)
	}
}

// dueTime returns at as the table stores it, where 0 means that no timer is set.
func dueTime(at int64) uint32 { return max(uint32(at), 1) }

// schedule makes sweep run at the given time, unless it runs earlier.
func (t *timers) schedule(at int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at >= t.nextSweep.Load() {
		return
	}
	t.nextSweep.Store(at)
	d := time.Duration(at-t.now()) * time.Millisecond
	if t.sweepTimer == nil {
		t.sweepTimer = time.AfterFunc(d, t.sweep)
	} else {
		t.sweepTimer.Reset(d)
	}
}

// sweep fires the timers that are due and schedules the next sweep. A timer that is set while it runs calls schedule itself.
func (t *timers) sweep() {
	t.mu.Lock()
	t.nextSweep.Store(math.MaxInt64)
	t.mu.Unlock()
	now := t.now()
	soonest := int64(math.MaxInt64)
	for _, ch := range t.table.all() {
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
		t.schedule(max(soonest, now+int64(minSweepInterval/time.Millisecond)))
	}
}

func (t *timers) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sweepTimer != nil {
		t.sweepTimer.Stop()
	}
}
