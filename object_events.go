package edgews

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// do runs fn as an event of the object with that ID, and returns its error. what names the event in logs.
func (n *Namespace) do(ctx context.Context, id ID, what string, fn func(*eventContext, Object) error) error {
	return n.doCall(ctx, id, call{what: what, counted: true}, fn)
}

// doCall is do with entry as the entry of the queue.
func (n *Namespace) doCall(ctx context.Context, id ID, entry call, fn func(*eventContext, Object) error) error {
	for {
		if n.shutdown.currentPhase() == eventsCutOff {
			return ErrShutdown
		}
		if !n.isHome(id) {
			return ErrNotHome
		}
		c := entry
		if err := n.objectFor(id).doCall(ctx, &c, fn); err != errForgotten {
			return err
		}
	}
}

// do queues fn as an event of the object, waits until it has run, and returns its error. With st it runs only with the value of st.
func (o *object) do(ctx context.Context, st *State, what string, fn func(*eventContext, Object) error) error {
	if st != nil {
		if err := o.checkUsable(st); err != nil {
			return err
		}
	}
	return o.doCall(ctx, &call{what: what, st: st, counted: true}, fn)
}

// doCall is do with c as the entry of the queue.
func (o *object) doCall(ctx context.Context, c *call, fn func(*eventContext, Object) error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case ctx.Value(eventContextKey{o}) != nil:
		return o.reentrantError(ctx, c.what)
	}
	c.outside = c.st == nil && ctx.Value(objectContextKey{}) == nil
	var failure error // of the event; it is not read if c ends before the event does
	c.run = func() {
		if failure = ErrShutdown; o.ns.eventsContext.Err() == nil {
			failure = errGoexitInHandler
			o.runEventFor(ctx, c.st, c.what, &failure, fn)
		}
	}
	if err := o.runCall(ctx, c); err != nil {
		return err
	}
	return failure
}

// errGoexitInHandler is the error of an event whose handler has called runtime.Goexit.
var errGoexitInHandler = errors.New("edgews: object's handler ended its goroutine")

// runHandler runs fn as an event for which no goroutine waits: its error is logged.
func (o *object) runHandler(ctx context.Context, what string, fn func(context.Context, Object) error) {
	var failure error
	o.runEvent(ctx, what, &failure, func(e *eventContext, value Object) error {
		err := fn(e, value)
		switch peersFault := errors.Is(err, ErrBadMessage) || errors.Is(err, ErrUnknownType); {
		case err == nil:
		case !peersFault:
			o.ns.logger().Error("edgews: object's handler failed", "namespace", o.ns.name, "object", o.id.String(),
				"handler", what, "error", err, o.socketAttr())
		case o.ns.opts.Logger != nil: // only a Logger that was asked for, or any client could fill the log
			o.ns.opts.Logger.Warn("edgews: message refused", "namespace", o.ns.name, "object", o.id.String(), "error", err,
				o.socketAttr())
		}
		return err
	})
}

// runEvent wakes the object and runs fn with its value. When it returns, failure holds the error, also if fn has ended the goroutine. An
// error of fn itself has not been logged; every other has.
func (o *object) runEvent(ctx context.Context, what string, failure *error, fn func(*eventContext, Object) error) {
	o.runEventFor(ctx, nil, what, failure, fn)
}

// runEventFor is runEvent for the value of st alone; nil: for any value.
func (o *object) runEventFor(ctx context.Context, st *State, what string, failure *error, fn func(*eventContext, Object) error) {
	e := o.newEventContext(ctx)
	defer e.end()
	if o.ns.opts.Cluster != nil && !(o.ns.isHome(o.id) && o.beginHere(e)) {
		o.refusedHere()
		*failure = ErrNotHome
		return
	}
	value, began := o.beginEvent(st, what)
	if !began {
		*failure = ErrAborted
		return
	}
	run := eventRun{o: o, what: what, profile: o.beginProfile(what)}
	defer run.end(failure)
	if value == nil {
		if value, *failure = o.wake(e, st, what); *failure != nil {
			return
		}
	}
	run.handle(e, value, failure, fn)
}

// eventRun is an event from its beginning to its end.
type eventRun struct {
	o       *object
	what    string
	profile eventProfile
	began   time.Duration // when the handler began, if there is an Observer; 0: it has not begun
}

// handle runs the handler with the value, and sets failure. If the handler panics or ends the goroutine, the value is dropped.
func (run *eventRun) handle(e *eventContext, value Object, failure *error, fn func(*eventContext, Object) error) {
	returned := false
	defer func() {
		if !returned {
			*failure = run.o.handlerCrashed(run.what, recover())
		}
	}()
	within, end := e.limited(run.what)
	defer end()
	if run.o.isObserved() {
		run.began = sinceStart()
	}
	err := fn(within, value)
	returned, *failure = true, err
}

// end tells the Observer that the event is over, with that error, and ends what measures it.
func (run *eventRun) end(failure *error) {
	defer run.endMeasuring() // also if the Observer ends the goroutine
	if run.o.isObserved() {
		run.o.observeHandled(run.what, run.began, *failure)
	}
}

func (run *eventRun) endMeasuring() {
	run.profile.end()
	run.o.counter.handlerReturned()
}

// handlerCrashed drops the value whose handler has panicked with cause, or has called runtime.Goexit if cause is nil. It returns the error
// of the event.
func (o *object) handlerCrashed(handler string, cause any) error {
	if cause == http.ErrAbortHandler { // not a fault: this is how net/http cuts a connection
		return http.ErrAbortHandler
	}
	err := errGoexitInHandler
	if cause != nil {
		err = &handlerPanic{o, handler, cause}
	}
	o.ns.logger().Error("edgews: object's handler panicked", "namespace", o.ns.name, "object", o.id.String(),
		"handler", handler, "panic", err.Error(), "stack", string(debug.Stack()), o.socketAttr())
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

// eventContext is the context of an event: the caller's, which also ends when Shutdown cuts. Its values tell to which object the event
// belongs, and whether the event is still running.
type eventContext struct {
	context.Context
	o     *object
	over  atomic.Bool
	lost  atomic.Bool              // the object has got another home
	early atomic.Pointer[earlyEnd] // nil until the handler calls Done
}

// earlyEnd is the context of an event that Shutdown may cancel.
type earlyEnd struct {
	context.Context
	cancel context.CancelCauseFunc
	stop   func() bool // of the context.AfterFunc
}

// mostContexts is how many contexts an object makes at a time at most.
const mostContexts = 32

// newEventContext returns a context for an event. A handler may keep it, so no event gets the context of another one; but an object makes several
// at a time, the more of them the more events its value has had. That is for the events of sockets. A context from a caller has memory of its own: it
// keeps the caller's, which may be that of another object's event. If these were several in one piece, objects that call each other would keep
// all that there ever were.
func (o *object) newEventContext(ctx context.Context) *eventContext {
	if ctx != o.ns.eventsContext {
		return &eventContext{Context: ctx, o: o}
	}
	o.mu.Lock()
	if len(o.contexts) == 0 {
		o.contextsMade = min(max(2*o.contextsMade, 1), mostContexts)
		o.contexts = make([]eventContext, o.contextsMade)
	}
	e := &o.contexts[0]
	o.contexts = o.contexts[1:]
	o.mu.Unlock()
	e.Context, e.o = ctx, o
	return e
}

// Done makes the channel when it is first called: most handlers never do.
func (e *eventContext) Done() <-chan struct{} {
	if c := e.early.Load(); c != nil {
		return c.Done()
	}
	if e.Context == e.o.ns.eventsContext && e.o.ns.opts.Cluster == nil || e.over.Load() {
		return e.Context.Done()
	}
	c := new(earlyEnd)
	c.Context, c.cancel = context.WithCancelCause(e.Context)
	c.stop = context.AfterFunc(e.o.ns.eventsContext, func() { c.cancel(ErrShutdown) })
	if !e.early.CompareAndSwap(nil, c) || e.over.Load() { // another goroutine was faster, or the event has ended meanwhile
		c.end()
	}
	if e.lost.Load() {
		e.early.Load().cancel(ErrNotHome)
	}
	return e.early.Load().Done()
}

// cancel ends the context early, unless the event is over.
func (e *eventContext) cancel(cause error) {
	e.lost.Store(true)
	if c := e.early.Load(); c != nil {
		c.cancel(cause)
	}
}

// Err is nil until Done is closed, or would be.
func (e *eventContext) Err() error {
	if c := e.early.Load(); c != nil {
		return c.Err()
	}
	if err := e.Context.Err(); err != nil || e.over.Load() {
		return err
	}
	if e.lost.Load() {
		return context.Canceled
	}
	return e.o.ns.eventsContext.Err()
}

// end is called when the event is over.
func (e *eventContext) end() {
	e.over.Store(true)
	if e.o.ns.opts.Cluster != nil {
		e.o.endHere(e)
	}
	if c := e.early.Load(); c != nil {
		c.end()
	}
}

func (c *earlyEnd) end() {
	c.stop()
	c.cancel(nil)
}

type (
	eventContextKey  struct{ o *object } // the key of the event of o that is running, if the context belongs to one
	objectContextKey struct{}            // the key of the object that a context belongs to

	innermostEventKey struct{} // the key of the event that a context belongs to, also when it is over
)

func (e *eventContext) Value(key any) any {
	switch key := key.(type) {
	case eventContextKey:
		if key.o == e.o && !e.over.Load() {
			return e
		}
	case objectContextKey:
		return e.o
	case innermostEventKey:
		return e
	case alarmRetryKey: // it belongs to the event of another object, which waits for this one
		return nil
	}
	if c := e.early.Load(); c != nil { // so that context.Cause finds the cause
		return c.Value(key)
	}
	return e.Context.Value(key)
}
