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

// storageLease is the storage of an object while it is in use: from the first call until the object has no value and nothing to do. Then
// the storage goes back to the engine.
type storageLease struct {
	o         *object
	writeLock chan struct{} // has a token while one goroutine opens, commits or releases; a channel, because waiting for it ends with a context
	gate      outputGate
	tracker   *sizeTracker // nil: no meter has needed it. Guarded by writeLock

	nameStored bool // the object's name is stored under nameKey. Guarded by writeLock

	updating atomic.Bool   // the function of an Update runs that was called with a context of the object
	commits  atomic.Uint64 // goes up when a commit begins and when it ends: odd while one is under way

	// Guarded by o.mu.
	store               ObjectStore // nil: not open
	calls               int         // that are under way
	inspections         int         // loops over Namespace.ScanStorage that are under way: the object may hibernate, but the storage stays open
	alarmFiring         bool        // the alarm that is stored is the one that is going off
	alarmHandlerRunning bool        // its handler runs
	alarmSetMeanwhile   time.Time   // when the alarm is due that was set last since one went off; zero: none was
}

// acquireStorage begins a call, which keeps the lease, and o awake, until release. It is for the value of st; nil: for edgews itself.
func (o *object) acquireStorage(ctx context.Context, st *State) (*storageLease, error) {
	over := ctx.Err() // without mu: it is the program's code
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := cmp.Or(o.checkUsableLocked(st), over); err != nil {
		return nil, err
	}
	was := o.stateLocked()
	l := o.storageLeaseLocked()
	l.calls++
	o.stateChangedLocked(was)
	return l, nil
}

// storageLeaseLocked returns the lease of the storage. mu must be held.
func (o *object) storageLeaseLocked() *storageLease {
	l := o.storage.Load()
	if l == nil {
		l = &storageLease{o: o, writeLock: make(chan struct{}, 1)}
		o.storage.Store(l)
	}
	return l
}

// lockStorage is acquireStorage for a call that writes: it also opens the storage and takes its write lock. The lease's unlockWrites and
// release end the call.
func (o *object) lockStorage(ctx context.Context, st *State) (*storageLease, ObjectStore, error) {
	lease, err := o.acquireStorage(ctx, st)
	if err != nil {
		return nil, nil, err
	}
	store, err := lease.lockWrites(ctx)
	if err != nil {
		lease.release()
		return nil, nil, err
	}
	return lease, store, nil
}

// release ends a call.
func (l *storageLease) release() {
	o := l.o
	o.mu.Lock()
	defer o.mu.Unlock()
	was := o.stateLocked()
	l.calls--
	o.checkIdleLocked(was)
}

// checkUsable is checkUsableLocked for callers that do not hold mu.
func (o *object) checkUsable(st *State) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.checkUsableLocked(st)
}

// checkUsableLocked returns an error if the value of st may not use the storage and call Do any more; nil: if edgews itself may not. mu
// must be held.
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

// openStore returns what the engine has opened, or nil.
func (l *storageLease) openStore() ObjectStore {
	l.o.mu.Lock()
	defer l.o.mu.Unlock()
	return l.store
}

// openForReading returns what the engine has opened. It has the engine open the storage if that has not been done.
func (l *storageLease) openForReading(ctx context.Context) (ObjectStore, error) {
	if store := l.openStore(); store != nil {
		return store, nil
	}
	store, err := l.lockWrites(ctx)
	if err == nil {
		l.unlockWrites()
	}
	return store, err
}

// getMany is GetMany of an engine, also if it has none. Commits are held off only if one has come in between: inside an Update, which has
// the write lock, none does.
func (l *storageLease) getMany(ctx context.Context, store ObjectStore, keys []string) (map[string][]byte, error) {
	if m, ok := store.(ManyGetter); ok {
		return m.GetMany(ctx, keys)
	}
	before := l.commits.Load()
	if underWay := before%2 == 1; !underWay {
		values, err := getEach(ctx, store, keys)
		if err != nil || l.commits.Load() == before {
			return values, err
		}
	}
	store, err := l.lockWrites(ctx)
	if err != nil {
		return nil, err
	}
	defer l.unlockWrites()
	return getEach(ctx, store, keys)
}

// getEach gets the values of the keys that exist, one after the other.
func getEach(ctx context.Context, store ObjectStore, keys []string) (map[string][]byte, error) {
	values := make(map[string][]byte, len(keys))
	for _, key := range keys {
		switch value, err := store.Get(ctx, key); {
		case err == nil:
			values[key] = value
		case !errors.Is(err, ErrKeyNotFound):
			return nil, err
		}
	}
	return values, nil
}

// lockWrites takes the write lock and opens the storage if need be. With an error the lock is free.
func (l *storageLease) lockWrites(ctx context.Context) (ObjectStore, error) {
	select {
	case l.writeLock <- struct{}{}:
	default:
		if err := l.waitForWriteLock(ctx); err != nil {
			return nil, err
		}
	}
	if store := l.openStore(); store != nil {
		return store, nil
	}
	store, err := l.openLocked(ctx)
	if err != nil {
		l.unlockWrites()
	}
	return store, err
}

// waitForWriteLock takes the write lock when it is free. It fails with ErrReentrant if the function of the Update that has it waits for
// this call.
func (l *storageLease) waitForWriteLock(ctx context.Context) error {
	if l.updating.Load() && ctx.Value(objectContextKey{}) == l.o && insideUpdate() {
		return fmt.Errorf("%w: what writes inside Storage.Update has to write with its Tx", ErrReentrant)
	}
	timer := time.NewTimer(stallWarning)
	defer timer.Stop()
	for {
		select {
		case l.writeLock <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			l.o.ns.logger().Warn("edgews: storage is busy: a commit or an Update takes long, or waits for what waits for it",
				"namespace", l.o.ns.name, "object", l.o.id.String(), "for", stallWarning, "updating", l.updating.Load())
		}
	}
}

// updateFunction is the name of storageLease.updateLocked in a stack trace.
var updateFunction = runtime.FuncForPC(reflect.ValueOf((*storageLease).updateLocked).Pointer()).Name()

// insideUpdate reports whether storageLease.updateLocked is among the hundred innermost calls of this goroutine. A context cannot tell: two
// goroutines of one event may well write at the same time.
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

func (l *storageLease) unlockWrites() { <-l.writeLock }

// openLocked has the engine open the storage. The write lock must be held.
func (l *storageLease) openLocked(ctx context.Context) (ObjectStore, error) {
	o := l.o
	store, err := o.ns.opts.Store.Open(ctx, ObjectKey{o.ns.name, o.id}, Fence{Epoch: firstEpoch})
	if err != nil {
		return nil, l.stopIfFenced(fmt.Errorf("edgews: storage cannot be opened: %w", err))
	}
	if err := l.readNameLocked(ctx, store); err != nil {
		store.Release()
		return nil, l.stopIfFenced(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	l.store = store
	return store, nil
}

// commitLocked commits b for the value of st, or for edgews itself if st is nil. What the object sends meanwhile is held back. The write
// lock must be held.
func (l *storageLease) commitLocked(ctx context.Context, st *State, store ObjectStore, b Batch) (err error) {
	if err := l.checkMayCommit(ctx, st); err != nil {
		return err
	}
	var commitCtx context.Context = commitContext{l.o.ns.eventsContext, ctx}
	var used batchUsage
	if l.o.counter != nil {
		if used, err = l.usageOfLocked(commitCtx, store, &b, st != nil); err != nil {
			return err
		}
	}
	b = l.withNameLocked(b)
	b, marked := l.markLocked(ctx, b)
	l.gate.close()
	l.commits.Add(1)
	began := sinceStart()
	err = errEnginePanicked
	defer func() {
		l.commits.Add(1)
		l.o.observeCommit(&b, began, err)
		if l.o.counter != nil {
			l.batchDoneLocked(&used, err)
		}
		if err != nil && !errors.Is(err, ErrValueTooBig) {
			l.gate.fail()
			err = l.commitFailed(err)
		}
		l.gate.open()
	}()
	err = store.Commit(commitCtx, b)
	if err != nil {
		return err
	}
	l.nameCommittedLocked(b)
	if marked != nil {
		marked()
	}
	if b.Alarm != nil {
		l.alarmCommitted(b.Alarm.Time)
	}
	return nil
}

var errEnginePanicked = errors.New("edgews: storage engine panicked")

// checkMayCommit returns an error if a commit may not begin any more, because of what has happened while it waited for the write lock.
func (l *storageLease) checkMayCommit(ctx context.Context, st *State) error {
	return cmp.Or(l.o.checkUsable(st), ctx.Err())
}

// commitContext is the context of a commit: it has the values of the caller's context, but ends with the namespace.
type commitContext struct {
	context.Context
	values context.Context
}

func (c commitContext) Value(key any) any { return c.values.Value(key) }

// commitFailed resets the object, whose value believes what is not stored. It returns the error of the commit.
func (l *storageLease) commitFailed(err error) error {
	o := l.o
	if errors.Is(err, ErrFenced) {
		return l.stopIfFenced(err)
	}
	o.ns.logger().Error("edgews: commit failed, object is reset", "namespace", o.ns.name, "object", o.id.String(), "error", err)
	err = fmt.Errorf("edgews: commit failed, and the object was reset: %w", err)
	o.reset(err, storageFailed)
	return err
}

// storageFailed is the reason with which sockets close when a commit has failed.
const storageFailed = "storage failed"

// stopIfFenced returns err, which an engine has returned. If it is ErrFenced, the object stops for ever first.
func (l *storageLease) stopIfFenced(err error) error {
	if !errors.Is(err, ErrFenced) {
		return err
	}
	o := l.o
	o.mu.Lock()
	first := !o.fenced
	o.fenced = true
	o.mu.Unlock()
	if first {
		o.ns.logger().Error("edgews: object belongs to a newer owner, and stops", "namespace", o.ns.name, "object", o.id.String())
		if o.ns.opts.Cluster != nil { // it may come back
			o.moved(err)
		} else {
			o.reset(err, movedReason)
		}
	}
	return err
}

// releaseStorageLocked gives the storage of an object without a value and with nothing to do back to the engine. mu must be held.
func (o *object) releaseStorageLocked() {
	l := o.storage.Load()
	switch {
	case l == nil || len(l.writeLock) > 0: // it is being released already
	case l.inspections > 0: // the end of the last one calls again
	case l.store == nil:
		o.storage.Store(nil)
	default:
		l.writeLock <- struct{}{} // does not block: no call is under way
		store := l.store
		l.store = nil
		go l.releaseStoreAndUnlock(store)
	}
}

// releaseStoreAndUnlock calls the engine without the mu of the object. The write lock must be held; it is released.
func (l *storageLease) releaseStoreAndUnlock(store ObjectStore) {
	l.countStoredLocked(store)
	l.tracker = nil
	store.Release()
	o := l.o
	o.mu.Lock()
	defer o.mu.Unlock()
	l.unlockWrites()
	o.checkIdleLocked(o.stateLocked())
}

// waitForStorageRelease waits until no call and no release uses the storage of an object that has nothing to do. No new calls begin.
func (o *object) waitForStorageRelease(ctx context.Context) error {
	if err := o.waitForInspections(ctx); err != nil {
		return err
	}
	if o.isStorageInUse() { // by a call that began after quiesce and before Shutdown cut
		if _, err := o.quiesce(ctx); err != nil {
			return err
		}
	}
	l := o.storage.Load()
	if l == nil {
		return nil
	}
	select {
	case l.writeLock <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	l.unlockWrites()
	o.checkIdleLocked(o.stateLocked()) // the last call may have ended just now, and found the write lock taken
	return nil
}
