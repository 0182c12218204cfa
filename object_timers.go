package edgews

import "time"

// An object with nothing to do costs no timer of its own. Namespace.idleTimers has one for all objects that wait to hibernate or to be
// forgotten.

// forgetAfter is how long an object without sockets stays known after it has hibernated, and its settings with it.
const forgetAfter = 70 * time.Second

// checkIdleLocked is called when something has ended that kept the object busy or awake; was is the state before. If nothing is left to do,
// the object begins to wait until it hibernates or is forgotten. mu must be held.
func (o *object) checkIdleLocked(was ObjectState) {
	o.stateChangedLocked(was)
	if o.isQuietLocked() {
		o.quiet.broadcast()
	}
	if !o.queue.Idle() {
		return
	}
	if o.isPinnedLocked() {
		o.setIdleTimerLocked()
		return
	}
	if o.ns.shutdown.currentPhase() == eventsCutOff { // the idle timers have stopped
		o.unloadLocked()
	}
	if o.value == nil {
		o.releaseStorageLocked()
	}
	o.setIdleTimerLocked()
}

// setIdleTimerLocked has idleTimerFired called when the present state has lasted long enough, unless it is called by then anyway. mu must
// be held.
func (o *object) setIdleTimerLocked() {
	at, ok := o.idleDeadlineLocked()
	if !ok || !o.idleTimerAt.IsZero() && !at.Before(o.idleTimerAt) { // the timer that is set fires early, and is then set again
		return
	}
	o.idleTimerAt = at
	o.ns.idleTimers.Add(at, o)
}

// idleDeadlineLocked returns until when an object that has nothing to do stays in its state; not ok: until something happens. mu must be
// held.
func (o *object) idleDeadlineLocked() (until time.Time, ok bool) {
	switch {
	case o.isPinnedLocked():
		return o.pinDeadlineLocked()
	case o.value != nil:
		return o.stateSince.Add(o.ns.opts.HibernateAfter), o.ns.opts.HibernateAfter > 0
	case len(o.registry.all) == 0 && len(o.backgroundFuncs) == 0 && !o.fenced && o.storage.Load() == nil:
		return o.stateSince.Add(forgetAfter), true
	}
	return time.Time{}, false
}

// idleTimerFired hibernates, evicts or forgets o, if it is time. at is the deadline with which the timer was set.
func (o *object) idleTimerFired(at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.idleTimerAt.Equal(at) { // a later call has set an earlier deadline
		return
	}
	o.idleTimerAt = time.Time{}
	if !o.queue.Idle() || o.forgotten {
		return
	}
	until, ok := o.idleDeadlineLocked()
	switch {
	case !ok:
	case until.After(time.Now()):
		o.setIdleTimerLocked()
	case o.isPinnedLocked():
		o.enqueueLocked(queuedEvent{socket: unloading{o, SuspendEviction}})
	case o.isSuspenderLocked():
		o.enqueueLocked(queuedEvent{socket: unloading{o, SuspendHibernation}})
	case o.value != nil:
		o.hibernateLocked()
	default:
		o.forgetLocked()
	}
}

// forgetLocked removes an object of which nothing is left from the namespace. mu must be held.
func (o *object) forgetLocked() {
	o.forgotten = true
	o.counter.objectForgottenLocked()
	n := o.ns
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.objects, o.id)
}
