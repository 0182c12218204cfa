package edgews

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// OpenEvent is fired once by a socket from NewWebSocket, when its opening handshake has succeeded. Sockets that are
// open from the start (from NewPair, Upgrade and Dial) do not fire it.
type OpenEvent struct {
	Target *Socket
}

// MessageEvent is fired for each complete message. Its Data is valid until the listener returns.
type MessageEvent struct {
	Target *Socket
	Message
}

// CloseEvent is fired exactly once for every accepted socket and is its last event. Code is the peer's code,
// 1005 if the peer's Close had none, 1006 if the connection was lost, or the code that this side sent when it
// failed the connection (1002, 1007, 1008, 1009, 1011).
type CloseEvent struct {
	Target   *Socket
	Code     StatusCode
	Reason   string
	WasClean bool // both sides sent Close
}

// ErrorEvent is fired at most once, before the close event, if an error ended the socket: a *ProtocolError,
// ErrMessageTooBig, ErrNoPong, a failed write, a listener that panicked.
type ErrorEvent struct {
	Target *Socket
	Err    error
}

// OnOpen adds a listener for the open event; see [Socket.OnMessage].
func (s *Socket) OnOpen(fn func(OpenEvent)) (remove func()) {
	return listenTo(s, pickOpen, fn)
}

// OnMessage adds a listener for messages, like addEventListener("message", fn). A nil fn adds none.
//
// The events of one socket are delivered one at a time, in order, and never inside a call that the listener's own
// goroutine makes. Several listeners run in the order in which they were added; a function that was added twice runs
// twice. remove removes the listener, also during the dispatch of an event. It may be called any number of times, from any
// goroutine. The first event for a listener that is added during the dispatch of an event is the next one.
// Deviation: in Workers a function that is removed and added again during a dispatch still gets the event of that dispatch. Go's
// functions cannot be compared.
//
// A listener may block; it delays only its own socket. If a listener panics, the panic is logged, the
// other listeners still run, and the socket fails with 1011.
//
// Add listeners before Accept or directly after it: a listener that is added more than 10 ms after Accept does not get earlier
// messages. Workers allow the same turn of the event loop for this. Once a receive method has been called, messages go to the
// receive methods and no longer to listeners.
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

// removerOfOnly returns the function that removes the listener s.onMessage, also if it is in the list by then.
func (s *Socket) removerOfOnly() (remove func()) {
	removed := false // guarded by mu
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case removed:
		case s.listeners == nil:
			s.onMessage = nil
		default: // listenersLocked has made it the first in the list
			first := s.listeners.message
			first.removed.Store(true)
			removeLocked(&s.listeners.message, first)
		}
		removed = true
	}
}

// OnClose adds a listener for the close event; see [Socket.OnMessage]. If the close event has already been delivered, the listener
// does not run: use Done and Err. There is one exception: if there was no close listener, one that is added
// within 10 ms after Accept still gets the event.
func (s *Socket) OnClose(fn func(CloseEvent)) (remove func()) {
	return listenTo(s, pickClose, fn)
}

// OnError adds a listener for the error event; see [Socket.OnMessage].
func (s *Socket) OnError(fn func(ErrorEvent)) (remove func()) {
	return listenTo(s, pickError, fn)
}

// listeners holds the listeners of a socket, each list with the oldest first. A socket whose only listener is for messages, which is
// the usual case, has it in onMessage instead.
type listeners struct {
	open    *listener[OpenEvent]
	message *listener[MessageEvent]
	close   *listener[CloseEvent]
	err     *listener[ErrorEvent]
	added   uint32 // the number of listeners that have been added so far
}

func pickOpen(l *listeners) **listener[OpenEvent]       { return &l.open }
func pickMessage(l *listeners) **listener[MessageEvent] { return &l.message }
func pickClose(l *listeners) **listener[CloseEvent]     { return &l.close }
func pickError(l *listeners) **listener[ErrorEvent]     { return &l.err }

// listener is a node of a list. A removed node keeps its next, because a dispatch may have reached it.
type listener[E any] struct {
	fn      func(E)
	next    atomic.Pointer[listener[E]] // changed with the socket's mu held
	number  uint32                      // listeners.added when it was added
	removed atomic.Bool
}

// listenerSnapshot is the listeners that get an event: those that had been added when its dispatch began.
type listenerSnapshot[E any] struct {
	only  func(E)      // not nil: the only listener
	first *listener[E] // the list, of which the nodes up to number added count
	added uint32
}

func (a listenerSnapshot[E]) empty() bool { return a.only == nil && a.first == nil }

// snapshotLocked returns the listeners in the list that pick selects. mu must be held.
func snapshotLocked[E any](s *Socket, pick func(*listeners) **listener[E]) listenerSnapshot[E] {
	if s.listeners == nil {
		return listenerSnapshot[E]{}
	}
	return listenerSnapshot[E]{first: *pick(s.listeners), added: s.listeners.added}
}

// messageListenersLocked returns the listeners that get a message. mu must be held.
func (s *Socket) messageListenersLocked() listenerSnapshot[MessageEvent] {
	if s.onMessage != nil {
		return listenerSnapshot[MessageEvent]{only: s.onMessage}
	}
	return snapshotLocked(s, pickMessage)
}

// listenTo adds fn to the list that pick selects, unless fn is nil.
func listenTo[E any](s *Socket, pick func(*listeners) **listener[E], fn func(E)) (remove func()) {
	if fn == nil {
		return func() {}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return listenLocked(s, pick, &listener[E]{fn: fn})
}

// listenLocked adds entry to the list that pick selects, and returns the function that removes it. mu must be held.
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

// listenersLocked returns the lists, and makes them first if there are none. It moves onMessage to the list. mu must be held.
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

// protect calls fn and returns a panic as an error.
func protect[E any](s *Socket, fn func(E), event E) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = s.recovered(value)
		}
	}()
	fn(event)
	return nil
}

// recovered logs a listener's panic and returns it as an error. It must be called by a deferred function, while the panicking calls are
// still on the stack.
func (s *Socket) recovered(value any) error {
	if !s.isUnlocked() { // a panic in this goroutine would run deferred functions, which would wait for mu
		go panic(fmt.Sprintf("edgews: panic while a socket's mutex was held: %v\n\n%s", value, debug.Stack()))
		select {}
	}
	s.panicLogger().Error("edgews: listener panicked", "panic", value, "stack", string(debug.Stack()), s.logAttr())
	return &panicError{value}
}

// lockPatience is how long isUnlocked waits. A socket's mutex is held for microseconds.
const lockPatience = 5 * time.Second

// isUnlocked reports whether mu is free, or becomes free within lockPatience. If it does not, the recovered panic came from a function
// that holds mu: the fault is in this package, not in a listener. The process must then end, because every other use of the socket
// would wait for ever without any sign of it.
func (s *Socket) isUnlocked() bool {
	locked := make(chan struct{})
	go func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		close(locked)
	}()
	for range lockPatience / time.Second { // several timers, because the process may have been stopped meanwhile
		select {
		case <-locked:
			return true
		case <-time.After(time.Second):
		}
	}
	return false
}

// panicLogger returns the logger for panics. Without Options.Logger it is the default logger, because a panic must not go unnoticed.
func (s *Socket) panicLogger() *slog.Logger {
	return orDefaultLogger(s.options().Logger)
}
