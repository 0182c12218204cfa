package edgews

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/edgews/edgews/internal/park"
)

// State is what an object's value sees of its object: its sockets and settings. The constructor gets it, once for each value. It may be
// kept as long as the value, and its methods may be called from any goroutine.
//
// When the value has been dropped, by hibernation, eviction, a panic, Abort or a commit that failed, the State is of no use any more: methods
// that return an error return ErrAborted (or ErrFenced or ErrShutdown, if that is the reason); WebSockets, AutoResponses and the like return
// nothing; Broadcast reaches no socket; Hold and Abort do nothing; and WaitUntil calls its function with a context that has been cancelled.
// Only ID still works. No method touches, or constructs, the value that comes after.
type State struct {
	o *object

	// Guarded by the object's mu.
	droppedBecause error                            // why the value was dropped; nil: it was not
	background     *backgroundWork                  // nil: none yet
	feeds          map[string]*Feed                 // that the value has made, by name
	drainFuncs     map[*drainListener]func(*Socket) // of listeners that the value has added to sockets that the object has accepted; nil: none
}

// backgroundWork is the work that a value has started with Do and WaitUntil. It is guarded by the object's mu.
type backgroundWork struct {
	valueDropped signal
	running      int             // WaitUntil functions
	ctx          context.Context // of those; nil until the first, and again when none runs
	cancel       context.CancelCauseFunc
}

// backgroundLocked returns the work that the value has started. The object's mu must be held.
func (st *State) backgroundLocked() *backgroundWork {
	if st.background == nil {
		st.background = new(backgroundWork)
	}
	return st.background
}

// isDroppedLocked reports whether the value has been dropped. The object's mu must be held.
func (st *State) isDroppedLocked() bool { return st.o.state != st }

// checkNotDropped returns ErrAborted if the value has been dropped.
func (st *State) checkNotDropped() error {
	st.o.mu.Lock()
	defer st.o.mu.Unlock()
	if st.isDroppedLocked() {
		return ErrAborted
	}
	return nil
}

// dropLocked is called when the value is about to be dropped because of cause. The object's mu must be held.
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

// cancelLocked cancels the context of the WaitUntil functions, if there is one. The object's mu must be held.
func (w *backgroundWork) cancelLocked(cause error) {
	if w.cancel != nil {
		w.cancel(cause)
		w.ctx, w.cancel = nil, nil
	}
}

// The limits of Workers: sockets that an object has accepted, and the longest event timeout.
const (
	maxSockets      = 32768
	maxEventTimeout = 7 * 24 * time.Hour
)

var (
	// ErrTooManySockets: an object accepts at most 32 768 sockets.
	ErrTooManySockets = errors.New("edgews: only 32768 websockets can be accepted on a single object")

	// ErrAborted: the object was reset by State.Abort, or the value to which the State belongs has been dropped.
	ErrAborted = errors.New("edgews: object was reset")

	// ErrShutdown: the namespace is shutting down.
	ErrShutdown = errors.New("edgews: namespace is shutting down")
)

// ID returns the object's ID.
func (st *State) ID() ID { return st.o.id }

// AcceptWebSocket accepts a socket for the object: its messages, its end and its errors become events of the object (MessageHandler,
// CloseHandler, ErrorHandler), which may hibernate between them. Listeners on the socket never run, and it cannot be received from. A
// socket that is accepted with Socket.Accept belongs to a value; one that is accepted here belongs to the object.
//
// Tags are for finding the socket again: at most 10 different ones (ErrTooManyTags) of at most 256 bytes (ErrTagTooLong); repetitions are
// dropped, and "" is a tag. An object accepts 32 768 sockets at a time (ErrTooManySockets). The error is ErrAccepted for a socket that was
// accepted or is connecting, and ErrUsed for one that was given to Respond: of a pair, accept one end and give the other to Respond. With
// an error the socket is as it was.
//
// After an error the caller has to close the socket. A pair ends by itself when it cannot become a connection: when Respond has refused its
// other end, or when the ServeHTTP in which it was accepted returns and its other end was neither given to Respond nor accepted.
// WebSocketClose then gets 1006. If both ends of a pair stay in the process, accept the other end before ServeHTTP returns.
//
// The peer's Close is answered when WebSocketClose has returned, unless WebSocketClose has answered it. AcceptHalfOpen cannot be called
// before AcceptWebSocket, and AcceptWebSocket has no half-open mode. For a socket that has to send for longer than WebSocketClose takes,
// use AcceptHalfOpen instead, with listeners, which are events of the object as well, and keep it awake.
//
// Messages wait in order while the object is busy or is being constructed, up to 64 KiB; then the peer has to wait.
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
	defer s.tellAndUnlock()
	switch {
	case s.phase == phaseUsed:
		return ErrUsed
	case s.isAcceptedLocked():
		return fmt.Errorf("%w: cannot call AcceptWebSocket if the WebSocket was already accepted", ErrAccepted)
	}
	sock := &objectSocket{o: st.o, s: s, atEdge: clusterSocketOf(s) != nil}
	if err := st.register(sock, tags); err != nil {
		return err
	}
	own := s.extraLocked()
	own.objectSocket, own.pinned = sock, nil
	s.countForObjectLocked(st.o)
	s.consumer = toObject
	s.facts |= manualClose
	s.hideRefusalLocked()
	s.acceptLocked(0)
	sock.adoptDrainListenersLocked()
	if s.in != nil && s.in.whole() || s.phase >= phaseFinishing {
		sock.enqueueLocked()
	}
	return nil
}

// register puts sock into the object's registry.
func (st *State) register(sock *objectSocket, tags []string) error {
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
	o.registry.add(sock, tags)
	o.notePairLocked(sock.s)
	return nil
}

// WebSockets returns the sockets that the object has accepted with AcceptWebSocket, oldest first; with tags, those that carry all of them.
// A socket is listed until its WebSocketClose has returned: while it is closing, and within its own WebSocketClose, as in Workers. The
// slice is the caller's.
//
// Deviation: without a tag, Workers list the newest first; and they drop a closing socket as soon as its webSocketClose awaits something.
func (st *State) WebSockets(tags ...string) []*Socket {
	found := st.withTags(tags)
	sockets := make([]*Socket, len(found))
	for i, sock := range found {
		sockets[i] = sock.s
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

// Broadcast sends m to all sockets that the object has accepted; with tags, to those that carry all of them. It returns how many have
// queued it. It does not block: for a socket without room Overflow decides, and a socket that is closing does not take it. m is encoded,
// and compressed, once for all.
func (st *State) Broadcast(m *Prepared, tags ...string) (took int) {
	if m.check() != nil {
		return 0
	}
	b := park.NewBatch()
	defer b.Close()
	for _, to := range st.withTags(tags) {
		if to.s.sendPreparedIn(b, m, true) == nil {
			took++
		}
	}
	return took
}

// BroadcastJSON is Broadcast with v as JSON in a text message. v is encoded once, before BroadcastJSON returns, and not kept. If it cannot
// be encoded, the error is that of [json.Marshal], or ErrInvalidUTF8, and no socket gets anything; otherwise the error is nil, however many
// have queued the message.
func (st *State) BroadcastJSON(v any, tags ...string) (took int, err error) {
	data, err := encodeJSON(v)
	if err != nil {
		return 0, err
	}
	return st.Broadcast(Prepare(Text, data), tags...), nil
}

// SetEventTimeout bounds how long an event of the object may take, from when its handler begins. When the time is over, the context of the
// event ends, and the log says so; nothing else happens. context.Cause returns an error that wraps ErrEventTimeout and
// context.DeadlineExceeded and names the handler and the limit. 0 means no limit, and 7 days is the most.
//
//   - WebSocketMessage, WebSocketClose, WebSocketError: their context ends.
//   - ServeHTTP, also for Stub.Connect: the context of the request ends. That bounds a handler that receives from its socket until the
//     socket ends, too.
//   - The functions Call and Stub.Do: the context of the object's handler, or of the function, ends; the caller's does not.
//   - Alarm: its context ends. Without SetEventTimeout, or if it allows more, NamespaceOptions.AlarmTimeout is the limit.
//   - Suspend: its context ends. Without SetEventTimeout the limit is 10 s.
//   - State.Do: its function has no context of the event, so the limit only shows in the log.
//   - The constructor and listeners are not bounded.
//
// It applies from the next event on; called in the constructor, also to the event that has constructed the value. It survives hibernation
// as long as the object has sockets.
//
// Deviation: Workers bound events of sockets only, and abandon the handler where it waits.
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

// EventTimeout returns what SetEventTimeout has set; 0 means none.
func (st *State) EventTimeout() time.Duration {
	st.o.mu.Lock()
	defer st.o.mu.Unlock()
	if st.isDroppedLocked() {
		return 0
	}
	return st.o.timeout
}

// WaitUntil runs fn in a goroutine of its own, concurrently with the object's events, and keeps the object awake until fn returns. fn
// accesses the object's fields through Do. A panic in fn is logged and drops the object's value, like a panic in a handler.
//
// The context of fn is cancelled when fn should return: with the cause ErrAborted when the value to which the State belongs is dropped, and
// with ErrShutdown by Shutdown, right after that has closed the sockets. If that has happened before, it is cancelled from the start. After
// ErrAborted there is nothing left to do for the value. After ErrShutdown there is time to save something, until the ctx of Shutdown ends:
// Do and Storage work, with [context.WithoutCancel] of fn's context.
func (st *State) WaitUntil(fn func(context.Context)) {
	o, f := st.o, newBackgroundFunc()
	o.mu.Lock()
	was := o.stateLocked()
	if o.backgroundFuncs == nil {
		o.backgroundFuncs = make(map[*backgroundFunc]struct{})
	}
	o.backgroundFuncs[f] = struct{}{}
	st.backgroundLocked().running++
	o.pinnedLocked(was)
	ctx := st.backgroundContextLocked()
	o.mu.Unlock()
	go st.runBackgroundFunc(ctx, f, fn)
}

// backgroundFunc is a WaitUntil function that runs.
type backgroundFunc struct {
	since    time.Time
	callerPC [1]uintptr // where WaitUntil was called
	evicted  bool       // it does not keep the object awake any more. Guarded by the object's mu
}

// newBackgroundFunc is called by WaitUntil.
func newBackgroundFunc() *backgroundFunc {
	f := &backgroundFunc{since: time.Now()}
	runtime.Callers(3, f.callerPC[:])
	return f
}

// caller returns the file and line where WaitUntil was called, or "".
func (f *backgroundFunc) caller() string {
	frame, _ := runtime.CallersFrames(f.callerPC[:]).Next()
	if frame.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", frame.File[strings.LastIndexByte(frame.File, '/')+1:], frame.Line)
}

// backgroundContextLocked returns the context of the value's WaitUntil functions. The object's mu must be held.
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

func (st *State) runBackgroundFunc(ctx context.Context, f *backgroundFunc, fn func(context.Context)) {
	o := st.o
	defer func() {
		if cause := recover(); cause != nil {
			err := &handlerPanic{o, "WaitUntil function (" + f.caller() + ")", cause}
			o.ns.logger().Error("edgews: WaitUntil function panicked", "namespace", o.ns.name, "object", o.id.String(),
				"function", f.caller(), "panic", err.Error(), "stack", string(debug.Stack()))
			o.mu.Lock()
			if !st.isDroppedLocked() {
				o.dropValueLocked(err)
			}
			o.mu.Unlock()
		}
		st.backgroundFuncDone(f)
	}()
	fn(ctx)
}

// backgroundFuncDone is called when a WaitUntil function has returned: it does not keep the object awake any more.
func (st *State) backgroundFuncDone(f *backgroundFunc) {
	o := st.o
	o.mu.Lock()
	defer o.mu.Unlock()
	was := o.stateLocked()
	delete(o.backgroundFuncs, f)
	if f.evicted {
		o.evictedFuncs--
	}
	if st.background.running--; st.background.running == 0 {
		st.background.cancelLocked(context.Canceled)
	}
	o.checkIdleLocked(was)
}

// Do runs fn as an event of the object and returns fn's error. If ctx ends before the object begins with fn, fn never runs and the error is
// ctx.Err(); afterwards Do waits for fn. If the value to which the State belongs is dropped first, fn never runs either, and the error is
// ErrAborted: fn never meets another value than the one that it was written for. The error is ErrOverloaded when
// NamespaceOptions.MaxWaiting requests and calls wait for the object.
//
// In an event of the same object Do could never return: with the context of that event it fails with ErrReentrant. With any other context
// it waits until that one ends, and the object waits with it; after 5 seconds a warning is logged. The same holds in a listener of a socket
// of the object: it is an event, but has no context. An event may access the object's fields directly; a WaitUntil function calls Do with
// its own context.
func (st *State) Do(ctx context.Context, fn func() error) error {
	return st.o.do(ctx, st, "Do", func(*eventContext, Object) error { return fn() })
}

// Abort resets the object: its sockets close with 1011 and the reason, without WebSocketClose, its value is dropped, and the contexts of
// WaitUntil are cancelled. The event that calls Abort goes on to its end; the next event constructs the object again. A nil reason means
// "object was aborted".
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
