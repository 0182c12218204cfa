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
type storageLease struct {
	o         *object
	writeLock chan struct{} // holds a token while somebody opens, commits or releases: one at a time
	gate      outputGate

	updating atomic.Bool // the function of an Update runs that was called with a context of the object

	// Guarded by o.mu.
	store               ObjectStore // nil: not open
	calls               int         // that are under way
	alarmFiring         bool        // the alarm that is stored is the one that is going off
	alarmHandlerRunning bool        // … and its handler runs
	alarmSetMeanwhile   time.Time   // when the alarm is due that was set last; zero: none was
}

// use begins a call, which keeps the session, and o awake, until done. st tells for which value; nil: edgews itself.
func (o *object) acquireStorage(ctx context.Context, st *State) (*storageLease, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := cmp.Or(o.checkUsableLocked(st), ctx.Err()); err != nil {
		return nil, err
	}
	was := o.stateLocked()
	s := o.storage.Load()
	if s == nil {
		s = &storageLease{o: o, writeLock: make(chan struct{}, 1)}
		o.storage.Store(s)
	}
	s.calls++
	o.stateChangedLocked(was)
	return s, nil
}

// usable is usableLocked.
func (o *object) checkUsable(st *State) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.checkUsableLocked(st)
}

// usableLocked says whether the value of st may still use the storage, and call Do. mu must be held.
func (o *object) checkUsableLocked(st *State) error {
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
func (s *storageLease) release() {
	o := s.o
	o.mu.Lock()
	defer o.mu.Unlock()
	was := o.stateLocked()
	s.calls--
	o.checkIdleLocked(was)
}

func (s *storageLease) openStore() ObjectStore {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	return s.store
}

// opened returns what the engine has opened, and has it do so if need be.
func (s *storageLease) openForReading(ctx context.Context) (ObjectStore, error) {
	if store := s.openStore(); store != nil {
		return store, nil
	}
	store, err := s.lockWrites(ctx)
	if err == nil {
		s.unlockWrites()
	}
	return store, err
}

// lock waits for the turn to commit, in which the storage is open.
func (s *storageLease) lockWrites(ctx context.Context) (ObjectStore, error) {
	select {
	case s.writeLock <- struct{}{}:
	default:
		if err := s.waitForWriteLock(ctx); err != nil {
			return nil, err
		}
	}
	if store := s.openStore(); store != nil {
		return store, nil
	}
	store, err := s.open(ctx)
	if err != nil {
		s.unlockWrites()
	}
	return store, err
}

// awaitTurn takes the turn when it is free. It fails with ErrReentrant if it would wait for the Update in which it is called.
func (s *storageLease) waitForWriteLock(ctx context.Context) error {
	if s.updating.Load() && ctx.Value(objectContextKey{}) == s.o && insideUpdate() {
		return fmt.Errorf("%w: what writes inside Storage.Update has to write with its Tx", ErrReentrant)
	}
	timer := time.NewTimer(stallWarning)
	defer timer.Stop()
	for {
		select {
		case s.writeLock <- struct{}{}:
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
var updateFunction = runtime.FuncForPC(reflect.ValueOf((*storageLease).update).Pointer()).Name()

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

func (s *storageLease) unlockWrites() { <-s.writeLock }

func (s *storageLease) open(ctx context.Context) (ObjectStore, error) {
	o := s.o
	store, err := o.ns.opts.Store.Open(ctx, ObjectKey{o.ns.name, o.id}, Fence{Epoch: firstEpoch})
	if err != nil {
		return nil, s.stopIfFenced(fmt.Errorf("edgews: storage cannot be opened: %w", err))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s.store = store
	return store, nil
}

// commitLocked commits b for the value of st, with what is sent meanwhile held back. The turn must be held.
func (s *storageLease) commitLocked(ctx context.Context, st *State, store ObjectStore, b Batch) (err error) {
	if err := s.checkMayCommit(ctx, st); err != nil {
		return err
	}
	s.gate.close()
	err = errEnginePanicked
	defer func() {
		if err != nil && !errors.Is(err, ErrValueTooBig) {
			s.gate.fail()
			err = s.commitFailed(err)
		}
		s.gate.open()
	}()
	err = store.Commit(commitContext{s.o.ns.eventsContext, ctx}, b)
	if err == nil && b.Alarm != nil {
		s.alarmCommitted(b.Alarm.Time)
	}
	return err
}

var errEnginePanicked = errors.New("edgews: storage engine panicked")

// mayCommit says whether a commit may begin: much may have happened while it has waited for its turn.
func (s *storageLease) checkMayCommit(ctx context.Context, st *State) error {
	return cmp.Or(s.o.checkUsable(st), ctx.Err())
}

// commitContext is what a commit runs under: it has the values of the caller's context, but ends with the namespace.
type commitContext struct {
	context.Context
	values context.Context
}

func (c commitContext) Value(key any) any { return c.values.Value(key) }

// failed resets the object after a commit that has failed.
func (s *storageLease) commitFailed(err error) error {
	o := s.o
	if errors.Is(err, ErrFenced) {
		return s.stopIfFenced(err)
	}
	o.ns.logger().Error("edgews: commit failed, object is reset", "namespace", o.ns.name, "object", o.id.String(), "error", err)
	err = fmt.Errorf("edgews: commit failed, and the object was reset: %w", err)
	o.reset(err, storageFailed)
	return err
}

// storageFailed is what peers are told about that.
const storageFailed = "storage failed"

// heed returns the error of an engine, after it has stopped the object for ever if that is what it asks for.
func (s *storageLease) stopIfFenced(err error) error {
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
func (o *object) releaseStorageLocked() {
	s := o.storage.Load()
	switch {
	case s == nil || len(s.writeLock) > 0: // it is being released already
	case s.store == nil:
		o.storage.Store(nil)
	default:
		s.writeLock <- struct{}{} // there is room: no call is under way
		store := s.store
		s.store = nil
		go s.releaseStore(store)
	}
}

func (s *storageLease) releaseStore(store ObjectStore) {
	store.Release()
	o := s.o
	o.mu.Lock()
	defer o.mu.Unlock()
	s.unlockWrites()
	o.checkIdleLocked(o.stateLocked())
}

// awaitRelease waits until nobody uses the storage of an object that rests.
func (o *object) waitForStorageRelease(ctx context.Context) error {
	s := o.storage.Load()
	if s == nil {
		return nil
	}
	select {
	case s.writeLock <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s.unlockWrites()
	o.checkIdleLocked(o.stateLocked()) // the last call may just have ended, and found the turn taken
	return nil
}
