package edgews

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// call is an entry of an object's queue for which a goroutine waits.
type call struct {
	what    string // for the log
	st      *State // the call is for the value of st alone; nil: for any
	counted bool   // it counts for NamespaceOptions.MaxWaiting
	outside bool   // it does not come from an object of a namespace
	leaves  bool   // the goroutine stops waiting when its context ends, although the call may be running
	done    chan struct{}

	from *eventContext // the event that waits for the call; nil: none does
	to   *object

	nextWait, previousWait *call // in the list of from's object. Guarded by its mu

	// Guarded by the object's mu.
	run          func()
	begun        bool            // the object has taken it from the queue
	abandoned    bool            // no goroutine waits for it any more
	refused      bool            // it has not run and never will: the object has another home. Set before done is closed
	valueDropped <-chan struct{} // closed when the value of st has been dropped; nil without st
	queuedDuring uint32          // object.eventsBegun if an event was running when the call was queued; 0: none was
}

const (
	// defaultMaxWaiting is NamespaceOptions.MaxWaiting: requests that wait hold about 8 KiB each, goroutine included.
	defaultMaxWaiting = 4096

	// stallWarning is how long a call waits for one and the same event before the log says so.
	stallWarning = 5 * time.Second
)

// ErrOverloaded: as many requests and calls wait for an object as NamespaceOptions.MaxWaiting allows.
var ErrOverloaded = errors.New("edgews: object is overloaded")

// errForgotten is the error of a call to an object that the namespace has forgotten. There may be another one with its ID.
var errForgotten = errors.New("edgews: object is forgotten")

// runQueued queues run and waits until it has returned. If ctx ends before the object begins with it, it never runs. It returns false for
// an object that the namespace has forgotten. what names it in errors.
func (o *object) runQueued(ctx context.Context, what string, run func()) (ok bool, err error) {
	err = o.runCall(ctx, &call{what: what, run: run})
	if err == errForgotten {
		return false, nil
	}
	return true, err
}

// runCall queues c and waits until it has run. With an error it has not run and never will: because ctx or the namespace has ended, because
// the value that it is for has been dropped, or because it is an event's that would wait for itself. Only if c.leaves, it may be running.
func (o *object) runCall(ctx context.Context, c *call) error {
	c.done, c.from, c.to = make(chan struct{}), eventOf(ctx), o
	if c.from != nil {
		c.addWait()
		defer c.removeWait()
	}
	running, waits, err := o.enqueueCall(c)
	if err == nil && waits && c.from != nil {
		err = c.giveUpInCycle()
	}
	if err != nil {
		return err
	}
	var stalled <-chan time.Time
	if running {
		timer := time.NewTimer(stallWarning)
		defer timer.Stop()
		stalled = timer.C
	}
	for {
		select {
		case <-c.done:
			return o.refusal(c)
		case <-stalled:
			o.warnOfStall(c)
			continue
		case <-ctx.Done():
			err = ctx.Err()
		case <-c.valueDropped:
		case <-o.ns.eventsContext.Done():
			err = ErrShutdown
		}
		if o.abandon(c) {
			return o.abandonedError(c, err)
		}
		if c.leaves && !c.isDone() {
			return err
		}
		<-c.done
		return o.refusal(c)
	}
}

// refusal returns the error of a call that is done: nil if it has run.
func (o *object) refusal(c *call) error {
	if !c.refused {
		return nil
	}
	return o.abandonedError(c, errForgotten)
}

// isDone reports whether c has run.
func (c *call) isDone() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// enqueueCall queues c. It returns whether something else is running, and whether an event of the object waits for a call itself.
func (o *object) enqueueCall(c *call) (running, waits bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.st != nil {
		if err := o.checkUsableLocked(c.st); err != nil {
			return false, false, err
		}
		c.valueDropped = c.st.backgroundLocked().valueDropped.wait()
	}
	most := o.ns.opts.MaxWaiting
	switch {
	case o.forgotten:
		return false, false, errForgotten
	case o.cluster.leaving && c.outside:
		return false, false, ErrNotHome
	case c.outside && o.ns.shutdown.currentPhase() >= suspendingValues: // under mu, so that no value is constructed that suspendAll misses
		return false, false, ErrShutdown
	case c.counted && most > 0 && int(o.waitingCalls) >= most:
		return false, false, fmt.Errorf("%w: %d requests and calls wait for it already, and NamespaceOptions.MaxWaiting is %d", ErrOverloaded, o.waitingCalls, most)
	}
	running = !o.queue.Idle()
	if running {
		c.queuedDuring = o.eventsBegun
	}
	o.waitingCalls++
	o.enqueueLocked(queuedEvent{call: c})
	return running, o.waits != nil, nil
}

// beginCallLocked is called when c has left the queue. It returns false if no goroutine waits for c any more. mu must be held.
func (o *object) beginCallLocked(c *call) bool {
	if c.abandoned {
		o.abandonedCalls--
		return false
	}
	c.begun = true
	o.waitingCalls--
	return true
}

// abandon gives up waiting for c, and frees what it refers to. It returns false if the object has begun with c.
func (o *object) abandon(c *call) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.begun {
		return false
	}
	c.abandoned, c.run = true, nil
	o.waitingCalls--
	o.abandonedCalls++
	if int(o.abandonedCalls) > o.queue.Len()/2 { // so that the cost for each call is constant
		o.removeAbandonedLocked()
	}
	return true
}

// abandonedError returns the error of a call that was abandoned because of err. That its value has been dropped comes first, because it
// cancels contexts.
func (o *object) abandonedError(c *call, err error) error {
	if c.st == nil {
		return err
	}
	return cmp.Or(o.checkUsable(c.st), err)
}

// removeAbandonedLocked removes the calls from the queue for which no goroutine waits any more. mu must be held.
func (o *object) removeAbandonedLocked() {
	o.queue.DeleteFunc(func(e queuedEvent) bool { return e.call != nil && e.call.abandoned })
	o.abandonedCalls = 0
}

// warnOfStall logs that c has been waiting for one and the same event all the time. That event may be waiting for c.
func (o *object) warnOfStall(c *call) {
	o.mu.Lock()
	stalled := !c.begun && o.eventRunning && c.queuedDuring == o.eventsBegun && !o.warned
	if stalled {
		o.warned = true
	}
	handler, waiting := o.current.handler, o.waitingCalls
	o.mu.Unlock()
	if stalled {
		o.ns.logger().Warn("edgews: object's handler takes long, or waits for what waits for it", "namespace", o.ns.name,
			"object", o.id.String(), "handler", handler, "waits", c.what, "for", stallWarning, "waiting", waiting, o.socketAttr())
	}
}
