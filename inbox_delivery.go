package edgews

// inboxDelivery delivers the events of self from its inbox, for links that have no connection whose turn could do that: memory and
// ClusterSocket. It has a goroutine only while there is something to deliver. Guarded by self's mu.
type inboxDelivery struct {
	self     *Socket // immutable
	closeDue bool    // the peer's Close has waited for maxPendingEnd, and is delivered although messages wait before it
}

// deliverLocked starts a goroutine that delivers the events of self, which has been accepted, if there are any and none runs. mu must be
// held.
func (d *inboxDelivery) deliverLocked() {
	if d.self.is(delivering) || d.nextLocked() == noEvent {
		return
	}
	d.self.facts |= delivering
	go d.deliver()
}

// inboxEvent is what deliver has to do next.
type inboxEvent uint8

const (
	noEvent inboxEvent = iota
	nextMessage
	nextClose
	nextEnd
)

// nextLocked returns what has to be delivered next. mu must be held.
func (d *inboxDelivery) nextLocked() inboxEvent {
	s := d.self
	message := s.deliversDirectlyLocked() && s.in.wholeAfter(s.in.undelivered)
	switch {
	case s.phase >= phaseFinishing:
		if message && s.is(closeUndelivered) && s.result.WasClean { // its listener was added after the end, within the grace
			return nextMessage
		}
		return noEvent
	case s.hasEndedLocked():
		return nextEnd
	case message:
		return nextMessage
	case s.in.closing != nil && (d.closeDue || !s.hasUnhandledLocked()) && !s.closeAwaitsListenerLocked():
		return nextClose
	}
	return noEvent
}

// deliver delivers events until none is left. Only one goroutine runs it at a time (fact delivering).
func (d *inboxDelivery) deliver() {
	done := false
	defer func() {
		if !done {
			d.restartDelivery()
		}
	}()
	s := d.self
	for {
		s.mu.Lock()
		switch d.nextLocked() {
		case nextMessage:
			d.deliverMessageAndUnlock()
		case nextClose:
			d.deliverCloseAndUnlock()
		case nextEnd:
			s.mu.Unlock()
			s.finish()
		default:
			s.facts &^= delivering
			s.noteMessageLocked()
			s.deliverLateLocked()
			s.mu.Unlock()
			done = true // since mu was released, another goroutine may have begun to deliver
			return
		}
	}
}

// restartDelivery continues in another goroutine after a listener has called runtime.Goexit, as t.FailNow does.
func (d *inboxDelivery) restartDelivery() {
	d.self.mu.Lock()
	defer d.self.mu.Unlock()
	d.self.facts &^= delivering
	d.deliverLocked()
}

// deliverMessageAndUnlock delivers the message at the front to the listeners, or keeps it if there are none. mu must be held; it is
// released.
func (d *inboxDelivery) deliverMessageAndUnlock() {
	s := d.self
	onMessage := s.messageListenersLocked()
	if onMessage.empty() {
		s.keepUndeliveredLocked()
		s.mu.Unlock()
		return
	}
	it := s.takeLocked()
	s.beginHandlingLocked(it.kind, len(it.buf.B), int(it.wireSize), 0)
	o := s.observed
	s.mu.Unlock()

	err := dispatchObserved(onMessage, o, s, MessageEvent{s, Message{it.kind, it.buf.B}})
	it.buf.Free()
	if o != nil {
		s.handled(0)
	}
	if err != nil {
		s.panicked(err)
	}
}

// deliverCloseAndUnlock delivers the peer's Close and answers it. mu must be held; it is released.
//
// The answer follows the close event, so that the close events of the two ends always come in the same order.
func (d *inboxDelivery) deliverCloseAndUnlock() {
	s := d.self
	answer := s.closedLocked(*s.in.closing)
	s.mu.Unlock()
	defer d.closeDelivered(answer)
	s.finish()
}

// closeDelivered is called after the close event. If answer is set, it answers the peer's Close.
func (d *inboxDelivery) closeDelivered(answer bool) {
	d.self.mu.Lock()
	defer d.self.mu.Unlock()
	if answer {
		d.self.closeLinkLocked(*d.self.in.closing)
	}
	if m, pair := d.self.link.(*memory); pair {
		m.peerLostLocked()
	}
}
