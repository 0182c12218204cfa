package edgews

import (
	"math"
	"sync"
	"time"
)

// alarms has those of a namespace go off. The store knows when each is due; here is only when the first is, so that a
// hundred thousand alarms cost no more than one. No goroutine is there while none is due.
//
// Alarms are due by the wall clock, which may be set at any time, and timers run by the monotonic clock, which is not. So while an alarm
// is pending, the wall clock is looked at every wallCheck.
type alarms struct {
	n *Namespace

	mu      sync.Mutex       // above the clock's
	wall    func() time.Time // the wall clock
	first   time.Time        // when, by the wall clock, the first alarm is due that is known of; zero: there is none
	at      time.Time        // when, by the monotonic clock, tick is called; zero: it is not
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
	alarmPage   = 256         // how many the store is asked for at a time, besides those that are known
	maxAlarms   = 1024        // that go off at a time: those beyond wait for their turn
	maxLookWait = time.Minute // after the store has failed
	wallCheck   = 5 * time.Second
)

// endOfTime is later than any alarm, and still a time that engines can count in nanoseconds.
var endOfTime = time.Unix(0, math.MaxInt64)

// arm sees to it that an alarm goes off at t, or a moment later.
func (a *alarms) arm(t time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.armLocked(t)
}

// armLocked is arm. mu must be held.
func (a *alarms) armLocked(t time.Time) {
	t = t.Round(0) // without its reading of the monotonic clock
	if a.stopped {
		return
	}
	if a.first.IsZero() || t.Before(a.first) {
		a.first = t
	}
	a.scheduleLocked()
}

// scheduleLocked has tick called when the first alarm is due, and after wallCheck at the latest. mu must be held.
func (a *alarms) scheduleLocked() {
	at := time.Now().Add(min(a.first.Sub(a.wall().Round(0)), wallCheck))
	if !a.at.IsZero() && !at.Before(a.at) {
		return
	}
	a.at = at
	a.n.clock.add(due{at: at})
}

// tick is called when the monotonic clock has reached at.
func (a *alarms) tick(at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped || !a.at.Equal(at) { // or there was an earlier one
		return
	}
	a.at = time.Time{}
	if a.first.After(a.wall()) {
		a.scheduleLocked()
		return
	}
	a.first = time.Time{}
	a.lookLocked()
}

// now is the time by the wall clock.
func (a *alarms) now() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.wall()
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
	found, err := a.n.opts.Store.DueAlarms(a.n.ctx, a.n.name, endOfTime, limit)
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
		if !until.IsZero() && !until.After(a.wall()) {
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
		case d.Time.After(a.wall()):
			a.armLocked(d.Time)
			return false
		case known && !until.IsZero():
			a.armLocked(until)
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
	wait := min(alarmRetry<<min(a.failed, 8), maxLookWait)
	a.failed++
	a.n.logger().Error("edgews: store does not tell which alarms are due", "namespace", a.n.name, "error", err, "again in", wait)
	a.armLocked(a.wall().Add(wait))
}

// see has an alarm go off as a turn of its object.
func (a *alarms) see(id ID) {
	for ok := false; !ok; {
		o := a.n.object(id)
		ok, _ = o.await(a.n.ctx, o.alarmTurn)
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

// rest leaves an alarm alone until then.
func (a *alarms) rest(id ID, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.markLocked(id, until)
	a.armLocked(until)
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
