package edgews

import (
	"context"
	"math"
	"sync"
	"time"
)

// alarmScheduler has the alarms of a namespace go off. The Store knows when each is due; the scheduler remembers only when the first is, so
// that a hundred thousand alarms cost no more than one. A poll asks the Store which alarms are due, and starts them. No goroutine exists
// while none is due.
//
// Alarms are due by the wall clock, which may be set. Timers run by the monotonic clock, which stands still on some systems while the
// machine is suspended. So while an alarm is set, the timer fires at least every wallClockCheck, to look at the wall clock.
type alarmScheduler struct {
	n *Namespace // immutable

	mu         sync.Mutex       // no other mutex is locked under it
	now        func() time.Time // nil: time.Now; only tests change it
	nextDue    time.Time        // when the first alarm is due, by the wall clock; zero: none is known
	pollAt     time.Time        // when to poll in any case, by the monotonic clock; zero: never
	timer      *time.Timer
	timerAt    time.Time        // when timer fires, by the monotonic clock; zero: it is not set
	inProgress map[ID]struct{}  // alarms that are going off: polls skip them
	ignored    map[ID]time.Time // alarms whose storage has failed: polls skip them until then, by the monotonic clock
	goroutines int              // that each run fire
	saturated  bool             // more alarms are due than may go off at a time
	polling    bool             // a goroutine runs poll
	pollAgain  bool             // that goroutine has to poll once more
	stopped    bool
	failures   int    // how many polls in a row have failed
	listings   int    // calls of list that are under way
	pollEnded  signal // poll has returned, or the last call of list
}

const (
	alarmPageSize   = 256             // how many new alarms a poll asks the Store for
	maxFiringAlarms = 1024            // how many go off at a time; the others wait
	maxPollDelay    = time.Minute     // the longest wait after a poll that has failed
	wallClockCheck  = 5 * time.Second // how late an alarm may be after the wall clock has been set
)

// endOfTime is later than any alarm, and still a time that engines can count in nanoseconds.
var endOfTime = time.Unix(0, math.MaxInt64)

// wallNow returns the time by the wall clock, without a reading of the monotonic clock.
func (a *alarmScheduler) wallNow() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.wallNowLocked()
}

// wallNowLocked is wallNow. mu must be held.
func (a *alarmScheduler) wallNowLocked() time.Time {
	now := time.Now
	if a.now != nil { // a test has set the clock
		now = a.now
	}
	return now().Round(0)
}

// schedule notes that an alarm is due at t, by the wall clock.
func (a *alarmScheduler) schedule(t time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.scheduleLocked(t)
}

// scheduleLocked is schedule. mu must be held.
func (a *alarmScheduler) scheduleLocked(t time.Time) {
	if t = t.Round(0); a.nextDue.IsZero() || t.Before(a.nextDue) {
		a.nextDue = t
		a.setTimerLocked()
	}
}

// schedulePollLocked has the Store polled at that time by the monotonic clock, even if the wall clock is set meanwhile. mu must be held.
func (a *alarmScheduler) schedulePollLocked(at time.Time) {
	if !at.Equal(endOfTime) && (a.pollAt.IsZero() || at.Before(a.pollAt)) {
		a.pollAt = at
		a.setTimerLocked()
	}
}

// setTimerLocked sets the timer, unless it fires early enough. mu must be held.
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

// timerFired polls if it is time, and sets the timer again.
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

// pollLocked starts a goroutine that polls, or has the one that polls do so once more. mu must be held.
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

// pollPage asks the Store for the alarms that are due first, and starts those that are. It returns whether to go on with another page.
func (a *alarmScheduler) pollPage() bool {
	size := a.pageSize()
	found, err := a.n.opts.Store.DueAlarms(a.n.eventsContext, a.n.name, endOfTime, size)
	if err != nil {
		a.pollFailed(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	more := a.startDueLocked(found) && len(found) >= size && err == nil
	if err == nil {
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

// pageSize returns how many alarms the Store has to be asked for, so that there are new ones among them.
func (a *alarmScheduler) pageSize() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for id, until := range a.ignored {
		if !until.After(now) {
			delete(a.ignored, id)
		}
	}
	return len(a.inProgress) + len(a.ignored) + alarmPageSize
}

// startDueLocked starts the alarms of found that are due. It returns whether alarms that are not in found may be due as well. mu must be
// held.
func (a *alarmScheduler) startDueLocked(found []DueAlarm) bool {
	for _, d := range found {
		until, ignored := a.ignored[d.ID]
		_, inProgress := a.inProgress[d.ID]
		switch {
		case a.stopped:
			return false
		case d.Time.After(a.wallNowLocked()):
			a.scheduleLocked(d.Time)
			return false
		case ignored:
			a.schedulePollLocked(until)
		case inProgress:
		case a.goroutines >= maxFiringAlarms:
			a.saturated = true
			return false
		default:
			a.startLocked(d.ID)
		}
	}
	return true
}

// startLocked has an alarm go off. mu must be held.
func (a *alarmScheduler) startLocked(id ID) {
	if a.inProgress == nil {
		a.inProgress = make(map[ID]struct{})
	}
	a.inProgress[id] = struct{}{}
	a.goroutines++
	go a.fire(id)
}

// pollFailed schedules the next poll, and logs that the Store has failed with err.
func (a *alarmScheduler) pollFailed(err error) {
	if wait := a.delayPoll(); wait > 0 {
		a.n.logger().Error("edgews: store does not tell which alarms are due", "namespace", a.n.name, "error", err, "again in", wait)
	}
}

// delayPoll schedules the poll after one that has failed. It returns how long that waits; 0: there will be none.
func (a *alarmScheduler) delayPoll() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return 0
	}
	wait := min(alarmRetryDelay<<min(a.failures, 8), maxPollDelay)
	a.failures++
	a.schedulePollLocked(time.Now().Add(wait))
	return wait
}

// fire queues an alarm in its object, and waits until it has been dealt with.
func (a *alarmScheduler) fire(id ID) {
	for ok := false; !ok; {
		o := a.n.objectFor(id)
		ok, _ = o.runQueued(a.n.eventsContext, "Alarm", o.fireAlarm)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.goroutines--
	if a.saturated && a.goroutines <= maxFiringAlarms/2 {
		a.saturated = false
		a.pollLocked()
	}
}

// finished is called when an alarm has been dealt with. next is when the next one of its object is due; zero: none is set. The caller holds
// the write lock of the object's storage, so that no alarm is set unnoticed.
func (a *alarmScheduler) finished(id ID, next time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.inProgress, id)
	delete(a.ignored, id)
	if !next.IsZero() {
		a.scheduleLocked(next)
	}
}

// ignoreUntil leaves an alarm alone until then, by the monotonic clock.
func (a *alarmScheduler) ignoreUntil(id ID, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ignored == nil {
		a.ignored = make(map[ID]time.Time)
	}
	a.ignored[id] = until
	delete(a.inProgress, id)
	a.schedulePollLocked(until)
}

// stop has no more alarms go off. Those that are going off go on.
func (a *alarmScheduler) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	if a.timer != nil {
		a.timer.Stop()
	}
}

// pollDone returns a channel that is closed when a poll, or the calls of list, do not use the Store any more; nil: none does.
func (a *alarmScheduler) pollDone() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.polling && a.listings == 0 {
		return nil
	}
	return a.pollEnded.wait()
}

// list is DueAlarms of the Store until stop, and then ErrShutdown.
func (a *alarmScheduler) list(ctx context.Context, until time.Time, limit int) ([]DueAlarm, error) {
	if !a.beginListing() {
		return nil, ErrShutdown
	}
	defer a.endListing()
	return a.n.opts.Store.DueAlarms(ctx, a.n.name, until, limit)
}

func (a *alarmScheduler) beginListing() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return false
	}
	a.listings++
	return true
}

func (a *alarmScheduler) endListing() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.listings--; a.listings == 0 {
		a.pollEnded.broadcast()
	}
}
