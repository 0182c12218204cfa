package edgews

import (
	"context"
	"maps"
	"time"
)

// pinnedSocket is what an object knows of a socket that it has in another way than by AcceptWebSocket: it has upgraded or dialed the
// socket, or holds it. Once such a socket is accepted, its listeners belong to the object's value: they keep the object awake, and they run
// as events of the object, one at a time with all others. What arrives for them waits in the socket's inbox.
type pinnedSocket struct {
	// Immutable.
	o    *object
	s    *Socket
	kind pinKind

	// Guarded by o.mu.
	acceptedAt    time.Time
	afterShutdown bool // it was accepted after Shutdown had closed all sockets
	queued        bool // it is in o.queue

	// Guarded by the socket's mu.
	openDue         bool // the open event is to be delivered
	endDue          bool // the last events are to be delivered, after the messages in the inbox
	listenerRunning bool
	failed          bool // failAndUnlock has dropped the messages, and more may come until the socket has ended: listeners get none
}

// pinKind is how an object has come by a socket that keeps it awake.
type pinKind uint8

const (
	pinAccepted pinKind = iota // upgraded in an event, and accepted with Accept or by receiving
	pinOutbound                // dialed in an event
	pinHeld                    // State.Hold
	pinKindCount
)

var pinNames = [pinKindCount]string{"accepted socket", "outbound socket", "held socket"}

// bindToObject pins s to the object to whose event ctx belongs, if it belongs to one.
func (s *Socket) bindToObject(ctx context.Context, kind pinKind) {
	if o, ok := ctx.Value(objectContextKey{}).(*object); ok {
		s.pinTo(o, kind)
	}
}

// defaultOptions returns the options of a socket that is made with nil options in ctx: in an event of an object those of the namespace.
func defaultOptions(ctx context.Context) Options {
	if o, ok := ctx.Value(objectContextKey{}).(*object); ok {
		return o.ns.opts.Options
	}
	return Options{}
}

// Hold makes the listeners of s events of the object and keeps the object awake until s ends, if s is accepted with Accept or by receiving
// from it. It is for a socket that the object cannot know otherwise, because it comes from NewWebSocket, from NewPair or from outside the
// object. Call it before adding listeners: one that is running is not interrupted. Hold does nothing for a nil socket, for one that keeps
// an object awake already, and for one that an object has accepted.
func (st *State) Hold(s *Socket) {
	if s != nil && st.checkNotDropped() == nil {
		s.pinTo(st.o, pinHeld)
	}
}

// describe adds the object to info; without one nothing.
func (p *pinnedSocket) describe(info *SocketInfo) {
	if p != nil {
		info.Namespace, info.Object = p.o.ns.name, p.o.id
	}
}

func (s *Socket) pinTo(o *object, kind pinKind) {
	s.mu.Lock()
	defer s.tellAndUnlock()
	s.pinToLocked(o, kind)
}

// pinToLocked makes s a pinned socket of o, unless an object has it already, or it has ended. mu must be held, and the caller calls tell.
func (s *Socket) pinToLocked(o *object, kind pinKind) {
	if s.objectSocket != nil || s.pinned != nil || s.phase >= phaseFinished || o.ns.shutdown.currentPhase() == eventsCutOff {
		return
	}
	p := &pinnedSocket{o: o, s: s, kind: kind}
	s.extraLocked().pinned = p
	if s.isAcceptedLocked() {
		if s.phase == phaseOpen {
			s.beginObservingLocked()
		}
		p.acceptedLocked()
		p.queueIfDueLocked()
	}
}

// pinnedSocketLocked returns s.pinned if the listeners run as events of an object: if s is also accepted. mu must be held.
func (s *Socket) pinnedSocketLocked() *pinnedSocket {
	if !s.is(hosted) {
		return nil
	}
	return s.pinned
}

// pinnedSockets returns the sockets that keep the object awake.
func (o *object) pinnedSockets() map[*Socket]*pinnedSocket {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.pinned)
}

// repliesAreEventsOf reports whether what arrives on s is handled by the object to whose running event ctx belongs.
func (s *Socket) repliesAreEventsOf(ctx context.Context) bool {
	e := eventOf(ctx)
	if e == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch p := s.pinnedSocketLocked(); {
	case s.consumer == toObject:
		return s.objectSocket.o == e.o
	default:
		return p != nil && p.o == e.o && s.consumer == toListeners
	}
}

// pinsLocked names what keeps the object awake. mu must be held.
func (o *object) pinsLocked() (names []string) {
	if o.eventRunning {
		names = append(names, "event")
	}
	if len(o.backgroundFuncs) > int(o.evictedFuncs) {
		names = append(names, "WaitUntil")
	}
	if o.isStorageInUseLocked() {
		names = append(names, "storage")
	}
	var has [pinKindCount]bool
	for _, p := range o.pinned {
		has[p.kind] = true
	}
	for kind, ok := range has {
		if ok {
			names = append(names, pinNames[kind])
		}
	}
	return names
}

// isPinnedLocked reports whether something other than an event keeps the object awake. mu must be held.
func (o *object) isPinnedLocked() bool {
	return o.isPinnedByValueLocked() || o.isStorageInUseLocked()
}

// isStorageInUse reports whether a call uses the storage.
func (o *object) isStorageInUse() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.isStorageInUseLocked()
}

// isStorageInUseLocked is isStorageInUse. mu must be held.
func (o *object) isStorageInUseLocked() bool {
	lease := o.storage.Load()
	return lease != nil && lease.calls > 0
}

// acceptedLocked is called when the socket is being accepted. The socket's mu must be held.
func (p *pinnedSocket) acceptedLocked() {
	s, o := p.s, p.o
	s.facts |= hosted
	o.mu.Lock()
	defer o.mu.Unlock()
	was := o.stateLocked()
	if o.pinned == nil {
		o.pinned = make(map[*Socket]*pinnedSocket)
	}
	p.acceptedAt, p.afterShutdown = time.Now(), o.ns.backgroundContext.Err() != nil
	o.pinned[s] = p
	o.notePairLocked(s)
	o.pinnedLocked(was)
	if o.ns.shutdown.currentPhase() == eventsCutOff { // Shutdown has not seen it
		go s.cut(o.ns.opts.ShutdownCode, ErrShutdown)
	}
}

// finishedLocked is called when the close event has been delivered. The socket's mu must be held.
func (p *pinnedSocket) finishedLocked() {
	if m, pair := p.s.link.(*memory); pair {
		m.peerLostLocked() // perhaps while the event waited in the object's queue
	}
	o := p.o
	o.mu.Lock()
	defer o.mu.Unlock()
	was := o.stateLocked()
	delete(o.pinned, p.s)
	if len(o.pinned) == 0 {
		o.pinned = nil
	}
	o.checkIdleLocked(was)
}

// queueIfDueLocked puts p into the object's queue if an event is to be delivered, unless it is there. The socket's mu must be held.
func (p *pinnedSocket) queueIfDueLocked() {
	if p.s.is(delivering) || !p.hasEventLocked() { // memory.deliver calls again at its end
		return
	}
	o := p.o
	o.mu.Lock()
	defer o.mu.Unlock()
	if !p.queued {
		p.queued = true
		o.enqueueLocked(queuedEvent{socket: p})
	}
}

func (p *pinnedSocket) dequeuedLocked() { p.queued = false }

// hasEventLocked reports whether an event is to be delivered. The socket's mu must be held.
func (p *pinnedSocket) hasEventLocked() bool {
	return p.openDue || p.endDue || p.messageDueLocked() || p.s.isCloseDueLocked() || p.s.isDrainDueLocked()
}

// messageDueLocked reports whether the listeners are to get a message. The socket's mu must be held.
func (p *pinnedSocket) messageDueLocked() bool {
	in := p.s.in
	return in != nil && p.s.consumer == toListeners && !p.failed && in.wholeAfter(in.undelivered)
}

// isBusyLocked reports whether a listener runs, or events are to be delivered before the end. The socket's mu must be held.
func (p *pinnedSocket) isBusyLocked() bool {
	return p.isHandlingLocked() || p.openDue
}

// isHandlingLocked reports whether a listener runs, or messages wait for one. The socket's mu must be held.
func (p *pinnedSocket) isHandlingLocked() bool {
	return p.listenerRunning || p.messageDueLocked()
}

// deliverNext delivers the first event that is due.
func (p *pinnedSocket) deliverNext() {
	s := p.s
	s.mu.Lock()
	switch {
	case p.openDue:
		p.deliverOpenAndUnlock()
	case s.isDrainNextLocked(p.messageDueLocked() || p.endDue || s.isCloseDueLocked()):
		p.deliverDrainAndUnlock()
	case p.messageDueLocked():
		p.deliverMessageAndUnlock()
	case p.endDue:
		p.deliverEndAndUnlock()
	case s.isCloseDueLocked():
		p.runListenersAndUnlock("OnClose", s.takeCloseLocked())
	default:
		s.mu.Unlock()
	}
}

// openEventDueLocked has the open event delivered. The socket's mu must be held.
func (p *pinnedSocket) openEventDueLocked() {
	p.openDue = true
	p.queueIfDueLocked()
}

// deliverOpenAndUnlock delivers the open event. The socket's mu must be held; it is released.
func (p *pinnedSocket) deliverOpenAndUnlock() {
	s := p.s
	onOpen := snapshotLocked(s, pickOpen)
	if onOpen.empty() && s.awaitsListenerLocked() {
		s.mu.Unlock()
		return
	}
	p.openDue = false
	p.queueIfDueLocked()
	if onOpen.empty() {
		s.mu.Unlock()
		return
	}
	p.runListenersAndUnlock("OnOpen", func() error { return onOpen.dispatch(s, OpenEvent{s}) })
}

// deliverMessageAndUnlock delivers the first message, and queues the socket again, behind all others, if another event is due. A message
// without a listener is kept for a receive method. The socket's mu must be held; it is released.
func (p *pinnedSocket) deliverMessageAndUnlock() {
	s := p.s
	onMessage := s.messageListenersLocked()
	if onMessage.empty() {
		if !s.awaitsListenerLocked() {
			s.keepUndeliveredLocked()
			p.queueIfDueLocked()
		}
		s.mu.Unlock()
		return
	}
	it := s.takeLocked()
	p.queueIfDueLocked()
	defer it.buf.Free()
	o := s.observed
	if p.o.ns.eventsContext.Err() != nil { // Shutdown has cut
		s.mu.Unlock()
		return
	}
	s.beginHandlingLocked(it.kind, len(it.buf.B), int(it.wireSize), 0)
	p.runListenersAndUnlock("OnMessage", func() error {
		defer s.noteMessage()
		return onMessage.dispatch(s, MessageEvent{s, Message{it.kind, it.buf.B}})
	})
	if o != nil {
		s.handled(0)
	}
}

// runListenersAndUnlock calls listeners as an event of the object, for which no value is constructed. A panic fails the socket and leaves
// the object's value alone. The socket's mu must be held; it is released.
func (p *pinnedSocket) runListenersAndUnlock(what string, listeners func() error) {
	s, o := p.s, p.o
	p.listenerRunning = true
	t := s.counter
	if t != nil && t.object == o { // o.counter counts how long the event takes
		t = nil
	}
	s.mu.Unlock()
	o.handling.Store(s)
	defer o.handling.Store(nil)
	failure := errGoexit
	defer func() { p.listenersReturned(failure) }()
	o.beginEvent(nil, what)
	defer o.counter.handlerReturned()
	t.handlerStarted()
	defer t.handlerReturned()
	defer o.beginProfile(what).end()
	if o.isObserved() {
		began := sinceStart()
		defer func() { o.observeHandled(what, began, failure) }()
	}
	failure = listeners()
}

// listenersReturned fails the socket if a listener has panicked or ended its goroutine.
func (p *pinnedSocket) listenersReturned(failure error) {
	s := p.s
	s.mu.Lock()
	p.listenerRunning = false
	if failure == nil {
		s.mu.Unlock()
		return
	}
	p.failAndUnlock(StatusInternalError, "internal error", failure)
}

// fail ends the socket of an object that has been reset.
func (p *pinnedSocket) fail(reason string, err error) {
	p.s.mu.Lock()
	p.failAndUnlock(StatusInternalError, reason, err)
}

// failAndUnlock drops the messages that wait, and closes the socket with code. If the socket has ended already, and the last events wait
// behind those messages, they report this failure instead. The socket's mu must be held; it is released.
func (p *pinnedSocket) failAndUnlock(code StatusCode, reason string, err error) {
	s := p.s
	p.failed = true
	p.dropMessagesLocked()
	reason = clip(reason)
	switch {
	case !s.hasEndedLocked():
		s.failLocked(code, reason, err)
	case p.endDue || s.phase < phaseFinishing:
		s.result = &closeResult{CloseError{Code: code, Reason: reason}, err}
		s.noteReplacedLocked()
		if s.awaitsCloseReplyLocked() {
			s.closeLinkLocked(closeFrame{code, reason})
		}
	}
	l := s.link
	s.mu.Unlock()
	l.transmit()
}

// dropMessagesLocked drops the messages that wait for listeners. The socket's mu must be held.
func (p *pinnedSocket) dropMessagesLocked() {
	s := p.s
	for s.consumer == toListeners && s.in != nil && s.in.queue.Len() > 0 {
		it := s.popPieceLocked()
		it.buf.Free()
	}
}

// endsInObjectLocked reports whether the last events of s are an event of an object. mu must be held.
func (s *Socket) endsInObjectLocked() bool {
	if s.consumer == toObject {
		return true
	}
	p := s.pinnedSocketLocked()
	if p == nil {
		return false
	}
	unanswered := s.awaitsCloseReplyLocked() && !s.is(manualClose) // the Close came while a listener ran
	p.endDue = unanswered || p.isBusyLocked() || !snapshotLocked(s, pickClose).empty() || !snapshotLocked(s, pickError).empty()
	return p.endDue
}

// deliverEndAndUnlock delivers the last events and answers the peer's Close: on a wire before the close event, in a pair after it, so that
// both ends of a pair see their events in the same order. The socket's mu must be held; it is released.
func (p *pinnedSocket) deliverEndAndUnlock() {
	s := p.s
	p.endDue = false
	if p.failed {
		p.dropMessagesLocked()
	}
	fate, onError, onClose := s.result, snapshotLocked(s, pickError), s.closeListenersLocked()
	if s.awaitsCloseReplyLocked() && !s.is(manualClose) {
		s.facts |= sentClose
		if m, pair := s.link.(*memory); pair {
			defer m.closeDelivered(true)
		} else {
			s.closeLinkLocked(fate.reply())
		}
	}
	l := s.link
	defer s.finished()
	p.runListenersAndUnlock("OnClose", func() error {
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

// answersLaterLocked reports whether the peer's Close waits behind events of the object, and is answered after them. If the object takes
// longer than half of CloseTimeout, the Close is answered before them, because a peer with the same options gives up after CloseTimeout. mu
// must be held.
func (s *Socket) answersLaterLocked() bool {
	p := s.pinnedSocketLocked()
	if p == nil || !p.isBusyLocked() {
		return false
	}
	time.AfterFunc(s.opts.CloseTimeout/2, p.answerClose)
	return true
}

// answerClose answers the peer's Close, if it still can be answered.
func (p *pinnedSocket) answerClose() {
	s := p.s
	s.mu.Lock()
	if !s.awaitsCloseReplyLocked() {
		s.mu.Unlock()
		return
	}
	s.closeLinkLocked(s.result.reply())
	s.notifyRoomLocked()
	l := s.link
	s.mu.Unlock()
	l.transmit()
}

// awaitsCloseReplyLocked reports whether the peer's Close has arrived, has not been answered and can still be. mu must be held.
func (s *Socket) awaitsCloseReplyLocked() bool { return s.is(gotClose) && !s.is(sentClose|lost) }

// reply is the Close that answers the peer's.
func (e *closeResult) reply() closeFrame {
	if e.Code == StatusNoStatusRcvd {
		return closeFrame{}
	}
	return closeFrame{e.Code, e.Reason}
}
