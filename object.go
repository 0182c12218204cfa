package edgews

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// object is what a namespace knows of one object: its sockets and settings always, its value while it is awake. Events
// wait in a queue; a goroutine that runs them is there only while there are any.
type object struct {
	ns            *Namespace
	id            ID
	autoResponses atomic.Pointer[autoResponses]
	tab           *tab  // nil: nobody counts; immutable, what is in it is guarded by mu
	used          Usage // by the object and its sockets, as far as it is booked. Guarded by the meter's mu

	storage atomic.Pointer[storageLease] // nil: its storage is not in use. It is changed with mu held

	mu sync.Mutex // below the mu of sockets; no I/O and no user code under it

	// Guarded by mu.
	queue           fifo[queuedEvent]
	running         bool // a goroutine takes the turns, or puts the object to sleep
	eventRunning    bool // … and one of them is an event
	forgotten       bool // the namespace has forgotten it
	fenced          bool // another owner has it: it has stopped for ever
	warned          bool // the log has said that the turn takes long
	handlers        handlerSet
	value           Object // nil while hibernated
	state           *State // of value, or of the construction that is going on
	registry        socketRegistry
	waitingCalls    int32                        // calls in the queue that are still wanted
	abandonedCalls  int32                        // … and calls that nobody wants any more
	eventsBegun     uint32                       // counts the turns
	timeout         time.Duration                // SetEventTimeout
	backgroundFuncs map[*backgroundFunc]struct{} // WaitUntil functions that run
	current         currentEvent
	pinned          map[*Socket]*pinnedSocket
	inRequest       bool      // the event is a request
	pairs           []*Socket // ends of pairs that were accepted meanwhile, and whose other ends were neither accepted nor used
	stateSince      time.Time // when it got into its present state
	idleTimerAt     time.Time // when the clock looks after it; zero: it does not
	quiet           signal    // nothing is left to do, or to keep
}

// task is what waits for a turn: a socket, of which the first message or the end is next, or a call.
type queuedEvent struct {
	socket eventSource
	call   *call
}

// eventSource is a socket of an object: a *member or a *guest.
type eventSource interface {
	// dequeuedLocked: it does not wait for a turn any more. The object's mu is held.
	dequeuedLocked()
	// turn delivers what is next.
	deliverNext()
}

// abilities says what a value handles, so that what nobody wants wakes nobody.
type handlerSet uint8

const (
	handlersKnown handlerSet = 1 << iota
	handlesMessages
	handlesCloses
	handlesErrors
	handlesAlarms
)

func handlersOf(value Object) handlerSet {
	can := handlersKnown
	if _, ok := value.(MessageHandler); ok {
		can |= handlesMessages
	}
	if _, ok := value.(CloseHandler); ok {
		can |= handlesCloses
	}
	if _, ok := value.(ErrorHandler); ok {
		can |= handlesErrors
	}
	if _, ok := value.(AlarmHandler); ok {
		can |= handlesAlarms
	}
	return can
}

// pushLocked queues t and sees to it that somebody takes the turns. mu must be held.
func (o *object) enqueueLocked(t queuedEvent) {
	o.queue.push(t)
	if !o.running {
		o.running = true
		go o.run()
	}
}

// run takes turns until nothing waits for one.
func (o *object) run() {
	over := false
	defer func() {
		if !over { // a handler has called runtime.Goexit, as failing tests do
			go o.run()
		}
	}()
	for o.runNext() {
	}
	over = true
}

func (o *object) runNext() bool {
	o.mu.Lock()
	if o.queue.len() == 0 {
		was := o.stateLocked()
		o.running, o.eventRunning = false, false
		o.checkIdleLocked(was)
		o.mu.Unlock()
		return false
	}
	t := o.queue.pop()
	o.eventsBegun++
	o.warned = false
	switch {
	case t.socket != nil:
		t.socket.dequeuedLocked()
	case !o.beginCallLocked(t.call):
		t.call = nil
	}
	o.mu.Unlock()
	if t.socket != nil {
		t.socket.deliverNext()
	} else if t.call != nil {
		defer close(t.call.done)
		t.call.run()
	}
	return true
}

// do runs fn as an event of the object with that ID and returns its error. what says what the event is.
func (n *Namespace) do(ctx context.Context, id ID, what string, fn func(*eventContext, Object) error) error {
	for {
		if n.shutdown.currentPhase() == eventsCutOff {
			return ErrShutdown
		}
		if err := n.objectFor(id).do(ctx, nil, what, fn); err != errForgotten {
			return err
		}
	}
}

// do runs fn as an event of the object and returns its error. With st it does so only as long as the value of st is there.
func (o *object) do(ctx context.Context, st *State, what string, fn func(*eventContext, Object) error) error {
	if st != nil {
		if err := o.checkUsable(st); err != nil {
			return err
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case ctx.Value(eventContextKey{o}) != nil:
		return ErrReentrant
	}
	var failure error
	c := &call{what: what, st: st, counted: true, run: func() {
		if failure = ErrShutdown; o.ns.eventsContext.Err() == nil {
			failure = errGoexitInHandler
			o.runEventFor(ctx, st, what, &failure, fn)
		}
	}}
	if err := o.runCall(ctx, c); err != nil {
		return err
	}
	return failure
}

// errGone is the error of an event whose handler has called runtime.Goexit.
var errGoexitInHandler = errors.New("edgews: object's handler ended its goroutine")

// eventContext is the context of an event: the caller's, which also ends when Shutdown cuts. It knows the object, and
// whether the event is still running.
type eventContext struct {
	context.Context
	o     *object
	over  atomic.Bool
	early atomic.Pointer[earlyEnd] // nil until the handler asks for Done
}

// cutContext is the context of an event with what ends it early.
type earlyEnd struct {
	context.Context
	cancel context.CancelCauseFunc
	stop   func() bool
}

// Done is made when it is first asked for: most handlers never do.
func (e *eventContext) Done() <-chan struct{} {
	if c := e.early.Load(); c != nil {
		return c.Done()
	}
	if e.Context == e.o.ns.eventsContext || e.over.Load() {
		return e.Context.Done()
	}
	c := new(earlyEnd)
	c.Context, c.cancel = context.WithCancelCause(e.Context)
	c.stop = context.AfterFunc(e.o.ns.eventsContext, func() { c.cancel(ErrShutdown) })
	if !e.early.CompareAndSwap(nil, c) || e.over.Load() { // another goroutine was faster, or the event has ended meanwhile
		c.end()
	}
	return e.early.Load().Done()
}

// Err is nil until Done is closed, or would be.
func (e *eventContext) Err() error {
	if c := e.early.Load(); c != nil {
		return c.Err()
	}
	if err := e.Context.Err(); err != nil || e.over.Load() {
		return err
	}
	return e.o.ns.eventsContext.Err()
}

// end is called when the event is over.
func (e *eventContext) end() {
	e.over.Store(true)
	if c := e.early.Load(); c != nil {
		c.end()
	}
}

func (c *earlyEnd) end() {
	c.stop()
	c.cancel(nil)
}

type (
	eventContextKey  struct{ o *object } // the key of the event of o that is running, if the context is of one
	objectContextKey struct{}            // the key of the object that a context belongs to
)

func (e *eventContext) Value(key any) any {
	switch key := key.(type) {
	case eventContextKey:
		if key.o == e.o && !e.over.Load() {
			return e
		}
	case objectContextKey:
		return e.o
	}
	if c := e.early.Load(); c != nil { // so that context.Cause finds the cause
		return c.Value(key)
	}
	return e.Context.Value(key)
}

// event wakes the object and runs fn with its value. The error is in failure when it is over, also when fn has ended the
// goroutine; it has been logged, unless it is fn's own.
func (o *object) runEvent(ctx context.Context, what string, failure *error, fn func(*eventContext, Object) error) {
	o.runEventFor(ctx, nil, what, failure, fn)
}

// eventFor is event for the value of st alone; nil: for whichever is there.
func (o *object) runEventFor(ctx context.Context, st *State, what string, failure *error, fn func(*eventContext, Object) error) {
	e := &eventContext{Context: ctx, o: o}
	defer e.end()
	if !o.beginEvent(st, what) {
		*failure = ErrAborted
		return
	}
	if o.tab != nil {
		defer o.tab.leave()
	}
	value, err := o.wake(e, st)
	if err != nil {
		*failure = err
		return
	}
	returned := false
	defer func() {
		if returned {
			return
		}
		*failure = o.crashed(what, recover())
	}()
	err = fn(e, value)
	returned, *failure = true, err
}

// crashed drops a value of which that handler has panicked, or ended its goroutine.
func (o *object) crashed(handler string, cause any) error {
	if cause == http.ErrAbortHandler { // no fault, but net/http's way to cut a connection
		return http.ErrAbortHandler
	}
	err := errGoexitInHandler
	if cause != nil {
		err = &handlerPanic{o, handler, cause}
	}
	o.ns.logger().Error("edgews: object's handler panicked", "namespace", o.ns.name, "object", o.id.String(),
		"handler", handler, "panic", err.Error(), "stack", string(debug.Stack()))
	o.mu.Lock()
	o.dropValueLocked(err)
	o.mu.Unlock()
	return err
}

// handlerPanic is the panic of an object's handler as an error.
type handlerPanic struct {
	o       *object
	handler string
	value   any
}

func (e *handlerPanic) Error() string {
	return fmt.Sprintf("edgews: %s of object %s in namespace %q panicked: %v", e.handler, e.o.id, e.o.ns.name, e.value)
}

func (e *handlerPanic) Unwrap() error {
	err, _ := e.value.(error)
	return err
}

// dropValueLocked drops the value, if there is one, and cancels the contexts of the work that it has started. cause says
// why. mu must be held.
func (o *object) dropValueLocked(cause error) {
	if o.state != nil {
		o.state.dropLocked(cause)
	}
	o.value, o.state = nil, nil
}

// begin notes that the turn is an event, and with it that the object is active. It returns false, and notes nothing, if
// the event is for the value of st and that has gone.
func (o *object) beginEvent(st *State, what string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if st != nil && o.state != st {
		return false
	}
	was := o.stateLocked()
	o.eventRunning = true
	o.stateChangedLocked(was)
	o.current = currentEvent{what, o.tab.enter()}
	return true
}

// turnedLocked notes the time if the object is not in the state any more in which it was. This is where intervals in
// which it is active begin and end. mu must be held.
func (o *object) stateChangedLocked(was ObjectState) {
	if is := o.stateLocked(); is != was {
		o.stateSince = time.Now()
		o.tab.turnedLocked(was, is, o.stateSince)
	}
}

// wake returns the value, which it constructs if there is none, unless only that of old will do. Only one turn runs at a
// time, so it happens once.
func (o *object) wake(e *eventContext, old *State) (Object, error) {
	o.mu.Lock()
	value, fenced, aborted := o.value, o.fenced, old != nil && o.state != old
	var st *State
	if value == nil && !fenced && !aborted {
		st = &State{o: o}
		o.state = st
	}
	o.mu.Unlock()
	switch {
	case fenced:
		return nil, ErrFenced
	case aborted:
		return nil, ErrAborted
	case value != nil:
		return value, nil
	}
	value, err := o.construct(e, st)
	o.mu.Lock()
	aborted = o.state != st
	if err == nil && !aborted {
		o.value, o.handlers = value, handlersOf(value)
	}
	o.mu.Unlock()
	switch {
	case err == nil && aborted:
		return nil, ErrAborted
	case err != nil:
		o.ns.logger().Error("edgews: object cannot be constructed", "namespace", o.ns.name, "object", o.id.String(), "error", err)
		o.reset(fmt.Errorf("object cannot be constructed: %w", err), "object cannot be constructed")
		return nil, err
	}
	return value, nil
}

// construct calls the constructor.
func (o *object) construct(e *eventContext, st *State) (value Object, err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		cause := recover()
		err = o.crashed("constructor", cause)
		if cause == nil { // the goroutine is ending: what wake does with an error happens here
			o.reset(err, "object cannot be constructed")
		}
	}()
	value, err = o.ns.construct(e, st)
	returned = true
	if err == nil && value == nil {
		err = errors.New("edgews: constructor returned neither an object nor an error")
	}
	return value, err
}

// notice runs fn as an event that nobody waits for: the error is logged and changes nothing.
func (o *object) runHandler(ctx context.Context, what string, fn func(context.Context, Object) error) (failure error) {
	o.runEvent(ctx, what, &failure, func(e *eventContext, value Object) error {
		err := fn(e, value)
		switch peersFault := errors.Is(err, ErrBadMessage) || errors.Is(err, ErrUnknownType); {
		case err == nil:
		case !peersFault:
			o.ns.logger().Error("edgews: object's handler failed", "namespace", o.ns.name, "object", o.id.String(),
				"handler", what, "error", err)
		case o.ns.opts.Logger != nil: // or any client could fill the log
			o.ns.opts.Logger.Warn("edgews: message refused", "namespace", o.ns.name, "object", o.id.String(), "error", err)
		}
		return err
	})
	return failure
}

// wants says whether the object's value handles that, as far as is known.
func (o *object) mayHandle(a handlerSet) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.handlers&handlersKnown == 0 || o.handlers&a != 0
}

// stateLocked says what of the object is in memory. mu must be held.
func (o *object) stateLocked() ObjectState {
	switch {
	case o.eventRunning || o.isPinnedLocked():
		return ObjectActive
	case o.value != nil:
		return ObjectIdle
	}
	return ObjectHibernated
}

// info describes the object, if it is still there.
func (o *object) info() (ObjectInfo, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return ObjectInfo{o.id, o.stateLocked(), o.stateSince, len(o.registry.all), o.pinsLocked()}, !o.forgotten
}
