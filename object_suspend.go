package edgews

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// SuspendReason says why an object's value is about to be dropped.
type SuspendReason uint8

const (
	SuspendHibernation SuspendReason = iota // NamespaceOptions.HibernateAfter has passed, or Namespace.Hibernate was called
	SuspendEviction                         // NamespaceOptions.PinTimeout has passed
	SuspendShutdown                         // Namespace.Shutdown; the object's sockets have been closed
	SuspendMove                             // the object gets another home in its cluster
)

// String returns "hibernation", "eviction", "shutdown" or "move".
func (r SuspendReason) String() string {
	switch r {
	case SuspendHibernation:
		return "hibernation"
	case SuspendEviction:
		return "eviction"
	case SuspendShutdown:
		return "shutdown"
	case SuspendMove:
		return "move"
	}
	return fmt.Sprintf("SuspendReason(%d)", uint8(r))
}

// errEvicted is why the contexts of WaitUntil end, and sockets that kept the object awake, when PinTimeout has passed.
var errEvicted = errors.New("edgews: object was evicted: it had no event for NamespaceOptions.PinTimeout")

// evictedReason is what the peers of those sockets are told.
const evictedReason = "object was evicted"

// droppedBecause returns the cause with which a suspended value is dropped.
func (r SuspendReason) droppedBecause() error {
	switch r {
	case SuspendEviction:
		return errEvicted
	case SuspendShutdown:
		return ErrShutdown
	case SuspendMove:
		return ErrNotHome
	}
	return errHibernated
}

// unloading is the entry of an object's queue that drops the value, and calls Suspend before if the value has that.
type unloading struct {
	o   *object
	why SuspendReason
}

func (u unloading) dequeuedLocked() {}

func (u unloading) deliverNext() {
	if u.o.mayUnload(u.why) {
		u.o.unload(u.why)
	}
}

// mayUnload reports whether the reason for dropping the value still holds, now that no event runs.
func (o *object) mayUnload(why SuspendReason) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch until, pinned := o.pinDeadlineLocked(); {
	case o.ns.shutdown.currentPhase() == eventsCutOff: // the value is dropped when the queue is empty
		return false
	case why == SuspendShutdown:
		return o.value != nil
	case o.queue.Len() > 0: // an event has come in the last moment
		return false
	case why == SuspendEviction:
		return pinned && !until.After(time.Now())
	default:
		return o.value != nil && !o.isPinnedLocked()
	}
}

// isSuspenderLocked reports whether there is a value that is a Suspender. mu must be held.
func (o *object) isSuspenderLocked() bool { return o.value != nil && o.handlers&handlesSuspend != 0 }

// unload drops the value, after its Suspend. The object's queue runs it, so that no event runs, and those that arrive meanwhile find no
// value and construct another.
func (o *object) unload(why SuspendReason) {
	defer o.dropSuspended(why) // also if Suspend ends the goroutine
	o.mu.Lock()
	st, suspends := o.state, o.isSuspenderLocked()
	o.mu.Unlock()
	if !suspends {
		return
	}
	var failure error
	o.runEventFor(o.ns.eventsContext, st, suspendEvent, &failure, func(e *eventContext, value Object) error {
		err := value.(Suspender).Suspend(e, why)
		if err != nil {
			o.ns.logger().Error("edgews: object's handler failed", "namespace", o.ns.name, "object", o.id.String(),
				"handler", suspendEvent, "reason", why.String(), "error", err)
		}
		return err
	})
}

// dropSuspended drops the value, and ends what would keep the object awake after it: what PinTimeout evicts, or what Suspend has begun.
func (o *object) dropSuspended(why SuspendReason) {
	o.mu.Lock()
	was := o.stateLocked()
	o.eventOverLocked()
	if why == SuspendEviction {
		defer o.ns.logger().Warn("edgews: object evicted, because it has had no event for NamespaceOptions.PinTimeout", "namespace", o.ns.name,
			"object", o.id.String(), "for", o.ns.opts.PinTimeout, "pins", o.pinsLocked())
	}
	o.dropValueLocked(why.droppedBecause())
	o.queue.Shrink()
	pinned := o.evictPinsLocked()
	o.stateChangedLocked(was)
	o.mu.Unlock()
	for _, p := range pinned {
		p.evict(why)
	}
}

// evictPinsLocked has the WaitUntil functions that run not keep the object awake any more. It returns the sockets that do. mu must be held.
func (o *object) evictPinsLocked() (pinned []*pinnedSocket) {
	for f := range o.backgroundFuncs {
		f.evicted = true
	}
	o.evictedFuncs = int32(len(o.backgroundFuncs))
	for _, p := range o.pinned {
		pinned = append(pinned, p)
	}
	if len(pinned) > 0 { // those that end later have as long as they would have after an event
		o.lastEvent = time.Now()
	}
	return pinned
}

// evict ends the socket of an object whose value has been dropped.
func (p *pinnedSocket) evict(why SuspendReason) {
	code, reason := StatusGoingAway, evictedReason
	switch why {
	case SuspendShutdown:
		code, reason = p.o.ns.opts.ShutdownCode, shutdownReason
	case SuspendMove:
		code, reason = StatusServiceRestart, movedReason
	}
	p.s.mu.Lock()
	p.failAndUnlock(code, reason, why.droppedBecause())
}

// isPinnedByValueLocked reports whether the object has what PinTimeout ends. mu must be held.
func (o *object) isPinnedByValueLocked() bool {
	return len(o.backgroundFuncs) > int(o.evictedFuncs) || len(o.pinned) > 0
}

// pinDeadlineLocked returns when PinTimeout evicts the object, unless an event comes first; not ok: never. mu must be held.
func (o *object) pinDeadlineLocked() (until time.Time, ok bool) {
	timeout := o.ns.opts.PinTimeout
	if timeout <= 0 || o.eventRunning || !o.isPinnedByValueLocked() {
		return time.Time{}, false
	}
	since := o.stateSince
	if o.lastEvent.After(since) {
		since = o.lastEvent
	}
	return since.Add(timeout), true
}

// pinnedLocked is called when something has begun to keep the object awake; was is the state before. mu must be held.
func (o *object) pinnedLocked(was ObjectState) {
	o.stateChangedLocked(was)
	if o.queue.Idle() { // otherwise checkIdleLocked will be called
		o.setIdleTimerLocked()
	}
}

// eventOverLocked notes that no event runs any more. mu must be held.
func (o *object) eventOverLocked() {
	if o.eventRunning && o.ns.opts.PinTimeout > 0 {
		o.lastEvent = time.Now()
	}
	o.eventRunning = false
}

const (
	maxSuspending    = 1024 // values that Shutdown suspends at a time
	maxSuspendRounds = 100  // how often it looks whether there are any
)

// suspendAll suspends the values that are left when everything else has finished, and those that their Suspend constructs in other objects.
func (n *Namespace) suspendAll(ctx context.Context) error {
	n.shutdown.enter(suspendingValues)
	for range maxSuspendRounds {
		if err := n.quiesce(ctx); err != nil {
			return err
		}
		left := n.suspenders()
		if len(left) == 0 {
			return nil
		}
		for some := range slices.Chunk(left, maxSuspending) {
			if err := suspend(ctx, some); err != nil {
				return err
			}
		}
	}
	if left := n.suspenders(); len(left) > 0 {
		return fmt.Errorf("edgews: namespace %q was shut down although %d values have not been suspended, such as that of object %s: Suspend of "+
			"other objects has constructed them, for the %dth time", n.name, len(left), left[0].id, maxSuspendRounds)
	}
	return nil
}

// suspenders returns the objects that have a value that is a Suspender.
func (n *Namespace) suspenders() []*object {
	return slices.DeleteFunc(n.allObjects(), func(o *object) bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return !o.isSuspenderLocked()
	})
}

// suspend drops the values of some objects because of Shutdown, and waits until their Suspend has returned.
func suspend(ctx context.Context, objects []*object) error {
	for _, o := range objects {
		o.mu.Lock()
		o.enqueueLocked(queuedEvent{socket: unloading{o, SuspendShutdown}})
		o.mu.Unlock()
	}
	for _, o := range objects {
		if _, err := o.quiesce(ctx); err != nil {
			return err
		}
	}
	return nil
}
