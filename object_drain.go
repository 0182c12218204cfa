package edgews

// The listeners of OnDrain of a socket that the object has accepted belong to the value that has added them. The State of the value has
// their functions, so that they are freed with it: after hibernation nothing may refer to the value.

// adoptDrainListenersLocked makes the listeners that have been added belong to the object's value, and removes those of earlier values. If
// there is no value, they belong to none, and stay. The socket's mu must be held.
func (sock *objectSocket) adoptDrainListenersLocked() {
	w := sock.s.waiters
	if w == nil || w.drain == nil {
		return
	}
	o := sock.o
	o.mu.Lock()
	defer o.mu.Unlock()
	var kept []*drainListener
	for _, l := range w.drain.all {
		if l.fn != nil && o.state != nil {
			o.state.keepDrainFuncLocked(l)
		}
		if l.fn != nil || o.drainFuncLocked(l) != nil {
			kept = append(kept, l)
		}
	}
	w.drain.all = kept
}

// keepDrainFuncLocked takes the function of l over. The mu of the socket and that of the object must be held.
func (st *State) keepDrainFuncLocked(l *drainListener) {
	if st.drainFuncs == nil {
		st.drainFuncs = make(map[*drainListener]func(*Socket))
	}
	st.drainFuncs[l], l.fn = l.fn, nil
}

// drainFuncLocked returns the function of l if it belongs to the object's value, otherwise nil. mu must be held.
func (o *object) drainFuncLocked(l *drainListener) func(*Socket) {
	if o.state == nil {
		return nil
	}
	return o.state.drainFuncs[l]
}

// forgetDrainListenersLocked frees the functions of listeners that have been removed. The socket's mu must be held.
func (sock *objectSocket) forgetDrainListenersLocked(all ...*drainListener) {
	o := sock.o
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state == nil {
		return
	}
	for _, l := range all {
		delete(o.state.drainFuncs, l)
	}
}

// deliverDrainAndUnlock calls a listener of OnDrain that is due, as an event of the object, and queues the socket again if something else is
// to be delivered. It does not wake the object: a listener whose value has been dropped is removed. The socket's mu must be held; it is
// released.
func (sock *objectSocket) deliverDrainAndUnlock() {
	s, o := sock.s, sock.o
	l := s.takeDrainLocked()
	if sock.hasEventLocked() {
		sock.enqueueLocked()
	}
	o.mu.Lock()
	fn, value := l.fn, (*State)(nil)
	if fn == nil {
		fn, value = o.drainFuncLocked(l), o.state
	}
	o.mu.Unlock()
	if fn == nil {
		s.removeDrainListenerLocked(l)
	}
	s.mu.Unlock()
	if fn == nil || o.ns.eventsContext.Err() != nil {
		return
	}
	if _, began := o.beginEvent(value, "OnDrain"); !began {
		return
	}
	defer o.counter.handlerReturned()
	failure := errGoexit
	defer func() {
		if failure != nil {
			s.panicked(failure)
		}
	}()
	failure = protect(s, fn, s)
}

// hasEventLocked reports whether a message, the end or a call of OnDrain is to be delivered, or a large message is to be resumed. The
// socket's mu must be held.
func (sock *objectSocket) hasEventLocked() bool {
	s := sock.s
	return s.in != nil && (s.in.whole() || s.in.wantFromObject != wantNothing) || s.phase >= phaseFinishing || s.isDrainDueLocked()
}

// deliverDrainAndUnlock calls a listener of OnDrain that is due, as an event of the object, and queues the socket again, behind all others,
// if another event is to be delivered. The socket's mu must be held; it is released.
func (p *pinnedSocket) deliverDrainAndUnlock() {
	s := p.s
	fn := s.takeDrainLocked().fn
	p.queueIfDueLocked()
	if fn == nil || p.o.ns.eventsContext.Err() != nil { // Shutdown has cut
		s.mu.Unlock()
		return
	}
	p.runListenersAndUnlock("OnDrain", func() error { return protect(s, fn, s) })
}
