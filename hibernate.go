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
type clock struct {
	mu      sync.Mutex // below an object's
	due     dues
	timer   *time.Timer
	timerAt time.Time // when timer fires; zero: it is not set
}

// due is a time at which o is to be looked after, by the monotonic clock, unless it has another by then.
type due struct {
	at time.Time
	o  *object
}

// dues is a heap, the earliest first.
type dues []due

func (d dues) Len() int           { return len(d) }
func (d dues) Less(i, j int) bool { return d[i].at.Before(d[j].at) }
func (d dues) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *dues) Push(x any)        { *d = append(*d, x.(due)) }
func (d *dues) Pop() any {
	last := len(*d) - 1
	x := (*d)[last]
	(*d)[last] = due{}
	*d = (*d)[:last]
	return x
}

func (c *clock) add(d due) {
	c.mu.Lock()
	defer c.mu.Unlock()
	heap.Push(&c.due, d)
	c.armLocked()
}

// armLocked sets the timer to what is due first. mu must be held.
func (c *clock) armLocked() {
	if len(c.due) == 0 || !c.timerAt.IsZero() && !c.due[0].at.Before(c.timerAt) {
		return
	}
	c.timerAt = c.due[0].at
	if c.timer == nil {
		c.timer = time.AfterFunc(time.Until(c.timerAt), c.tick)
	} else {
		c.timer.Reset(time.Until(c.timerAt))
	}
}

// tick looks after everything that is due.
func (c *clock) tick() {
	for {
		d, ok := c.next()
		if !ok {
			return
		}
		d.o.lookAfter(d.at)
	}
}

// next takes what is due, and sets the timer when nothing more is.
func (c *clock) next() (due, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.due) > 0 && !c.due[0].at.After(time.Now()) {
		return heap.Pop(&c.due).(due), true
	}
	if len(c.due) == 0 {
		c.due = nil
	}
	c.timerAt = time.Time{}
	c.armLocked()
	return due{}, false
}

func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due = nil
	if c.timer != nil {
		c.timer.Stop()
	}
}

// restLocked begins to wait for hibernation, or oblivion, if nothing is left to do. was is the state that may have ended.
// mu must be held.
func (o *object) restLocked(was ObjectState) {
	o.turnedLocked(was)
	if o.isQuietLocked() {
		o.quiet.broadcast()
	}
	if o.running || o.queue.len() > 0 || o.pinnedLocked() {
		return
	}
	if o.ns.closing.at() == cutOff { // nobody will look after it
		o.dropLocked()
	}
	if o.value == nil {
		o.releaseLocked()
	}
	o.waitLocked()
}

// waitLocked has the clock look after o when its present state has lasted long enough. mu must be held.
func (o *object) waitLocked() {
	at, ok := o.patienceLocked()
	if !ok || !o.dueAt.IsZero() && !at.Before(o.dueAt) { // then it is looked after early, and waits again
		return
	}
	o.dueAt = at
	o.ns.clock.add(due{at, o})
}

// patienceLocked says until when an object that rests stays as it is; not ok: for as long as nothing happens. mu must
// be held.
func (o *object) patienceLocked() (until time.Time, ok bool) {
	switch {
	case o.value != nil:
		return o.since.Add(o.ns.opts.HibernateAfter), o.ns.opts.HibernateAfter > 0
	case len(o.conns.all) == 0 && !o.fenced && o.session.Load() == nil:
		return o.since.Add(forgetAfter), true
	}
	return time.Time{}, false
}

// lookAfter hibernates or forgets o, if it is time.
func (o *object) lookAfter(at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.dueAt.Equal(at) {
		return
	}
	o.dueAt = time.Time{}
	if o.running || o.queue.len() > 0 || o.pinnedLocked() || o.gone {
		return
	}
	until, ok := o.patienceLocked()
	switch {
	case !ok:
	case until.After(time.Now()):
		o.waitLocked()
	case o.value != nil:
		o.hibernateLocked()
	default:
		o.forgetLocked()
	}
}

// hibernateLocked drops the value of an object that rests. mu must be held.
func (o *object) hibernateLocked() {
	was := o.stateLocked()
	o.dropLocked()
	o.restLocked(was)
}

// dropLocked drops the value, and what the queue has grown to. No event may be running. mu must be held.
func (o *object) dropLocked() {
	o.dropValueLocked(errHibernated)
	o.queue = fifo[task]{o.queue.items[o.queue.head:], 0}
	if o.queue.len() == 0 {
		o.queue.items = nil
	}
}

// errHibernated is why work is cancelled that a value has started which is not in memory any more.
var errHibernated = errors.New("object is not in memory any more")

// forgetLocked takes an object of which nothing is left out of the namespace. mu must be held.
func (o *object) forgetLocked() {
	o.gone = true
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
	o := n.known(id)
	switch {
	case o == nil:
		return n.checkID(id)
	case ctx.Value(eventOf{o}) != nil:
		return ErrReentrant
	}
	var pinned error
	_, err := o.await(ctx, func() { pinned = o.hibernateNow() })
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
	o.busy = false
	if o.pinnedLocked() {
		return fmt.Errorf("%w: it has %s", ErrPinned, strings.Join(o.pinsLocked(), ", "))
	}
	o.dropLocked()
	o.turnedLocked(was)
	return nil
}
