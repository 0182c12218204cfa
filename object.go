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
	ns   *Namespace
	id   ID
	auto atomic.Pointer[autoResponses]
	tab  *tab  // nil: nobody counts; immutable, what is in it is guarded by mu
	used Usage // by the object and its sockets, as far as it is booked. Guarded by the meter's mu

	session atomic.Pointer[session] // nil: its storage is not in use. It is changed with mu held

	mu sync.Mutex // below the mu of sockets; no I/O and no user code under it

	// Guarded by mu.
	queue    fifo[task]
	running  bool // a goroutine takes the turns, or puts the object to sleep
	busy     bool // … and one of them is an event
	gone     bool // the namespace has forgotten it
	fenced   bool // another owner has it: it has stopped for ever
	handles  abilities
	value    Object // nil while hibernated
	state    *State // of value, or of the construction that is going on
	conns    roster
	limit    time.Duration        // SetEventTimeout
	workers  map[*worker]struct{} // WaitUntil functions that run
	doing    doing
	guests   map[*Socket]*guest
	since    time.Time // when it got into its present state
	dueAt    time.Time // when the clock looks after it; zero: it does not
	quiet    signal    // nothing is left to do, or to keep
	cancel   context.CancelCauseFunc
	lifetime context.Context // of WaitUntil functions; made when the first needs it
}

// task is what waits for a turn: a socket, of which the first message or the end is next, or a call.
type task struct {
	conn *member
	call *call
}

// call is a turn that somebody waits for.
type call struct {
	run     func()
	claimed atomic.Bool // by the turn, or by a caller that has given up
	done    chan struct{}
}

// abilities says what a value handles, so that what nobody wants wakes nobody.
type abilities uint8

const (
	knownAbilities abilities = 1 << iota
	takesMessages
	takesCloses
	takesErrors
	takesAlarms
)

func abilitiesOf(value Object) abilities {
	can := knownAbilities
	if _, ok := value.(MessageHandler); ok {
		can |= takesMessages
	}
	if _, ok := value.(CloseHandler); ok {
		can |= takesCloses
	}
	if _, ok := value.(ErrorHandler); ok {
		can |= takesErrors
	}
	if _, ok := value.(AlarmHandler); ok {
		can |= takesAlarms
	}
	return can
}

// pushLocked queues t and sees to it that somebody takes the turns. mu must be held.
func (o *object) pushLocked(t task) {
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
	for o.turn() {
	}
	over = true
}

func (o *object) turn() bool {
	o.mu.Lock()
	if o.queue.len() == 0 {
		was := o.stateLocked()
		o.running, o.busy = false, false
		o.restLocked(was)
		o.mu.Unlock()
		return false
	}
	t := o.queue.pop()
	if t.conn != nil {
		t.conn.queued = false
	}
	o.mu.Unlock()
	if t.conn != nil {
		t.conn.turn()
	} else if !t.call.claimed.Swap(true) {
		defer close(t.call.done)
		t.call.run()
	}
	return true
}

// await queues run as a turn and waits until it is over. If ctx ends before the turn comes, it never comes. It returns
// false for an object that the namespace has forgotten.
func (o *object) await(ctx context.Context, run func()) (ok bool, err error) {
	c := &call{run: run, done: make(chan struct{})}
	o.mu.Lock()
	if o.gone {
		o.mu.Unlock()
		return false, nil
	}
	o.pushLocked(task{call: c})
	o.mu.Unlock()
	select {
	case <-c.done:
		return true, nil
	case <-ctx.Done():
	}
	if !c.claimed.Swap(true) {
		return true, ctx.Err()
	}
	<-c.done
	return true, nil
}

// do runs fn as an event of the object with that ID and returns its error. what says what the event is.
func (n *Namespace) do(ctx context.Context, id ID, what string, fn func(*eventContext, Object) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for {
		if n.closing.at() == cutOff {
			return ErrShutdown
		}
		o := n.object(id)
		if ctx.Value(eventOf{o}) != nil {
			return ErrReentrant
		}
		var failure error
		ok, err := o.await(ctx, func() {
			if failure = ErrShutdown; n.ctx.Err() == nil {
				failure = errGone
				o.event(ctx, what, &failure, fn)
			}
		})
		switch {
		case !ok:
			continue
		case err != nil:
			return err
		}
		return failure
	}
}

// errGone is the error of an event whose handler has called runtime.Goexit.
var errGone = errors.New("edgews: object's handler ended its goroutine")

// eventContext is the context of an event. It knows the object, and whether the event is still running.
type eventContext struct {
	context.Context
	o    *object
	over atomic.Bool
}

type (
	eventOf  struct{ o *object } // the key of the event of o that is running, if the context is of one
	objectOf struct{}            // the key of the object that a context belongs to
)

func (e *eventContext) Value(key any) any {
	switch key := key.(type) {
	case eventOf:
		if key.o == e.o && !e.over.Load() {
			return e
		}
	case objectOf:
		return e.o
	}
	return e.Context.Value(key)
}

// event wakes the object and runs fn with its value. The error is in failure when it is over, also when fn has ended the
// goroutine; it has been logged, unless it is fn's own.
func (o *object) event(ctx context.Context, what string, failure *error, fn func(*eventContext, Object) error) {
	e := &eventContext{Context: ctx, o: o}
	defer e.over.Store(true)
	o.begin(what)
	if o.tab != nil {
		defer o.tab.leave()
	}
	value, err := o.wake(e)
	if err != nil {
		*failure = err
		return
	}
	returned := false
	defer func() {
		if returned {
			return
		}
		*failure = o.crashed(recover())
	}()
	err = fn(e, value)
	returned, *failure = true, err
}

// crashed drops a value that has panicked, or ended its goroutine.
func (o *object) crashed(cause any) error {
	if cause == http.ErrAbortHandler { // no fault, but net/http's way to cut a connection
		return http.ErrAbortHandler
	}
	err := errGone
	if cause != nil {
		err = &panicError{cause}
	}
	o.ns.logger().Error("edgews: object's handler panicked", "namespace", o.ns.name, "object", o.id.String(),
		"panic", err.Error(), "stack", string(debug.Stack()))
	o.mu.Lock()
	o.value, o.state = nil, nil
	o.mu.Unlock()
	return err
}

// begin notes that the turn is an event, and with it that the object is active.
func (o *object) begin(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	was := o.stateLocked()
	o.busy = true
	o.turnedLocked(was)
	o.doing = doing{what, o.tab.enter()}
}

// turnedLocked notes the time if the object is not in the state any more in which it was. This is where intervals in
// which it is active begin and end. mu must be held.
func (o *object) turnedLocked(was ObjectState) {
	if is := o.stateLocked(); is != was {
		o.since = time.Now()
		o.tab.turnedLocked(was, is, o.since)
	}
}

// wake returns the value, which it constructs if there is none. Only one turn runs at a time, so it happens once.
func (o *object) wake(e *eventContext) (Object, error) {
	o.mu.Lock()
	value, fenced := o.value, o.fenced
	var st *State
	if value == nil && !fenced {
		st = &State{o: o}
		o.state = st
	}
	o.mu.Unlock()
	switch {
	case fenced:
		return nil, ErrFenced
	case value != nil:
		return value, nil
	}
	value, err := o.construct(e, st)
	o.mu.Lock()
	aborted := o.state != st
	if err == nil && !aborted {
		o.value, o.handles = value, abilitiesOf(value)
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
		err = o.crashed(cause)
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
func (o *object) notice(ctx context.Context, what string, fn func(context.Context, Object) error) (failure error) {
	o.event(ctx, what, &failure, func(e *eventContext, value Object) error {
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
func (o *object) wants(a abilities) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.handles&knownAbilities == 0 || o.handles&a != 0
}

// stateLocked says what of the object is in memory. mu must be held.
func (o *object) stateLocked() ObjectState {
	switch {
	case o.busy || o.pinnedLocked():
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
	return ObjectInfo{o.id, o.stateLocked(), o.since, len(o.conns.all), o.pinsLocked()}, !o.gone
}
