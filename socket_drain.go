package edgews

import (
	"slices"
	"time"
)

// OnDrain adds a listener that is called when BufferedAmount has fallen to low bytes or below after having been above: a producer
// that has stopped because of BufferedAmount, or because Send has returned ErrBufferFull, can go on. It says nothing of an amount that is
// low already; look at BufferedAmount after adding fn. A negative low means 0, and a nil fn adds none.
//
// fn is called once for each fall; falls that come while a call is due lead to one call. With low at 0 that may be each single message of a
// peer that keeps up. Several listeners, with the same or different low, are called one after another, in the order in which they were
// added. remove removes the listener; it may be called any number of times, from any goroutine. It does not wait for a call that runs.
//
// The calls do not wait for other listeners: they come from a goroutine of their own, so that a message listener that blocks does not delay
// them, and may run at the same time as one. On a socket that belongs to an object they are events of the object, like all others. For a
// socket that the object has accepted with State.AcceptWebSocket the listener belongs to the object's value, and goes with it:
// hibernation is not prevented, and the next value may add its own. Like other listeners, fn must not panic: the socket fails with 1011.
//
// Between Close and the close event, what is queued still leaves, and fn may be called. After the close event it is not, unless the socket
// is half open. What is dropped because the socket has ended does not reduce BufferedAmount, and leads to no call.
func (s *Socket) OnDrain(low int, fn func(*Socket)) (remove func()) {
	if fn == nil {
		return func() {}
	}
	l := &drainListener{low: max(low, 0), fn: fn}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.waitersLocked()
	if w.drain == nil {
		w.drain = new(drainListeners)
	}
	w.drain.all = append(w.drain.all, l)
	if s.consumer == toObject {
		s.objectSocket.adoptDrainListenersLocked()
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.removeDrainListenerLocked(l)
	}
}

// drainListeners holds the listeners of OnDrain. Guarded by the socket's mu.
type drainListeners struct {
	all     []*drainListener // oldest first; replaced when one is removed
	running bool             // a goroutine calls those that are due; never in an object
	yields  bool             // in an object, another event of the socket goes first now
}

// drainListener is a listener of OnDrain. Guarded by the socket's mu.
type drainListener struct {
	low int
	fn  func(*Socket) // nil: the State of an object's value has it
	due bool          // it is to be called
}

// fellLocked is called when BufferedAmount has fallen by n. mu must be held.
func (s *Socket) fellLocked(n int) {
	if s.observed != nil || s.waiters != nil { // short enough to be inlined
		s.drainedLocked(n)
	}
}

// drainedLocked has the listeners called whose low BufferedAmount has reached, by falling n bytes. mu must be held.
func (s *Socket) drainedLocked(n int) {
	if s.observed != nil && s.observed.slow {
		amount, _ := s.bufferedLocked()
		s.observeDrainLocked(amount)
	}
	if n <= 0 || s.waiters == nil || s.waiters.drain == nil {
		return
	}
	amount, _ := s.bufferedLocked()
	d := s.waiters.drain
	for _, l := range d.all {
		l.due = l.due || amount <= l.low && amount+n > l.low
	}
	if s.isDrainDueLocked() && !s.drainsInObjectLocked() && !d.running {
		d.running = true
		go s.callDrainListeners()
	}
}

// drainsInObjectLocked reports whether the listeners run as events of an object. Then it queues such an event, if one is due. mu must be held.
func (s *Socket) drainsInObjectLocked() bool {
	switch {
	case s.consumer == toObject:
		if s.isDrainDueLocked() {
			s.objectSocket.enqueueLocked()
		}
	case s.is(hosted):
		s.pinned.queueIfDueLocked()
	default:
		return false
	}
	return true
}

// isDrainDueLocked reports whether a listener of OnDrain is to be called. mu must be held.
func (s *Socket) isDrainDueLocked() bool {
	if s.waiters == nil || s.waiters.drain == nil || s.phase >= phaseFinishing && s.is(sentClose|lost) {
		return false
	}
	return slices.ContainsFunc(s.waiters.drain.all, func(l *drainListener) bool { return l.due })
}

// isDrainNextLocked reports whether a listener of OnDrain is to be called in the object's next event of the socket. If another event is due as
// well, they take turns: neither a producer that OnDrain drives nor a peer that sends much keeps the other waiting. mu must be held.
func (s *Socket) isDrainNextLocked(otherDue bool) bool {
	if !s.isDrainDueLocked() {
		return false
	}
	d := s.waiters.drain
	next := !otherDue || !d.yields
	d.yields = next
	return next
}

// takeDrainLocked returns the first listener of OnDrain that is to be called; there must be one. mu must be held.
func (s *Socket) takeDrainLocked() *drainListener {
	all := s.waiters.drain.all
	l := all[slices.IndexFunc(all, func(l *drainListener) bool { return l.due })]
	l.due = false
	return l
}

// removeDrainListenerLocked removes l, if it is there. mu must be held.
func (s *Socket) removeDrainListenerLocked(l *drainListener) {
	d := s.waiters.drain
	if i := slices.Index(d.all, l); i >= 0 {
		d.all = append(slices.Clone(d.all[:i]), d.all[i+1:]...) // a loop over the old one may be under way
	}
	l.due, l.fn = false, nil
	if sock := s.objectSocket; sock != nil {
		sock.forgetDrainListenersLocked(l)
	}
}

// removeDrainListenersLocked removes all listeners of OnDrain, which are not called any more. mu must be held.
func (s *Socket) removeDrainListenersLocked() {
	if s.waiters == nil || s.waiters.drain == nil {
		return
	}
	if sock := s.objectSocket; sock != nil {
		sock.forgetDrainListenersLocked(s.waiters.drain.all...)
	}
	s.waiters.drain.all = nil
}

// callDrainListeners calls the listeners that are due, until none is or the socket gets into an object. One goroutine at a time runs it.
func (s *Socket) callDrainListeners() {
	returned := false
	defer func() {
		if !returned { // a listener has called runtime.Goexit, as t.FailNow does
			go s.callDrainListeners()
		}
	}()
	for fn := s.nextDrainListener(); fn != nil; fn = s.nextDrainListener() {
		s.callDrainListener(fn)
	}
	returned = true
}

// nextDrainListener returns the next listener that is due. If there is none, it returns nil, and the goroutine ends.
func (s *Socket) nextDrainListener() func(*Socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.drainsInObjectLocked() && s.isDrainDueLocked() {
		if fn := s.takeDrainLocked().fn; fn != nil {
			return fn
		}
	}
	s.waiters.drain.running = false
	return nil
}

// callDrainListener calls a listener. A panic fails the socket.
func (s *Socket) callDrainListener(fn func(*Socket)) {
	began := time.Now()
	defer func() { s.currentCounter().addBusy(time.Since(began)) }()
	if err := protect(s, fn, s); err != nil {
		s.panicked(err)
	}
}

// currentCounter returns the counter of the socket's usage; nil: no meter.
func (s *Socket) currentCounter() *usageCounter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counter
}
