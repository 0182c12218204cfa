package edgews

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// State is what an object's value has of its object: its sockets, its settings. The constructor gets it,
// once for each value. It may be kept as long as the value, and its methods called from any goroutine.
//
// When the value has gone, by hibernation, a panic, Abort or a commit that failed, so has its State: methods that return an
// error return ErrAborted (or ErrFenced or ErrShutdown, if that is why); WebSockets, AutoResponses and the like find
// nothing; Broadcast reaches nobody; Hold and Abort do nothing; and WaitUntil calls its function with a context that has
// been cancelled. Only ID goes on. None of them touches, or makes, the value that comes after.
type State struct {
	o *object

	background *backgroundWork // nil: nothing yet. Guarded by the object's mu
}

// work is what a value has begun with Do and WaitUntil. It is guarded by the object's mu.
type backgroundWork struct {
	valueDropped signal          // the value has gone
	running      int             // WaitUntil functions
	ctx          context.Context // of those; made when the first needs it
	cancel       context.CancelCauseFunc
}

// workLocked returns what the value has begun. The object's mu must be held.
func (st *State) backgroundLocked() *backgroundWork {
	if st.background == nil {
		st.background = new(backgroundWork)
	}
	return st.background
}

// goneLocked reports whether the value has gone. The object's mu must be held.
func (st *State) isDroppedLocked() bool { return st.o.state != st }

// check returns ErrAborted if the value has gone.
func (st *State) checkNotDropped() error {
	st.o.mu.Lock()
	defer st.o.mu.Unlock()
	if st.isDroppedLocked() {
		return ErrAborted
	}
	return nil
}

// endLocked is told that the value is about to go, and why. The object's mu must be held.
func (st *State) dropLocked(cause error) {
	if st.background == nil {
		return
	}
	st.background.valueDropped.broadcast()
	if !errors.Is(cause, ErrAborted) {
		cause = fmt.Errorf("%w: %w", ErrAborted, cause)
	}
	st.background.cancelLocked(cause)
}

// endLocked cancels the context of the WaitUntil functions, if there is one. The object's mu must be held.
func (w *backgroundWork) cancelLocked(cause error) {
	if w.cancel != nil {
		w.cancel(cause)
		w.ctx, w.cancel = nil, nil
	}
}

const (
	maxSockets      = 32768
	maxEventTimeout = 7 * 24 * time.Hour
)

var (
	// ErrTooManySockets: an object accepts at most 32 768 sockets.
	ErrTooManySockets = errors.New("edgews: only 32768 websockets can be accepted on a single object")

	// ErrAborted: the object was reset by State.Abort, or its value has gone; the State belongs to that value.
	ErrAborted = errors.New("edgews: object was reset")

	// ErrShutdown: the namespace is shutting down.
	ErrShutdown = errors.New("edgews: namespace is shutting down")
)

// ID returns the object's ID.
func (st *State) ID() ID { return st.o.id }

// AcceptWebSocket accepts a socket for the object: its messages, its end and its errors become events of the object
// (MessageHandler, CloseHandler, ErrorHandler), which may hibernate meanwhile. Listeners on it never fire, and it
// cannot be received from. Where Socket.Accept makes a socket belong to a value, this makes it belong to the object.
//
// The tags are for finding it again: at most 10 different ones (ErrTooManyTags) of at most 256 bytes (ErrTagTooLong);
// repetitions are dropped, "" is a tag. An object accepts 32 768 sockets at a time (ErrTooManySockets). A socket that
// was accepted, or is connecting, is ErrAccepted; one given to Respond is ErrUsed; of a pair with Respond, give the
// other end. With an error the socket is as it was.
//
// After an error the socket is the caller's to close. A pair ends by itself when nothing can come of it: when Respond has
// refused its other end, or when the ServeHTTP in which it was accepted returns and its other end was neither given to
// Respond nor accepted. WebSocketClose then gets 1006. Of a pair that stays in the process, accept the other end before
// ServeHTTP returns.
//
// The peer's Close is answered when WebSocketClose has returned, if that has not done it. AcceptHalfOpen cannot be used
// before AcceptWebSocket, and there is no half-open mode of it: for a socket that is to go on sending for longer than
// WebSocketClose takes, use AcceptHalfOpen instead of AcceptWebSocket, with listeners, which are events of the object as
// well, and keep it awake.
//
// Messages wait in order while the object is busy or wakes, up to 64 KiB; then the peer has to wait.
//
// Deviation: Workers refuse a socket whose other end was accepted or used first; here the order does not matter.
func (st *State) AcceptWebSocket(s *Socket, tags ...string) error {
	if s == nil {
		return errors.New("edgews: AcceptWebSocket of a nil *Socket")
	}
	tags, err := checkTags(tags)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.is(used):
		return ErrUsed
	case s.is(accepted | connecting):
		return fmt.Errorf("%w: cannot call AcceptWebSocket if the WebSocket was already accepted", ErrAccepted)
	}
	m := &objectSocket{o: st.o, s: s}
	if err := st.enlist(m, tags); err != nil {
		return err
	}
	s.extraLocked().object, s.pinned = m, nil
	s.joinLocked(st.o)
	s.status |= owned | pulling | manualClose
	s.hideRefusalLocked()
	s.acceptLocked(0)
	if s.in != nil && s.in.whole() || s.is(finishing) {
		m.queueLocked()
	}
	return nil
}

// enlist puts m into the roster.
func (st *State) enlist(m *objectSocket, tags []string) error {
	o := st.o
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.ns.shutdown.hasBegun():
		return ErrShutdown
	case st.isDroppedLocked():
		return ErrAborted
	case len(o.registry.all) >= maxSockets:
		return ErrTooManySockets
	}
	o.registry.add(m, tags)
	o.notePairLocked(m.s)
	return nil
}

// WebSockets returns the sockets that the object has accepted, oldest first; with tags, those that carry all of them.
// A socket is among them until its WebSocketClose has returned, also while it is closing, and within its own
// WebSocketClose, as in Workers. The slice is the caller's.
//
// Deviation: Workers list them newest first without a tag, and leave a closing one out as soon as its webSocketClose
// awaits something.
func (st *State) WebSockets(tags ...string) []*Socket {
	found := st.withTags(tags)
	sockets := make([]*Socket, len(found))
	for i, m := range found {
		sockets[i] = m.s
	}
	return sockets
}

func (st *State) withTags(tags []string) []*objectSocket {
	st.o.mu.Lock()
	defer st.o.mu.Unlock()
	if st.isDroppedLocked() {
		return nil
	}
	return st.o.registry.withTags(tags)
}

// Broadcast sends m to all sockets of the object; with tags, to those that carry all of them. It returns how many took
// it. It waits for none: where there is no room the socket's Overflow decides, and a socket that is closing does not
// take it. m is encoded, and compressed, once for all.
func (st *State) Broadcast(m *Prepared, tags ...string) (took int) {
	if m.check() != nil {
		return 0
	}
	for _, to := range st.withTags(tags) {
		if to.s.SendPrepared(m) == nil {
			took++
		}
	}
	return took
}

// SetEventTimeout bounds how long WebSocketMessage, WebSocketClose and WebSocketError may take: then their context is
// cancelled, which is all that happens; listeners have none, and are not bounded. It counts from the next event on, and survives hibernation as long as the object
// has sockets. 0 is no limit, and 7 days is the most.
//
// Deviation: Workers abandon the handler where it waits.
func (st *State) SetEventTimeout(d time.Duration) error {
	if d < 0 || d > maxEventTimeout {
		return fmt.Errorf("edgews: event timeout is %v: it should not exceed %d ms, nor be negative", d, maxEventTimeout.Milliseconds())
	}
	st.o.mu.Lock()
	defer st.o.mu.Unlock()
	if st.isDroppedLocked() {
		return ErrAborted
	}
	st.o.timeout = d
	return nil
}

// EventTimeout returns what SetEventTimeout has set; 0: none.
func (st *State) EventTimeout() time.Duration {
	st.o.mu.Lock()
	defer st.o.mu.Unlock()
	if st.isDroppedLocked() {
		return 0
	}
	return st.o.timeout
}

// eventTimeout returns what SetEventTimeout has set.
func (o *object) eventTimeout() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.timeout
}

// WaitUntil runs fn in a goroutine of its own, beside the object's events, and keeps the object awake until it returns.
// It touches the object's fields through Do. A panic in it is logged and drops the object's value, as one in a handler does.
//
// Its context tells fn to come to its end. It is cancelled with the cause ErrAborted when the value goes to which the State
// belongs, and with ErrShutdown by Shutdown, right after that has closed the sockets; it has been from the start
// if that has happened before. After ErrAborted there is nothing left to do for the value. After ErrShutdown there is time
// to save something, until the ctx of Shutdown ends: Do and Storage work, with [context.WithoutCancel] of fn's context.
func (st *State) WaitUntil(fn func(context.Context)) {
	o, w := st.o, newBackgroundFunc()
	o.mu.Lock()
	was := o.stateLocked()
	if o.backgroundFuncs == nil {
		o.backgroundFuncs = make(map[*backgroundFunc]struct{})
	}
	o.backgroundFuncs[w] = struct{}{}
	st.backgroundLocked().running++
	o.stateChangedLocked(was)
	ctx := st.backgroundContextLocked()
	o.mu.Unlock()
	go st.runBackgroundFunc(ctx, w, fn)
}

// lifetimeLocked returns the context of WaitUntil functions. The object's mu must be held.
func (st *State) backgroundContextLocked() context.Context {
	w := st.backgroundLocked()
	if w.ctx != nil {
		return w.ctx
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(st.o.ns.backgroundContext, objectContextKey{}, st.o))
	if st.isDroppedLocked() {
		cancel(ErrAborted)
	} else {
		w.ctx, w.cancel = ctx, cancel
	}
	return ctx
}

func (st *State) runBackgroundFunc(ctx context.Context, w *backgroundFunc, fn func(context.Context)) {
	o := st.o
	defer func() {
		if cause := recover(); cause != nil {
			err := &handlerPanic{o, "WaitUntil function (" + w.caller() + ")", cause}
			o.ns.logger().Error("edgews: WaitUntil function panicked", "namespace", o.ns.name, "object", o.id.String(),
				"function", w.caller(), "panic", err.Error(), "stack", string(debug.Stack()))
			o.mu.Lock()
			if !st.isDroppedLocked() {
				o.dropValueLocked(err)
			}
			o.mu.Unlock()
		}
		st.backgroundFuncDone(w)
	}()
	fn(ctx)
}

// worked lets go of what one WaitUntil function held.
func (st *State) backgroundFuncDone(w *backgroundFunc) {
	o := st.o
	o.mu.Lock()
	defer o.mu.Unlock()
	was := o.stateLocked()
	delete(o.backgroundFuncs, w)
	if st.background.running--; st.background.running == 0 {
		st.background.cancelLocked(context.Canceled)
	}
	o.checkIdleLocked(was)
}

// Do runs fn as an event of the object, when its turn comes, and returns fn's error. If ctx ends before fn's turn comes,
// fn never runs and the error is ctx.Err(); afterwards Do waits for fn. If the value goes first to which the State belongs,
// fn never runs either and the error is ErrAborted: fn never meets another value than the one that it was written for. When
// as many wait for the object as NamespaceOptions.MaxWaiting lets, the error is ErrOverloaded.
//
// From inside an event of the same object Do could never return: with the context of that event it fails with
// ErrReentrant instead. With any other context it waits until that one ends, and the object with it; after 5 seconds the log
// says so. So it does in a listener of a socket of the object, which is an event that has no context. Within an event
// the fields are the caller's anyway; the context of WaitUntil is the one for Do.
func (st *State) Do(ctx context.Context, fn func() error) error {
	return st.o.do(ctx, st, "Do", func(*eventContext, Object) error { return fn() })
}

// Abort resets the object: its sockets close with 1011 and the reason, without WebSocketClose, its value is
// dropped, and the contexts of WaitUntil are cancelled. The event that calls it goes on to its
// end; the next one constructs the object again. A nil reason is "object was aborted".
//
// Deviation: Workers cut the connections without a Close.
func (st *State) Abort(reason error) {
	if reason == nil {
		reason = errors.New("object was aborted")
	}
	if st.o.resetValueOf(st, fmt.Errorf("%w: %w", ErrAborted, reason), reason.Error()) {
		st.o.ns.logger().Warn("edgews: object aborted", "namespace", st.o.ns.name, "object", st.o.id.String(), "reason", reason)
	}
}
