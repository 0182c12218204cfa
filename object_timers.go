package edgews

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// An object with nothing to do costs no timer of its own: the namespace has one, for whatever is due first.

// forgetAfter is how long an object without sockets is remembered after it has hibernated, and its settings with it.
const forgetAfter = 70 * time.Second

// clock knows when which object is to be looked after.
type idleTimers struct {
	mu      sync.Mutex // below an object's
	due     idleTimerHeap
	timer   *time.Timer
	timerAt time.Time // when timer fires; zero: it is not set
}

// due is a time at which o is to be looked after, by the monotonic clock, unless it has another by then.
type idleTimer struct {
	at time.Time
	o  *object
}

// dues is a heap, the earliest first.
type idleTimerHeap []idleTimer

func (d idleTimerHeap) Len() int           { return len(d) }
func (d idleTimerHeap) Less(i, j int) bool { return d[i].at.Before(d[j].at) }
func (d idleTimerHeap) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *idleTimerHeap) Push(x any)        { *d = append(*d, x.(idleTimer)) }
func (d *idleTimerHeap) Pop() any {
	last := len(*d) - 1
	x := (*d)[last]
	(*d)[last] = idleTimer{}
	*d = (*d)[:last]
	return x
}

func (c *idleTimers) add(d idleTimer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	heap.Push(&c.due, d)
	c.armLocked()
}

// armLocked sets the timer to what is due first. mu must be held.
func (c *idleTimers) armLocked() {
	if len(c.due) == 0 || !c.timerAt.IsZero() && !c.due[0].at.Before(c.timerAt) {
		return
	}
	c.timerAt = c.due[0].at
	if c.timer == nil {
		c.timer = time.AfterFunc(time.Until(c.timerAt), c.fire)
	} else {
		c.timer.Reset(time.Until(c.timerAt))
	}
}

// tick looks after everything that is due.
func (c *idleTimers) fire() {
	for {
		d, ok := c.next()
		if !ok {
			return
		}
		d.o.idleTimerFired(d.at)
	}
}

// next takes what is due, and sets the timer when nothing more is.
func (c *idleTimers) next() (idleTimer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.due) > 0 && !c.due[0].at.After(time.Now()) {
		return heap.Pop(&c.due).(idleTimer), true
	}
	if len(c.due) == 0 {
		c.due = nil
	}
	c.timerAt = time.Time{}
	c.armLocked()
	return idleTimer{}, false
}

func (c *idleTimers) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due = nil
	if c.timer != nil {
		c.timer.Stop()
	}
}

// restLocked begins to wait for hibernation, or oblivion, if nothing is left to do. was is the state that may have ended.
// mu must be held.
func (o *object) checkIdleLocked(was ObjectState) {
	o.stateChangedLocked(was)
	if o.running || o.queue.len() > 0 || o.isPinnedLocked() {
		return
	}
	if len(o.registry.all) == 0 {
		o.quiet.broadcast()
	}
	if o.ns.shutdown.currentPhase() == eventsCutOff { // nobody will look after it
		o.unloadLocked()
	}
	if o.value == nil {
		o.releaseStorageLocked()
	}
	o.setIdleTimerLocked()
}

// waitLocked has the clock look after o when its present state has lasted long enough. mu must be held.
func (o *object) setIdleTimerLocked() {
	at, ok := o.idleDeadlineLocked()
	if !ok || !o.idleTimerAt.IsZero() && !at.Before(o.idleTimerAt) { // then it is looked after early, and waits again
		return
	}
	o.idleTimerAt = at
	o.ns.idleTimers.add(idleTimer{at, o})
}

// patienceLocked says until when an object that rests stays as it is; not ok: for as long as nothing happens. mu must
// be held.
func (o *object) idleDeadlineLocked() (until time.Time, ok bool) {
	switch {
	case o.value != nil:
		return o.stateSince.Add(o.ns.opts.HibernateAfter), o.ns.opts.HibernateAfter > 0
	case len(o.registry.all) == 0 && !o.fenced && o.storage.Load() == nil:
		return o.stateSince.Add(forgetAfter), true
	}
	return time.Time{}, false
}

// lookAfter hibernates or forgets o, if it is time.
func (o *object) idleTimerFired(at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.idleTimerAt.Equal(at) {
		return
	}
	o.idleTimerAt = time.Time{}
	if o.running || o.queue.len() > 0 || o.isPinnedLocked() || o.forgotten {
		return
	}
	until, ok := o.idleDeadlineLocked()
	switch {
	case !ok:
	case until.After(time.Now()):
		o.setIdleTimerLocked()
	case o.value != nil:
		o.hibernateLocked()
	default:
		o.forgetLocked()
	}
}

// hibernateLocked drops the value of an object that rests. mu must be held.
func (o *object) hibernateLocked() {
	was := o.stateLocked()
	o.unloadLocked()
	o.checkIdleLocked(was)
}

// dropLocked drops the value, and what the queue has grown to. No event may be running. mu must be held.
func (o *object) unloadLocked() {
	o.dropValueLocked(errHibernated)
	o.queue = fifo[queuedEvent]{o.queue.items[o.queue.head:], 0}
	if o.queue.len() == 0 {
		o.queue.items = nil
	}
}

// errHibernated is why work is cancelled that a value has started which is not in memory any more.
var errHibernated = errors.New("object is not in memory any more")

// forgetLocked takes an object of which nothing is left out of the namespace. mu must be held.
func (o *object) forgetLocked() {
	o.forgotten = true
	o.tab.forgetLocked()
	n := o.ns
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.objects, o.id)
}

// ErrPinned: something keeps the object awake; the message says what.
var ErrPinned = errors.New("edgews: object cannot hibernate now")

// Hibernate drops the value of an object now, as HibernateAfter would do it later: for tests and operators. It waits
// until the events that wait for their turn now are over, or for the end of ctx. What else keeps an object awake makes
// it fail with ErrPinned, and with ErrReentrant it fails in an event of that object. An ID of another namespace is
// ErrInvalidID. An object that is not awake is left as it is.
func (n *Namespace) Hibernate(ctx context.Context, id ID) error {
	o := n.lookup(id)
	switch {
	case o == nil:
		return n.checkID(id)
	case ctx.Value(eventContextKey{o}) != nil:
		return ErrReentrant
	}
	var pinned error
	_, err := o.runQueued(ctx, func() { pinned = o.hibernateNow() })
	if err != nil {
		return err
	}
	return pinned
}

// hibernateNow hibernates, as a turn, unless something is in the way.
func (o *object) hibernateNow() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	was := o.stateLocked()
	o.eventRunning = false
	if o.isPinnedLocked() {
		return fmt.Errorf("%w: it has %s", ErrPinned, strings.Join(o.pinsLocked(), ", "))
	}
	o.unloadLocked()
	o.stateChangedLocked(was)
	return nil
}
