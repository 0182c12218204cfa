package edgews

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"sync/atomic"
	"time"
)

// session is the storage of an object while it is in use: from the first call until the object has no value and nothing
// to do.
type session struct {
	o    *object
	turn chan struct{} // holds a token while somebody opens, commits or releases: one at a time
	gate gate

	updating atomic.Bool // the function of an Update runs that was called with a context of the object

	// Guarded by o.mu.
	store    ObjectStore // nil: not open
	calls    int         // that are under way
	ringing  bool        // the alarm that is stored is the one that is going off
	handling bool        // … and its handler runs
	next     time.Time   // when the alarm is due that was set last; zero: none was
}

// use begins a call, which keeps the session, and o awake, until done. st tells for which value; nil: edgews itself.
func (o *object) use(ctx context.Context, st *State) (*session, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := cmp.Or(o.usableLocked(st), ctx.Err()); err != nil {
		return nil, err
	}
	was := o.stateLocked()
	s := o.session.Load()
	if s == nil {
		s = &session{o: o, turn: make(chan struct{}, 1)}
		o.session.Store(s)
	}
	s.calls++
	o.stateChangedLocked(was)
	return s, nil
}

// usable is usableLocked.
func (o *object) usable(st *State) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.usableLocked(st)
}

// usableLocked says whether the value of st may still use the storage, and call Do. mu must be held.
func (o *object) usableLocked(st *State) error {
	switch {
	case o.fenced:
		return ErrFenced
	case o.ns.shutdown.currentPhase() == eventsCutOff:
		return ErrShutdown
	case st != nil && st.isDroppedLocked():
		return ErrAborted
	}
	return nil
}

// done ends a call.
func (s *session) done() {
	o := s.o
	o.mu.Lock()
	defer o.mu.Unlock()
	was := o.stateLocked()
	s.calls--
	o.checkIdleLocked(was)
}

func (s *session) current() ObjectStore {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	return s.store
}

// opened returns what the engine has opened, and has it do so if need be.
func (s *session) opened(ctx context.Context) (ObjectStore, error) {
	if store := s.current(); store != nil {
		return store, nil
	}
	store, err := s.lock(ctx)
	if err == nil {
		s.unlock()
	}
	return store, err
}

// lock waits for the turn to commit, in which the storage is open.
func (s *session) lock(ctx context.Context) (ObjectStore, error) {
	select {
	case s.turn <- struct{}{}:
	default:
		if err := s.awaitTurn(ctx); err != nil {
			return nil, err
		}
	}
	if store := s.current(); store != nil {
		return store, nil
	}
	store, err := s.open(ctx)
	if err != nil {
		s.unlock()
	}
	return store, err
}

// awaitTurn takes the turn when it is free. It fails with ErrReentrant if it would wait for the Update in which it is called.
func (s *session) awaitTurn(ctx context.Context) error {
	if s.updating.Load() && ctx.Value(objectContextKey{}) == s.o && insideUpdate() {
		return fmt.Errorf("%w: what writes inside Storage.Update has to write with its Tx", ErrReentrant)
	}
	timer := time.NewTimer(stallWarning)
	defer timer.Stop()
	for {
		select {
		case s.turn <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			s.o.ns.logger().Warn("edgews: storage is busy: a commit or an Update takes long, or waits for what waits for it",
				"namespace", s.o.ns.name, "object", s.o.id.String(), "for", stallWarning, "updating", s.updating.Load())
		}
	}
}

// updateFunction is how a stack names the caller of the functions of Updates.
var updateFunction = runtime.FuncForPC(reflect.ValueOf((*session).update).Pointer()).Name()

// insideUpdate reports whether the function of an Update has called, at most a hundred calls above. Contexts do not tell:
// two goroutines of one event may well write at the same time.
func insideUpdate() bool {
	var stack [100]uintptr
	frames := runtime.CallersFrames(stack[:runtime.Callers(2, stack[:])])
	for {
		frame, more := frames.Next()
		if frame.Function == updateFunction {
			return true
		}
		if !more {
			return false
		}
	}
}

func (s *session) unlock() { <-s.turn }

func (s *session) open(ctx context.Context) (ObjectStore, error) {
	o := s.o
	store, err := o.ns.opts.Store.Open(ctx, ObjectKey{o.ns.name, o.id}, Fence{Epoch: firstEpoch})
	if err != nil {
		return nil, s.heed(fmt.Errorf("edgews: storage cannot be opened: %w", err))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s.store = store
	return store, nil
}

// commitLocked commits b for the value of st, with what is sent meanwhile held back. The turn must be held.
func (s *session) commitLocked(ctx context.Context, st *State, store ObjectStore, b Batch) (err error) {
	if err := s.mayCommit(ctx, st); err != nil {
		return err
	}
	s.gate.shut()
	err = errEnginePanicked
	defer func() {
		if err != nil && !errors.Is(err, ErrValueTooBig) {
			s.gate.breakUp()
			err = s.failed(err)
		}
		s.gate.open()
	}()
	err = store.Commit(commitContext{s.o.ns.eventsContext, ctx}, b)
	if err == nil && b.Alarm != nil {
		s.alarmChanged(b.Alarm.Time)
	}
	return err
}

var errEnginePanicked = errors.New("edgews: storage engine panicked")

// mayCommit says whether a commit may begin: much may have happened while it has waited for its turn.
func (s *session) mayCommit(ctx context.Context, st *State) error {
	return cmp.Or(s.o.usable(st), ctx.Err())
}

// commitContext is what a commit runs under: it has the values of the caller's context, but ends with the namespace.
type commitContext struct {
	context.Context
	values context.Context
}

func (c commitContext) Value(key any) any { return c.values.Value(key) }

// failed resets the object after a commit that has failed.
func (s *session) failed(err error) error {
	o := s.o
	if errors.Is(err, ErrFenced) {
		return s.heed(err)
	}
	o.ns.logger().Error("edgews: commit failed, object is reset", "namespace", o.ns.name, "object", o.id.String(), "error", err)
	err = fmt.Errorf("edgews: commit failed, and the object was reset: %w", err)
	o.reset(err, storageFailed)
	return err
}

// storageFailed is what peers are told about that.
const storageFailed = "storage failed"

// heed returns the error of an engine, after it has stopped the object for ever if that is what it asks for.
func (s *session) heed(err error) error {
	if !errors.Is(err, ErrFenced) {
		return err
	}
	o := s.o
	o.mu.Lock()
	first := !o.fenced
	o.fenced = true
	o.mu.Unlock()
	if first {
		o.ns.logger().Error("edgews: object belongs to a newer owner, and stops", "namespace", o.ns.name, "object", o.id.String())
		o.reset(err, "object has moved")
	}
	return err
}

// releaseLocked gives the storage of an object that rests without a value back to the engine. mu must be held.
func (o *object) releaseLocked() {
	s := o.session.Load()
	switch {
	case s == nil || len(s.turn) > 0: // it is being released already
	case s.store == nil:
		o.session.Store(nil)
	default:
		s.turn <- struct{}{} // there is room: no call is under way
		store := s.store
		s.store = nil
		go s.release(store)
	}
}

func (s *session) release(store ObjectStore) {
	store.Release()
	o := s.o
	o.mu.Lock()
	defer o.mu.Unlock()
	s.unlock()
	o.checkIdleLocked(o.stateLocked())
}

// awaitRelease waits until nobody uses the storage of an object that rests.
func (o *object) awaitRelease(ctx context.Context) error {
	s := o.session.Load()
	if s == nil {
		return nil
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s.unlock()
	o.checkIdleLocked(o.stateLocked()) // the last call may just have ended, and found the turn taken
	return nil
}
