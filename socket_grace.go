package edgews

import "time"

// listenerGrace is how long after Accept what arrives waits for listeners, which the program may still be adding. In Workers it waits for
// the end of the turn of the event loop, which Go does not have.
//
// Within the grace, what has found no listener waits:
//
//   - A message waits in the inbox, and behind it the close event, if that has a listener. A wire outside an object keeps the message in its
//     incoming instead, and pauses reading.
//   - The close event has been delivered to no listener (fact closeUndelivered). Those that are added after it get it at the end of the
//     grace, behind the messages, whose listener may be added even later.
//   - The open event of a socket in an object waits in the pinnedSocket. Outside an object, the goroutine that has made the handshake waits
//     with it, and everywhere with the last events after a failed handshake: it exists anyway, and nothing else can happen meanwhile.
//
// Afterwards a message is kept for a receive method, and the other events are dropped.
const listenerGrace = 10 * time.Millisecond

// graceLeftLocked returns what is left of listenerGrace since Accept. It is negative when the time is over. mu must be held.
func (s *Socket) graceLeftLocked() time.Duration {
	return listenerGrace - time.Duration(nowMillis()-s.accepted)*time.Millisecond // unlike monoMillis.sub, up to 50 days
}

// awaitsListenerLocked reports whether an event that has found no listener waits for one. A timer calls redeliverLocked when the grace is
// over, and so does a listener that is added. When a receive method is called, messages no longer wait for a listener
// (startPullingLocked). mu must be held.
func (s *Socket) awaitsListenerLocked() bool {
	left := s.graceLeftLocked()
	if left > 0 && !s.is(graceTimed) {
		s.facts |= graceTimed
		time.AfterFunc(left, s.graceOver)
	}
	return left > 0
}

// graceOver is called at the end of the grace, if something has waited.
func (s *Socket) graceOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.facts &^= graceTimed
	s.redeliverLocked()
}

// listenerAddedLocked delivers what has waited for a listener. Messages that have waited for longer than the grace are dropped. mu must be
// held.
func (s *Socket) listenerAddedLocked() {
	if in := s.in; in != nil && in.undelivered > 0 && s.consumer == toListeners && !s.messageListenersLocked().empty() {
		if s.graceLeftLocked() > 0 {
			in.undelivered = 0
		} else {
			in.dropUndelivered()
		}
	}
	s.redeliverLocked()
}

// redeliverLocked has what has waited for a listener considered again. mu must be held.
func (s *Socket) redeliverLocked() {
	s.consumerChangedLocked()
	s.link.resumeReadingLocked()
	s.deliverLateLocked()
}

// deliverLateLocked has the close event delivered that has found no listener, and what is due in an object. It is also called when the
// delivery of other events, during which these have to wait, has ended. mu must be held.
func (s *Socket) deliverLateLocked() {
	p := s.pinnedSocketLocked()
	switch {
	case !s.isCloseDueLocked():
	case snapshotLocked(s, pickClose).empty():
		s.facts &^= closeUndelivered
	case p == nil:
		deliver := s.takeCloseLocked()
		go deliver()
	}
	if p != nil {
		p.queueIfDueLocked()
	}
}

// closeAwaitsListenerLocked reports whether the close event has a listener, and waits for one of the messages before it. mu must be held.
func (s *Socket) closeAwaitsListenerLocked() bool {
	return s.in.undelivered > 0 && s.consumer == toListeners && !snapshotLocked(s, pickClose).empty() && s.awaitsListenerLocked()
}

// isCloseDueLocked reports whether the close event has found no listener, and the time is over in which one could be added. mu must be held.
func (s *Socket) isCloseDueLocked() bool {
	return s.is(closeUndelivered) && s.phase == phaseFinished && !s.is(graceTimed|delivering)
}

// takeCloseLocked returns a function that delivers the close event to the listeners that have been added after it. A panic of theirs is only
// logged. mu must be held.
func (s *Socket) takeCloseLocked() (deliver func() error) {
	s.facts &^= closeUndelivered
	onClose, event := snapshotLocked(s, pickClose), CloseEvent{s, s.result.Code, s.result.Reason, s.result.WasClean}
	return func() error {
		onClose.dispatch(s, event)
		return nil
	}
}

// closeListenersLocked returns the listeners that get the close event. If there are none, those get it that are added within the grace. mu
// must be held.
func (s *Socket) closeListenersLocked() listenerSnapshot[CloseEvent] {
	onClose := snapshotLocked(s, pickClose)
	if onClose.empty() && s.awaitsListenerLocked() {
		s.facts |= closeUndelivered
	}
	return onClose
}

// keepUndeliveredLocked keeps the first message in the inbox that is due: it has found no listener. It counts as taken for the sender. After
// the grace, messages beyond inboxLimit are dropped, the oldest first. mu must be held.
func (s *Socket) keepUndeliveredLocked() {
	in := s.in
	for last := false; !last; in.undelivered++ {
		it := &in.queue.Items()[in.undelivered]
		last = it.last
		s.link.takenLocked(it)
	}
	for in.bytes >= inboxLimit && in.undelivered > 0 && s.graceLeftLocked() <= 0 {
		for last := false; !last; {
			it := in.pop()
			last = it.last
			it.buf.Free()
		}
	}
	s.link.resumeReadingLocked()
}

// awaitListenersLocked waits until the list that pick selects has a listener, a receive method has been called or the grace is over. mu must
// be held; it is released meanwhile.
func awaitListenersLocked[E any](s *Socket, pick func(*listeners) **listener[E]) listenerSnapshot[E] {
	for {
		a := snapshotLocked(s, pick)
		if !a.empty() || s.consumer != toListeners || !s.awaitsListenerLocked() {
			return a
		}
		changed := s.waitersLocked().consumerChanged.wait()
		s.mu.Unlock()
		<-changed
		s.mu.Lock()
	}
}
