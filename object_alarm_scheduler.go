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
type alarmScheduler struct {
	n *Namespace

	mu        sync.Mutex
	now       func() time.Time // nil: time.Now, which only tests change
	nextDue   time.Time        // when the first alarm is due, by the wall clock; zero: none is known
	pollAt    time.Time        // when to look anyway, by the monotonic clock; zero: not
	timer     *time.Timer
	timerAt   time.Time        // when timer fires, by the monotonic clock; zero: it is not set
	busy      map[ID]time.Time // those which the store says are due and which are not to be started; zero: until settled, else: until then
	firing    int              // goroutines that each see to one
	saturated bool             // more are due than may run
	polling   bool             // a goroutine asks the store
	pollAgain bool             // … and has to do so once more
	stopped   bool
	failures  int    // how often the store could not be asked, in a row
	pollEnded signal // no goroutine asks any more
}

const (
	alarmPageSize   = 256             // how many the store is asked for at a time, besides those that are known
	maxFiringAlarms = 1024            // that go off at a time: those beyond wait for their turn
	maxPollDelay    = time.Minute     // after the store has failed
	wallClockCheck  = 5 * time.Second // how late an alarm may be after the wall clock has been set
)

// endOfTime is later than any alarm, and still a time that engines can count in nanoseconds.
var endOfTime = time.Unix(0, math.MaxInt64)

// wall returns the time by the wall clock, with nothing of the monotonic one.
func (a *alarmScheduler) wallNow() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.wallNowLocked()
}

// wallLocked is wall. mu must be held.
func (a *alarmScheduler) wallNowLocked() time.Time {
	now := time.Now
	if a.now != nil {
		now = a.now
	}
	return now().Round(0)
}

// arm sees to it that an alarm goes off at t by the wall clock, or a moment later.
func (a *alarmScheduler) schedule(t time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.scheduleLocked(t)
}

// armLocked is arm. mu must be held.
func (a *alarmScheduler) scheduleLocked(t time.Time) {
	if t = t.Round(0); a.nextDue.IsZero() || t.Before(a.nextDue) {
		a.nextDue = t
		a.setTimerLocked()
	}
}

// retryLocked looks for alarms then, by the monotonic clock, whatever happens to the wall clock. mu must be held.
func (a *alarmScheduler) schedulePollLocked(at time.Time) {
	if !at.Equal(endOfTime) && (a.pollAt.IsZero() || at.Before(a.pollAt)) {
		a.pollAt = at
		a.setTimerLocked()
	}
}

// wakeLocked sets the timer, unless it fires early enough. mu must be held.
func (a *alarmScheduler) setTimerLocked() {
	if a.stopped {
		return
	}
	now := time.Now()
	at := a.pollAt
	if !a.nextDue.IsZero() {
		if next := now.Add(min(a.nextDue.Sub(a.wallNowLocked()), wallClockCheck)); at.IsZero() || next.Before(at) {
			at = next
		}
	}
	switch {
	case at.IsZero() || !a.timerAt.IsZero() && !at.Before(a.timerAt):
		return
	case a.timer == nil:
		a.timer = time.AfterFunc(at.Sub(now), a.timerFired)
	default:
		a.timer.Reset(at.Sub(now))
	}
	a.timerAt = at
}

// wake is called when the timer fires.
func (a *alarmScheduler) timerFired() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.timerAt = time.Time{}
	due := !a.nextDue.IsZero() && !a.nextDue.After(a.wallNowLocked())
	if due {
		a.nextDue = time.Time{}
	}
	if !a.pollAt.IsZero() && !a.pollAt.After(time.Now()) {
		a.pollAt, due = time.Time{}, true
	}
	if due {
		a.pollLocked()
	}
	a.setTimerLocked()
}

// lookLocked has a goroutine look for alarms that are due. mu must be held.
func (a *alarmScheduler) pollLocked() {
	switch {
	case a.stopped:
	case a.polling:
		a.pollAgain = true
	default:
		a.polling = true
		go a.poll()
	}
}

func (a *alarmScheduler) poll() {
	for a.pollPage() {
	}
}

// page starts the alarms that are due, of those that the store names first. It returns whether to go on with another.
func (a *alarmScheduler) pollPage() bool {
	limit := a.pageSize()
	found, err := a.n.opts.Store.DueAlarms(a.n.eventsContext, a.n.name, endOfTime, limit)
	a.mu.Lock()
	defer a.mu.Unlock()
	more := a.startDueLocked(found) && len(found) >= limit
	if err != nil {
		a.pollFailedLocked(err)
		more = false
	} else {
		a.failures = 0
	}
	more = (more || a.pollAgain) && !a.stopped
	a.pollAgain = false
	if !more {
		a.polling = false
		a.pollEnded.broadcast()
	}
	return more
}

// limit returns how many alarms the store has to be asked for to hear of new ones.
func (a *alarmScheduler) pageSize() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, until := range a.busy {
		if !until.IsZero() && !until.After(time.Now()) {
			delete(a.busy, id)
		}
	}
	return len(a.busy) + alarmPageSize
}

// startLocked starts those of found that are due. It returns whether those that were not found may be due. mu must be held.
func (a *alarmScheduler) startDueLocked(found []DueAlarm) bool {
	for _, d := range found {
		until, known := a.busy[d.ID]
		switch {
		case a.stopped:
			return false
		case d.Time.After(a.wallNowLocked()):
			a.scheduleLocked(d.Time)
			return false
		case known && !until.IsZero():
			a.schedulePollLocked(until)
		case known:
		case a.firing >= maxFiringAlarms:
			a.saturated = true
			return false
		default:
			a.markLocked(d.ID, time.Time{})
			a.firing++
			go a.fire(d.ID)
		}
	}
	return true
}

// postponeLocked looks again later. mu must be held.
func (a *alarmScheduler) pollFailedLocked(err error) {
	if a.stopped {
		return
	}
	wait := min(alarmRetryDelay<<min(a.failures, 8), maxPollDelay)
	a.failures++
	a.n.logger().Error("edgews: store does not tell which alarms are due", "namespace", a.n.name, "error", err, "again in", wait)
	a.schedulePollLocked(time.Now().Add(wait))
}

// see has an alarm go off as a turn of its object.
func (a *alarmScheduler) fire(id ID) {
	for ok := false; !ok; {
		o := a.n.objectFor(id)
		ok, _ = o.runQueued(a.n.eventsContext, o.fireAlarm)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.firing--
	if a.saturated && a.firing <= maxFiringAlarms/2 {
		a.saturated = false
		a.pollLocked()
	}
}

// settle says that an alarm has been dealt with, and when the next of its object is due, if there is one. Its object's
// storage is locked meanwhile, so that none is set unnoticed.
func (a *alarmScheduler) finished(id ID, next time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.busy, id)
	if !next.IsZero() {
		a.scheduleLocked(next)
	}
}

// rest leaves an alarm alone until then, by the monotonic clock.
func (a *alarmScheduler) ignoreUntil(id ID, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.markLocked(id, until)
	a.schedulePollLocked(until)
}

func (a *alarmScheduler) markLocked(id ID, until time.Time) {
	if a.busy == nil {
		a.busy = make(map[ID]time.Time)
	}
	a.busy[id] = until
}

// stop has no more alarms go off.
func (a *alarmScheduler) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	if a.timer != nil {
		a.timer.Stop()
	}
}

// stoppedLooking returns a channel that is closed when the store is not asked any more; nil: it is not.
func (a *alarmScheduler) pollDone() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.polling {
		return nil
	}
	return a.pollEnded.wait()
}
