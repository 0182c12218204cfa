package edgews

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// OpenEvent is fired once by a socket from NewWebSocket, when its handshake has succeeded. Sockets that are
// open from the start (pairs, Upgrade, Dial) do not fire it.
type OpenEvent struct {
	Target *Socket
}

// MessageEvent is fired for each complete message. Its Data is valid until the listener returns.
type MessageEvent struct {
	Target *Socket
	Message
}

// CloseEvent is fired exactly once for every accepted socket and is its last event. Code is the peer's code,
// 1005 if the peer's Close had none, 1006 if the connection was lost, or the code that was sent when this side
// had to fail the connection (1002, 1007, 1008, 1009, 1011).
type CloseEvent struct {
	Target   *Socket
	Code     StatusCode
	Reason   string
	WasClean bool // both sides said Close
}

// ErrorEvent is fired at most once, before the close event, when something other than a Close ended
// the socket: a *ProtocolError, ErrMessageTooBig, ErrNoPong, a failed write, a listener that panicked.
type ErrorEvent struct {
	Target *Socket
	Err    error
}

// OnOpen adds a listener for the open event; see [Socket.OnMessage].
func (s *Socket) OnOpen(fn func(OpenEvent)) (remove func()) {
	return listenTo(s, pickOpen, fn)
}

// OnMessage adds a listener for messages: addEventListener("message", fn).
//
// The events of one socket are delivered one at a time, in order, never from inside a call that the listener's own
// goroutine made. Several listeners run in the order in which they were added; the same function added twice runs
// twice. remove takes the listener out, also during the dispatch of an event, and may be called any
// number of times and from anywhere. A listener that is added during the dispatch of an event gets the next one first.
// Deviation: in Workers a function that is removed and added again meanwhile still gets this event; Go's functions
// cannot be compared.
//
// A listener may block: other sockets do not notice, this one waits. A listener that panics is logged, the
// others still run, and the socket fails with 1011.
//
// As in Workers, add listeners right after Accept: a message that finds no listener is not kept for one that is added
// more than 10 ms after Accept. Messages go to the receive methods and not to listeners once one of those has been
// called.
func (s *Socket) OnMessage(fn func(MessageEvent)) (remove func()) {
	if fn == nil {
		return func() {}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listeners != nil || s.onMessage != nil {
		return listenLocked(s, pickMessage, &listener[MessageEvent]{fn: fn})
	}
	s.onMessage = fn
	s.listenerAddedLocked()
	return s.removerOfOnly()
}

// removerOfOnly returns what removes s.onMessage, wherever that will be by then.
func (s *Socket) removerOfOnly() (remove func()) {
	removed := false // guarded by mu
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case removed:
		case s.listeners == nil:
			s.onMessage = nil
		default: // it has become the first in the list
			first := s.listeners.message
			first.removed.Store(true)
			removeLocked(&s.listeners.message, first)
		}
		removed = true
	}
}

// OnClose adds a listener for the close event; see [Socket.OnMessage]. It does not run if that event has been delivered
// already, except to nobody in the first 10 ms after Accept: see Done and Err.
func (s *Socket) OnClose(fn func(CloseEvent)) (remove func()) {
	if fn == nil {
		return func() {}
	}
	entry := &listener[CloseEvent]{fn: fn}
	s.mu.Lock()
	defer s.mu.Unlock()
	remove = listenLocked(s, pickClose, entry)
	if left := s.graceLeftLocked(); s.is(closeUndelivered) && left > 0 {
		s.replayLocked(entry, left)
	}
	return remove
}

// OnError adds a listener for the error event; see [Socket.OnMessage].
func (s *Socket) OnError(fn func(ErrorEvent)) (remove func()) {
	return listenTo(s, pickError, fn)
}

// listeners are all that a socket has, the oldest first. A socket whose only one is for messages, as most are, has none.
type listeners struct {
	open    *listener[OpenEvent]
	message *listener[MessageEvent]
	close   *listener[CloseEvent]
	err     *listener[ErrorEvent]
	added   uint32 // how many there have been
}

func pickOpen(l *listeners) **listener[OpenEvent]       { return &l.open }
func pickMessage(l *listeners) **listener[MessageEvent] { return &l.message }
func pickClose(l *listeners) **listener[CloseEvent]     { return &l.close }
func pickError(l *listeners) **listener[ErrorEvent]     { return &l.err }

// listener is a node of a list. One that is removed keeps its next, for the sake of a dispatch that is there.
type listener[E any] struct {
	fn      func(E)
	next    atomic.Pointer[listener[E]] // changed with the socket's mu held
	number  uint32
	removed atomic.Bool
}

// listenerSnapshot is who gets an event: the listeners that there were when it began.
type listenerSnapshot[E any] struct {
	only  func(E) // or nil
	first *listener[E]
	added uint32
}

func (a listenerSnapshot[E]) empty() bool { return a.only == nil && a.first == nil }

// snapshotLocked returns who gets an event of a kind that pick picks. mu must be held.
func snapshotLocked[E any](s *Socket, pick func(*listeners) **listener[E]) listenerSnapshot[E] {
	if s.listeners == nil {
		return listenerSnapshot[E]{}
	}
	return listenerSnapshot[E]{first: *pick(s.listeners), added: s.listeners.added}
}

// messageListenersLocked returns who gets a message. mu must be held.
func (s *Socket) messageListenersLocked() listenerSnapshot[MessageEvent] {
	if s.onMessage != nil {
		return listenerSnapshot[MessageEvent]{only: s.onMessage}
	}
	return snapshotLocked(s, pickMessage)
}

// listenTo adds a listener; nil is none.
func listenTo[E any](s *Socket, pick func(*listeners) **listener[E], fn func(E)) (remove func()) {
	if fn == nil {
		return func() {}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return listenLocked(s, pick, &listener[E]{fn: fn})
}

// listenLocked adds entry to a list. mu must be held.
func listenLocked[E any](s *Socket, pick func(*listeners) **listener[E], entry *listener[E]) (remove func()) {
	all := s.listenersLocked()
	all.added++
	entry.number = all.added
	appendLocked(pick(all), entry)
	s.listenerAddedLocked()
	return func() {
		if entry.removed.Swap(true) {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		removeLocked(pick(s.listeners), entry)
	}
}

// listenersLocked returns the lists, in which the listener is as well that was the only one so far. mu must be held.
func (s *Socket) listenersLocked() *listeners {
	if s.listeners == nil {
		s.extraLocked().listeners = new(listeners)
		if s.onMessage != nil {
			s.listeners.message = &listener[MessageEvent]{fn: s.onMessage, number: 1}
			s.listeners.added = 1
			s.onMessage = nil
		}
	}
	return s.listeners
}

// listenerAddedLocked has those look again who wait for listeners. mu must be held.
func (s *Socket) listenerAddedLocked() {
	if !s.messageListenersLocked().empty() && !s.is(pulling) {
		s.redeliverLocked()
	}
	s.consumerChangedLocked()
	s.link.resumeReadingLocked()
	if g := s.pinnedSocketLocked(); g != nil { // messages may have waited for it
		g.queueIfDueLocked()
	}
}

func appendLocked[E any](head **listener[E], entry *listener[E]) {
	if *head == nil {
		*head = entry
		return
	}
	last := *head
	for last.next.Load() != nil {
		last = last.next.Load()
	}
	last.next.Store(entry)
}

func removeLocked[E any](head **listener[E], entry *listener[E]) {
	if *head == entry {
		*head = entry.next.Load()
		return
	}
	for l := *head; l != nil; l = l.next.Load() {
		if l.next.Load() == entry {
			l.next.Store(entry.next.Load())
			return
		}
	}
}

// listenerGrace is how long after Accept an event waits for a listener that is still to be added: what Workers call the same
// turn of the event loop, which Go does not have.
const listenerGrace = 10 * time.Millisecond

// awaitListenersLocked gives the program that has just accepted s the time to add a listener of a kind that l picks. mu
// must be held; it is released meanwhile.
func awaitListenersLocked[E any](s *Socket, pick func(*listeners) **listener[E]) listenerSnapshot[E] {
	for {
		if a := snapshotLocked(s, pick); !a.empty() {
			return a
		}
		left := s.graceLeftLocked()
		if left <= 0 || s.is(pulling) {
			return listenerSnapshot[E]{}
		}
		heeded := s.waitsLocked().consumerChanged.wait()
		s.mu.Unlock()
		timer := time.NewTimer(left)
		select {
		case <-heeded:
		case <-timer.C:
		}
		timer.Stop()
		s.mu.Lock()
	}
}

// graceLeftLocked is for how long the program that has accepted s may still be adding listeners; it is negative when
// that is over. mu must be held.
func (s *Socket) graceLeftLocked() time.Duration { return listenerGrace - nowMillis().sub(s.accepted) }

// redeliverLocked decides what becomes of messages that found no listener, now that there is one. mu must be held.
func (s *Socket) redeliverLocked() {
	if s.graceLeftLocked() < 0 {
		if s.in != nil {
			s.in.dropUndelivered()
		}
		return
	}
	if m, pair := s.link.(*memory); pair && s.in.undelivered > 0 {
		s.in.undelivered = 0
		m.startLocked()
	}
}

// closeListenersLocked returns who gets the close event. When an opening handshake has failed, as soon as it began
// perhaps, the program is given the time to add a listener. mu must be held; it may be released meanwhile.
func (s *Socket) closeListenersLocked() listenerSnapshot[CloseEvent] {
	if _, failed := s.link.(*opening); failed {
		return awaitListenersLocked(s, pickClose)
	}
	onClose := snapshotLocked(s, pickClose)
	if onClose.empty() {
		s.status |= closeUndelivered
	}
	return onClose
}

// replayLocked gives the close event to a listener that was added after it, but in the turn of Accept: when that is
// over, so that it comes after all messages, whose listener may be added later still. mu must be held.
func (s *Socket) replayLocked(entry *listener[CloseEvent], left time.Duration) {
	if g := s.pinnedSocketLocked(); g != nil {
		g.addLateCloseListenerLocked(entry, left)
		return
	}
	event := CloseEvent{s, s.result.Code, s.result.Reason, s.result.WasClean}
	m, pair := s.link.(*memory)
	if !pair {
		time.AfterFunc(left, func() { entry.call(s, event) })
		return
	}
	m.lateListeners = append(m.lateListeners, entry)
	time.AfterFunc(left, m.callLateListeners)
}

// dispatch runs the listeners in order and returns the first panic as an error.
func (a listenerSnapshot[E]) dispatch(s *Socket, event E) (failure error) {
	if a.only != nil {
		return protect(s, a.only, event)
	}
	for l := a.first; l != nil && l.number <= a.added; l = l.next.Load() {
		if err := l.call(s, event); err != nil && failure == nil {
			failure = err
		}
	}
	return failure
}

// call runs the listener, unless it has been removed.
func (l *listener[E]) call(s *Socket, event E) error {
	if l.removed.Load() {
		return nil
	}
	return protect(s, l.fn, event)
}

// panicError is a listener's panic as an error.
type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprintf("edgews: listener panicked: %v", e.value) }

func (e *panicError) Unwrap() error {
	err, _ := e.value.(error)
	return err
}

func protect[E any](s *Socket, fn func(E), event E) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = s.recovered(value)
		}
	}()
	fn(event)
	return nil
}

// recovered logs a listener's panic and returns it as an error. The panicking calls must still be on the stack.
func (s *Socket) recovered(value any) error {
	if !s.isUnlocked() { // a panic in this goroutine would have deferred functions wait for mu
		go panic(fmt.Sprintf("edgews: panic while a socket's mutex was held: %v\n\n%s", value, debug.Stack()))
		select {}
	}
	s.panicLogger().Error("edgews: listener panicked", "panic", value, "stack", string(debug.Stack()))
	return &panicError{value}
}

// lockPatience is how long isUnlocked waits. mu is never held for more than microseconds.
const lockPatience = 5 * time.Second

// isUnlocked reports whether mu is free, or becomes free. If it does not, the panic that has just been recovered came from a function
// that holds mu: a fault of this package, not of a listener. Then the process has to end, because all that uses the socket
// would wait for ever, without a word.
func (s *Socket) isUnlocked() bool {
	locked := make(chan struct{})
	go func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		close(locked)
	}()
	for range lockPatience / time.Second { // more than one timer: the process may have been stopped meanwhile
		select {
		case <-locked:
			return true
		case <-time.After(time.Second):
		}
	}
	return false
}

// panicLogger is where panics go even when nothing else is logged: a swallowed panic is a bug nobody finds.
func (s *Socket) panicLogger() *slog.Logger {
	if logger := s.options().Logger; logger != nil {
		return logger
	}
	return slog.Default()
}
