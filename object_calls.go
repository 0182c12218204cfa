package edgews

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// call is a turn of an object that a goroutine waits for.
type call struct {
	what    string // for the log
	st      *State // the turn is for its value alone; nil: for whichever is there
	counted bool   // it counts for NamespaceOptions.MaxWaiting
	done    chan struct{}

	// Guarded by the object's mu.
	run          func()
	begun        bool            // the turn has come
	abandoned    bool            // nobody waits any more
	valueDropped <-chan struct{} // closed when the value of st has gone; nil without st
	queuedDuring uint32          // the turn that was running when the call was queued; 0: none
}

const (
	// defaultMaxWaiting is NamespaceOptions.MaxWaiting: requests that wait hold about 8 KiB each, goroutine included.
	defaultMaxWaiting = 4096

	// stallWarning is how long a call waits for one and the same event before the log says so.
	stallWarning = 5 * time.Second
)

// ErrOverloaded: more wait for an object already than NamespaceOptions.MaxWaiting lets.
var ErrOverloaded = errors.New("edgews: object is overloaded")

// errForgotten is for a call to an object that the namespace does not know any more: there may be another.
var errForgotten = errors.New("edgews: object is forgotten")

// await queues run as a turn and waits until it is over. If ctx ends before the turn comes, it never comes. It returns
// false for an object that the namespace has forgotten.
func (o *object) runQueued(ctx context.Context, run func()) (ok bool, err error) {
	err = o.runCall(ctx, &call{run: run})
	if err == errForgotten {
		return false, nil
	}
	return true, err
}

// wait queues c and waits until its turn is over. With an error the turn has not come, and never will: when ctx or the
// namespace ends, or the value for which it is.
func (o *object) runCall(ctx context.Context, c *call) error {
	c.done = make(chan struct{})
	running, err := o.enqueue(c)
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
			return nil
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
		<-c.done
		return nil
	}
}

// enqueue returns whether another turn is running.
func (o *object) enqueue(c *call) (running bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.st != nil {
		if err := o.checkUsableLocked(c.st); err != nil {
			return false, err
		}
		c.valueDropped = c.st.backgroundLocked().valueDropped.wait()
	}
	most := o.ns.opts.MaxWaiting
	switch {
	case o.forgotten:
		return false, errForgotten
	case c.counted && most > 0 && int(o.waitingCalls) >= most:
		return false, fmt.Errorf("%w: %d requests and calls wait for it already, and NamespaceOptions.MaxWaiting is %d", ErrOverloaded, o.waitingCalls, most)
	}
	running = o.running
	if running {
		c.queuedDuring = o.eventsBegun
	}
	o.waitingCalls++
	o.enqueueLocked(queuedEvent{call: c})
	return running, nil
}

// takeLocked is told that the turn of c has come. It returns false if nobody waits for it any more. mu must be held.
func (o *object) beginCallLocked(c *call) bool {
	if c.abandoned {
		o.abandonedCalls--
		return false
	}
	c.begun = true
	o.waitingCalls--
	return true
}

// leave takes c, and all that it refers to, out of the queue. It returns false if its turn has come.
func (o *object) abandon(c *call) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.begun {
		return false
	}
	c.abandoned, c.run = true, nil
	o.waitingCalls--
	o.abandonedCalls++
	if int(o.abandonedCalls) > o.queue.len()/2 { // at a constant cost for each call
		o.removeAbandonedLocked()
	}
	return true
}

// whyLeft returns the error of a call that has left because of err: rather that its value has gone, which cancels contexts.
func (o *object) abandonedError(c *call, err error) error {
	if c.st == nil {
		return err
	}
	return cmp.Or(o.checkUsable(c.st), err)
}

// tidyLocked takes the calls out of the queue that nobody wants any more. mu must be held.
func (o *object) removeAbandonedLocked() {
	wanted := slices.DeleteFunc(o.queue.items[o.queue.head:], func(t queuedEvent) bool { return t.call != nil && t.call.abandoned })
	o.queue = fifo[queuedEvent]{items: slices.Clip(slices.Clone(wanted))}
	o.abandonedCalls = 0
}

// warnOfStall logs that c has been waiting all the time for one event, which may be waiting for c.
func (o *object) warnOfStall(c *call) {
	o.mu.Lock()
	stalled := !c.begun && o.eventRunning && c.queuedDuring == o.eventsBegun && !o.warned
	if stalled {
		o.warned = true
	}
	event, waiting := o.current.handler, o.waitingCalls
	o.mu.Unlock()
	if stalled {
		o.ns.logger().Warn("edgews: object's handler takes long, or waits for what waits for it", "namespace", o.ns.name,
			"object", o.id.String(), "handler", event, "waits", c.what, "for", stallWarning, "waiting", waiting)
	}
}
