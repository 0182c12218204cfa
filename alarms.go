package edgews

import (
	"math"
	"sync"
	"time"
)

// alarms has those of a namespace go off. The store knows when each is due; here is only when the first is, so that a
// hundred thousand alarms cost no more than one. No goroutine is there while none is due.
//
// Alarms are due by the wall clock, which may be set, and timers run by the monotonic clock, which stands still on some systems
// while the machine is suspended. So while an alarm is set, the timer looks at the wall clock at least every wallCheck.
type alarms struct {
	n *Namespace

	mu      sync.Mutex
	now     func() time.Time // nil: time.Now, which only tests change
	at      time.Time        // when the first alarm is due, by the wall clock; zero: none is known
	retry   time.Time        // when to look anyway, by the monotonic clock; zero: not
	timer   *time.Timer
	wakeAt  time.Time        // when timer fires, by the monotonic clock; zero: it is not set
	busy    map[ID]time.Time // those which the store says are due and which are not to be started; zero: until settled, else: until then
	running int              // goroutines that each see to one
	full    bool             // more are due than may run
	looking bool             // a goroutine asks the store
	again   bool             // … and has to do so once more
	stopped bool
	failed  int    // how often the store could not be asked, in a row
	looked  signal // no goroutine asks any more
}

const (
	alarmPage   = 256             // how many the store is asked for at a time, besides those that are known
	maxAlarms   = 1024            // that go off at a time: those beyond wait for their turn
	maxLookWait = time.Minute     // after the store has failed
	wallCheck   = 5 * time.Second // how late an alarm may be after the wall clock has been set
)

// endOfTime is later than any alarm, and still a time that engines can count in nanoseconds.
var endOfTime = time.Unix(0, math.MaxInt64)

// wall returns the time by the wall clock, with nothing of the monotonic one.
func (a *alarms) wall() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.wallLocked()
}

// wallLocked is wall. mu must be held.
func (a *alarms) wallLocked() time.Time {
	now := time.Now
	if a.now != nil {
		now = a.now
	}
	return now().Round(0)
}

// arm sees to it that an alarm goes off at t by the wall clock, or a moment later.
func (a *alarms) arm(t time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.armLocked(t)
}

// armLocked is arm. mu must be held.
func (a *alarms) armLocked(t time.Time) {
	if t = t.Round(0); a.at.IsZero() || t.Before(a.at) {
		a.at = t
		a.wakeLocked()
	}
}

// retryLocked looks for alarms then, by the monotonic clock, whatever happens to the wall clock. mu must be held.
func (a *alarms) retryLocked(at time.Time) {
	if !at.Equal(endOfTime) && (a.retry.IsZero() || at.Before(a.retry)) {
		a.retry = at
		a.wakeLocked()
	}
}

// wakeLocked sets the timer, unless it fires early enough. mu must be held.
func (a *alarms) wakeLocked() {
	if a.stopped {
		return
	}
	now := time.Now()
	at := a.retry
	if !a.at.IsZero() {
		if next := now.Add(min(a.at.Sub(a.wallLocked()), wallCheck)); at.IsZero() || next.Before(at) {
			at = next
		}
	}
	switch {
	case at.IsZero() || !a.wakeAt.IsZero() && !at.Before(a.wakeAt):
		return
	case a.timer == nil:
		a.timer = time.AfterFunc(at.Sub(now), a.wake)
	default:
		a.timer.Reset(at.Sub(now))
	}
	a.wakeAt = at
}

// wake is called when the timer fires.
func (a *alarms) wake() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wakeAt = time.Time{}
	due := !a.at.IsZero() && !a.at.After(a.wallLocked())
	if due {
		a.at = time.Time{}
	}
	if !a.retry.IsZero() && !a.retry.After(time.Now()) {
		a.retry, due = time.Time{}, true
	}
	if due {
		a.lookLocked()
	}
	a.wakeLocked()
}

// lookLocked has a goroutine look for alarms that are due. mu must be held.
func (a *alarms) lookLocked() {
	switch {
	case a.stopped:
	case a.looking:
		a.again = true
	default:
		a.looking = true
		go a.look()
	}
}

func (a *alarms) look() {
	for a.page() {
	}
}

// page starts the alarms that are due, of those that the store names first. It returns whether to go on with another.
func (a *alarms) page() bool {
	limit := a.limit()
	found, err := a.n.opts.Store.DueAlarms(a.n.eventsContext, a.n.name, endOfTime, limit)
	a.mu.Lock()
	defer a.mu.Unlock()
	more := a.startLocked(found) && len(found) >= limit
	if err != nil {
		a.postponeLocked(err)
		more = false
	} else {
		a.failed = 0
	}
	more = (more || a.again) && !a.stopped
	a.again = false
	if !more {
		a.looking = false
		a.looked.broadcast()
	}
	return more
}

// limit returns how many alarms the store has to be asked for to hear of new ones.
func (a *alarms) limit() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, until := range a.busy {
		if !until.IsZero() && !until.After(time.Now()) {
			delete(a.busy, id)
		}
	}
	return len(a.busy) + alarmPage
}

// startLocked starts those of found that are due. It returns whether those that were not found may be due. mu must be held.
func (a *alarms) startLocked(found []DueAlarm) bool {
	for _, d := range found {
		until, known := a.busy[d.ID]
		switch {
		case a.stopped:
			return false
		case d.Time.After(a.wallLocked()):
			a.armLocked(d.Time)
			return false
		case known && !until.IsZero():
			a.retryLocked(until)
		case known:
		case a.running >= maxAlarms:
			a.full = true
			return false
		default:
			a.markLocked(d.ID, time.Time{})
			a.running++
			go a.see(d.ID)
		}
	}
	return true
}

// postponeLocked looks again later. mu must be held.
func (a *alarms) postponeLocked(err error) {
	if a.stopped {
		return
	}
	wait := min(alarmRetryDelay<<min(a.failed, 8), maxLookWait)
	a.failed++
	a.n.logger().Error("edgews: store does not tell which alarms are due", "namespace", a.n.name, "error", err, "again in", wait)
	a.retryLocked(time.Now().Add(wait))
}

// see has an alarm go off as a turn of its object.
func (a *alarms) see(id ID) {
	for ok := false; !ok; {
		o := a.n.objectFor(id)
		ok, _ = o.runQueued(a.n.eventsContext, o.fireAlarm)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running--
	if a.full && a.running <= maxAlarms/2 {
		a.full = false
		a.lookLocked()
	}
}

// settle says that an alarm has been dealt with, and when the next of its object is due, if there is one. Its object's
// storage is locked meanwhile, so that none is set unnoticed.
func (a *alarms) settle(id ID, next time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.busy, id)
	if !next.IsZero() {
		a.armLocked(next)
	}
}

// rest leaves an alarm alone until then, by the monotonic clock.
func (a *alarms) rest(id ID, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.markLocked(id, until)
	a.retryLocked(until)
}

func (a *alarms) markLocked(id ID, until time.Time) {
	if a.busy == nil {
		a.busy = make(map[ID]time.Time)
	}
	a.busy[id] = until
}

// stop has no more alarms go off.
func (a *alarms) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	if a.timer != nil {
		a.timer.Stop()
	}
}

// stoppedLooking returns a channel that is closed when the store is not asked any more; nil: it is not.
func (a *alarms) stoppedLooking() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.looking {
		return nil
	}
	return a.looked.wait()
}
