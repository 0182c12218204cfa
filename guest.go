package edgews

import "time"

// guest is the owner of a socket that an object has come by without AcceptWebSocket: it has upgraded or dialed the socket, or holds
// it. Once the socket is accepted its listeners are part of the object's value: they keep the object awake, and they run as events
// of the object, one at a time with all its others. What arrives for them waits in the socket's inbox.
type guest struct {
	o   *object
	s   *Socket
	pin pin

	// Guarded by o.mu.
	since  time.Time // when the socket was accepted
	queued bool      // it waits in o.queue for its turn

	// Guarded by the socket's mu.
	opened   bool // the open event is to be delivered
	running  bool // a listener runs
	ending   bool // the last events are to be delivered, after the messages in the inbox
	lookedAt bool // a timer will look whether a listener has been added
	late     []*listener[CloseEvent]
}

// guestLocked returns what s is to the object whose events its listeners are, or nil. mu must be held.
func (s *Socket) guestLocked() *guest {
	if !s.is(hosted) {
		return nil
	}
	return s.owner.(*guest)
}

func (g *guest) acceptedLocked(s *Socket) {
	s.status |= hosted
	o := g.o
	o.mu.Lock()
	defer o.mu.Unlock()
	was := o.stateLocked()
	if o.guests == nil {
		o.guests = make(map[*Socket]*guest)
	}
	g.since = time.Now()
	o.guests[s] = g
	o.notePairLocked(s)
	o.turnedLocked(was)
}

func (g *guest) finishedLocked(s *Socket) {
	o := g.o
	o.mu.Lock()
	defer o.mu.Unlock()
	was := o.stateLocked()
	delete(o.guests, s)
	if len(o.guests) == 0 {
		o.guests = nil
	}
	o.restLocked(was)
}

// arrivedLocked gives g a turn if an event is to be delivered, unless it waits for one already.
func (g *guest) arrivedLocked(s *Socket) {
	if s.is(delivering) || !g.dueLocked() { // memory.deliver calls again at its end
		return
	}
	o := g.o
	o.mu.Lock()
	defer o.mu.Unlock()
	if !g.queued {
		g.queued = true
		o.pushLocked(task{conn: g})
	}
}

func (g *guest) dequeuedLocked() { g.queued = false }

// dueLocked says whether an event is to be delivered. The socket's mu must be held.
func (g *guest) dueLocked() bool {
	return g.opened || g.ending || g.messageDueLocked() || g.lateDueLocked()
}

func (g *guest) messageDueLocked() bool {
	in := g.s.in
	return in != nil && !g.s.is(pulling) && in.wholeAfter(in.unheard)
}

func (g *guest) lateDueLocked() bool { return len(g.late) > 0 && g.s.turnLeftLocked() <= 0 }

// busyLocked says whether a listener runs, or has events before it that come before the end. The socket's mu must be held.
func (g *guest) busyLocked() bool { return g.running || g.opened || g.messageDueLocked() }

// turn delivers what is next.
func (g *guest) turn() {
	s := g.s
	s.mu.Lock()
	switch {
	case g.opened:
		g.deliverOpenAndUnlock()
	case g.messageDueLocked():
		g.deliverMessageAndUnlock()
	case g.ending:
		g.deliverEndAndUnlock()
	case g.lateDueLocked():
		g.deliverLateAndUnlock()
	default:
		s.mu.Unlock()
	}
}

// openedLocked has the open event delivered. The socket's mu must be held.
func (g *guest) openedLocked() {
	g.opened = true
	g.arrivedLocked(g.s)
}

func (g *guest) deliverOpenAndUnlock() {
	s := g.s
	onOpen := audienceLocked(s, pickOpen)
	if onOpen.empty() && g.waitsForListenerLocked() {
		s.mu.Unlock()
		return
	}
	g.opened = false
	g.arrivedLocked(s)
	if onOpen.empty() {
		s.mu.Unlock()
		return
	}
	g.runAndUnlock("OnOpen", func() error { return onOpen.dispatch(s, OpenEvent{s}) })
}

func (g *guest) deliverMessageAndUnlock() {
	s := g.s
	onMessage := s.messageAudienceLocked()
	if onMessage.empty() {
		if !g.waitsForListenerLocked() {
			s.keepUnheardLocked()
			g.arrivedLocked(s)
		}
		s.mu.Unlock()
		return
	}
	it := s.takeLocked()
	g.arrivedLocked(s) // again, behind the others
	defer it.buf.Free()
	if g.o.ns.ctx.Err() != nil { // Shutdown has cut
		s.mu.Unlock()
		return
	}
	g.runAndUnlock("OnMessage", func() error { return onMessage.dispatch(s, MessageEvent{s, Message{it.kind, it.buf.B}}) })
}

// waitsForListenerLocked says whether the program that has just accepted the socket may still be adding listeners: then an event
// that finds none is looked at again. The socket's mu must be held.
func (g *guest) waitsForListenerLocked() bool {
	left := g.s.turnLeftLocked()
	if left > 0 && !g.lookedAt {
		g.lookedAt = true
		time.AfterFunc(left, g.lookAgain)
	}
	return left > 0
}

func (g *guest) lookAgain() {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	g.lookedAt = false
	g.arrivedLocked(g.s)
}

// keepUnheardLocked keeps the first message that no listener wants for a receive method that may still be called, within bounds. To
// the sender it is taken. mu must be held.
func (s *Socket) keepUnheardLocked() {
	in := s.in
	for last := false; !last; in.unheard++ {
		it := &in.queue.items[in.queue.head+in.unheard]
		last = it.last
		s.link.takenLocked(it)
	}
	for in.bytes >= inboxLimit && in.unheard > 0 {
		for last := false; !last; {
			it := in.pop()
			last = it.last
			it.buf.Free()
		}
	}
	s.link.stirLocked()
}

// runAndUnlock calls listeners, as an event of the object that needs no value of it. A panic fails the socket and not the object. The
// socket's mu must be held; it is released.
func (g *guest) runAndUnlock(what string, listeners func() error) {
	s, o := g.s, g.o
	g.running = true
	t := s.tab
	if t != nil && t.object == o { // the object's own counts how long it takes
		t = nil
	}
	s.mu.Unlock()
	failure := errGoexit
	defer func() { g.ran(failure) }()
	o.begin(nil, what)
	defer o.tab.leave()
	t.enter()
	defer t.leave()
	failure = listeners()
}

// ran fails the socket if one of its listeners has panicked.
func (g *guest) ran(failure error) {
	s := g.s
	s.mu.Lock()
	g.running = false
	if failure == nil {
		s.mu.Unlock()
		return
	}
	g.failAndUnlock("internal error", failure)
}

// fail ends the socket of an object that has been reset.
func (g *guest) fail(reason string, err error) {
	g.s.mu.Lock()
	g.failAndUnlock(reason, err)
}

// failAndUnlock drops the messages that wait and closes the socket with 1011. If the end has arrived already, but waits behind those
// messages, this one takes its place. The socket's mu must be held; it is released.
func (g *guest) failAndUnlock(reason string, err error) {
	s := g.s
	for !s.is(pulling) && s.in != nil && s.in.queue.len() > 0 {
		it := s.popPieceLocked()
		it.buf.Free()
	}
	reason = clip(reason)
	switch {
	case s.fate == nil:
		s.failLocked(StatusInternalError, reason, err)
	case g.ending || !s.is(finishing):
		s.fate = &ending{CloseError{Code: StatusInternalError, Reason: reason}, err}
		if s.isUnansweredLocked() {
			s.status |= sentClose
			s.link.closeLocked(closeFrame{StatusInternalError, reason})
		}
	}
	l := s.link
	s.mu.Unlock()
	l.transmit()
}

// endsInObjectLocked says whether s ends with an event of an object. mu must be held; it may be released meanwhile.
func (s *Socket) endsInObjectLocked() bool {
	if s.is(owned) {
		return true
	}
	g := s.guestLocked()
	if g == nil {
		return false
	}
	if _, failed := s.link.(*connectingLink); failed { // as soon as it began, perhaps
		awaitListener(s, pickClose)
	}
	unanswered := s.isUnansweredLocked() && !s.is(manualClose) // the Close came while a listener ran
	g.ending = unanswered || g.busyLocked() || !audienceLocked(s, pickClose).empty() || !audienceLocked(s, pickError).empty()
	return g.ending
}

// deliverEndAndUnlock delivers the last events, and answers the peer's Close: before the close event on a wire, and after it in a pair,
// whose ends see their events in the same order.
func (g *guest) deliverEndAndUnlock() {
	s := g.s
	g.ending = false
	fate, onError, onClose := s.fate, audienceLocked(s, pickError), audienceLocked(s, pickClose)
	if onClose.empty() {
		s.status |= endUnheard
	}
	if s.isUnansweredLocked() && !s.is(manualClose) {
		s.status |= sentClose
		if m, pair := s.link.(*memory); pair {
			defer m.closeDelivered(true)
		} else {
			s.link.closeLocked(fate.reply())
		}
	}
	l := s.link
	defer s.finished()
	g.runAndUnlock("OnClose", func() error {
		l.transmit()
		defer func() {
			onClose.dispatch(s, CloseEvent{s, fate.Code, fate.Reason, fate.WasClean})
			s.debug("edgews: socket closed", "code", uint16(fate.Code), "reason", fate.Reason, "clean", fate.WasClean)
		}()
		if fate.err != nil {
			s.warn("edgews: socket failed", fate.err)
			onError.dispatch(s, ErrorEvent{s, fate.err})
		}
		return nil
	})
}

// replayLocked has the close event delivered to a listener that was added after it, but in the turn of Accept. The socket's mu must be
// held.
func (g *guest) replayLocked(entry *listener[CloseEvent], left time.Duration) {
	g.late = append(g.late, entry)
	time.AfterFunc(left, g.lookAgain)
}

func (g *guest) deliverLateAndUnlock() {
	s, late := g.s, g.late
	g.late = nil
	event := CloseEvent{s, s.fate.Code, s.fate.Reason, s.fate.WasClean}
	g.runAndUnlock("OnClose", func() error {
		for _, l := range late {
			l.hear(s, event)
		}
		return nil
	})
}

// answersLaterLocked says whether the peer's Close waits behind events of the object, and is answered after them. If the object takes
// too long it is answered before: after half of CloseTimeout, since a peer with the same options gives up after the whole. mu must be
// held.
func (s *Socket) answersLaterLocked() bool {
	g := s.guestLocked()
	if g == nil || !g.busyLocked() {
		return false
	}
	time.AfterFunc(s.opts.CloseTimeout/2, g.answer)
	return true
}

// answer answers the peer's Close if that has not been done.
func (g *guest) answer() {
	s := g.s
	s.mu.Lock()
	if !s.isUnansweredLocked() {
		s.mu.Unlock()
		return
	}
	s.status |= sentClose
	s.link.closeLocked(s.fate.reply())
	s.roomLocked()
	l := s.link
	s.mu.Unlock()
	l.transmit()
}

// isUnansweredLocked says whether the peer's Close has arrived and can still be answered. mu must be held.
func (s *Socket) isUnansweredLocked() bool { return s.is(gotClose) && !s.is(sentClose|lost) }

// reply is the Close that answers the peer's.
func (e *ending) reply() closeFrame {
	if e.Code == StatusNoStatusRcvd {
		return closeFrame{}
	}
	return closeFrame{e.Code, e.Reason}
}
