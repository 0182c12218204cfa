package edgews

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// AlarmHandler is called when the object's alarm is due (Storage.SetAlarm), as an event of its own, never before its time and never twice
// at once. It is called until it has returned nil, also after the process has ended and another one uses the Store: at least once.
//
// If it returns an error or panics, or if the object cannot be constructed, the alarm goes off again after 2 s, then after 4, 8, 16, 32 and
// 64 s; then it is dropped, which is logged. If the handler itself has set another alarm, that one takes its place, and if it has called
// DeleteAlarm, none goes off again. AlarmRetry tells how often it has been retried.
//
// The context ends after NamespaceOptions.AlarmTimeout, or after State.SetEventTimeout if that is less.
type AlarmHandler interface {
	Alarm(ctx context.Context) error
}

const (
	alarmRetryDelay = 2 * time.Second // before the first retry; it doubles with each
	maxAlarmRetries = 6               // as in Workers
)

// ErrNoAlarmHandler: an alarm was set for an object that has no Alarm method.
var ErrNoAlarmHandler = errors.New("edgews: object must be an AlarmHandler to have an alarm")

// errAlarmWithoutHandler is the error of an alarm that goes off in an object without a handler. It is logged.
var errAlarmWithoutHandler = errors.New("edgews: object is not an AlarmHandler")

// checkAlarm returns an error if an alarm cannot be set to t.
func (o *object) checkAlarm(t time.Time) error {
	switch {
	case !o.mayHandle(handlesAlarms):
		return ErrNoAlarmHandler
	case t.IsZero():
		return errors.New("edgews: alarm set to the zero time; DeleteAlarm removes it")
	case t.Sub(time.UnixMilli(t.UnixMilli())).Abs() > time.Millisecond: // the milliseconds have wrapped, and the alarm would go off at once
		return errors.New("edgews: alarm set to a time that no clock will reach; DeleteAlarm removes it")
	}
	return nil
}

// alarmEntry is what is stored of an object's alarm, under alarmEntryKey.
type alarmEntry struct {
	at      time.Time // whole milliseconds; zero: no alarm is set
	retries uint8     // how often it has failed
	name    string    // of the object; "": it has none, or one that is not stored
}

// alarmEntryKey is a key of the object's storage. The engine also keeps the time in its index of all alarms, see Store.DueAlarms.
const alarmEntryKey = "\x00alarm"

// alarmEntrySize is the size in bytes of a stored alarm without the name: the time in milliseconds, and the retries.
const alarmEntrySize = 9

// newAlarm returns the alarm that the program sets to t.
func (o *object) newAlarm(t time.Time) alarmEntry {
	return alarmEntry{at: ceilToMillisecond(t), name: o.id.nameToStore()}
}

// ceilToMillisecond rounds up, so that no alarm goes off early.
func ceilToMillisecond(t time.Time) time.Time {
	whole := time.UnixMilli(t.UnixMilli())
	if whole.Before(t) {
		whole = whole.Add(time.Millisecond)
	}
	return whole
}

// batch returns the commit that sets the alarm to a.
func (a alarmEntry) batch() Batch {
	if a.at.IsZero() {
		return noAlarm()
	}
	value := binary.BigEndian.AppendUint64(make([]byte, 0, alarmEntrySize+len(a.name)), uint64(a.at.UnixMilli()))
	value = append(append(value, a.retries), a.name...)
	return Batch{Puts: []Entry{{alarmEntryKey, value}}, Alarm: &AlarmChange{a.at}}
}

// noAlarm returns the commit that removes the alarm.
func noAlarm() Batch { return Batch{Deletes: []string{alarmEntryKey}, Alarm: &AlarmChange{}} }

// readAlarm returns the alarm that is stored; the zero entry if none is set.
func readAlarm(ctx context.Context, store ObjectStore) (a alarmEntry, err error) {
	value, err := store.Get(ctx, alarmEntryKey)
	switch {
	case errors.Is(err, ErrKeyNotFound):
		return a, nil
	case err != nil:
		return a, err
	case len(value) < alarmEntrySize:
		return a, fmt.Errorf("edgews: stored alarm has %d bytes instead of %d", len(value), alarmEntrySize)
	}
	return alarmEntry{time.UnixMilli(int64(binary.BigEndian.Uint64(value))), value[8], string(value[alarmEntrySize:])}, nil
}

// afterFailure returns the next attempt of an alarm that has failed.
func (a alarmEntry) afterFailure(now time.Time) alarmEntry {
	return alarmEntry{ceilToMillisecond(now.Add(alarmRetryDelay << a.retries)), a.retries + 1, a.name}
}

// alarmCommitted is called when a commit has set the object's alarm to at, or has removed it if at is zero.
func (l *storageLease) alarmCommitted(at time.Time) {
	l.o.mu.Lock()
	l.alarmFiring, l.alarmSetMeanwhile = false, at
	l.o.mu.Unlock()
	if !at.IsZero() {
		l.o.ns.alarms.schedule(at)
	}
}

// fireAlarm has the object's alarm go off, if it is due. The object's queue runs it.
func (o *object) fireAlarm() {
	if entry, ok := o.beginAlarm(); ok {
		o.handleAlarm(entry, new(error))
	}
}

// runSetAlarm has the object's alarm go off, due or not. The object's queue runs it. When it returns, failure holds the error, also if the
// handler has ended the goroutine.
func (o *object) runSetAlarm(failure *error) {
	entry, err := o.takeSetAlarm()
	if err != nil {
		*failure = err
		return
	}
	o.handleAlarm(entry, failure)
	if *failure == errAlarmWithoutHandler {
		*failure = ErrNoAlarmHandler
	}
}

// takeSetAlarm returns the stored alarm, which goes off from then on.
func (o *object) takeSetAlarm() (entry alarmEntry, err error) {
	n := o.ns
	if n.shutdown.hasBegun() {
		return entry, ErrShutdown
	}
	lease, store, err := o.lockStorage(n.eventsContext, nil)
	if err != nil {
		return entry, err
	}
	defer lease.release()
	defer lease.unlockWrites()
	if entry, err = readAlarm(n.eventsContext, store); err != nil {
		return entry, lease.stopIfFenced(err)
	}
	if entry.at.IsZero() {
		return entry, ErrNoAlarm
	}
	lease.alarmGoesOff()
	return entry, nil
}

// handleAlarm runs the handler of an alarm that goes off, and then removes the alarm or sets its next attempt. When it returns, failure holds
// the error, also if the handler has ended the goroutine.
func (o *object) handleAlarm(entry alarmEntry, failure *error) {
	*failure = errGoexitInHandler
	defer func() { o.finishAlarm(entry, *failure) }()
	o.runEvent(o.ns.eventsContext, alarmEvent, failure, func(e *eventContext, value Object) error {
		h, ok := value.(AlarmHandler)
		switch {
		case !ok:
			return errAlarmWithoutHandler
		case !o.setAlarmHandlerRunning(true): // the constructor has set another alarm, or has deleted this one
			return nil
		}
		defer o.setAlarmHandlerRunning(false)
		o.bookFact(FactAlarm, Usage{Alarms: 1})
		return h.Alarm(context.WithValue(e, alarmRetryKey{}, int(entry.retries)))
	})
}

// beginAlarm returns the stored alarm if it is due. If none is due, or the storage fails, it tells the scheduler so and returns false.
func (o *object) beginAlarm() (entry alarmEntry, ok bool) {
	n := o.ns
	if n.shutdown.hasBegun() { // it will go off in the next process
		return entry, false
	}
	lease, store, err := o.lockStorage(n.eventsContext, nil)
	if err == nil {
		defer lease.release()
		defer lease.unlockWrites()
		if entry, err = readAlarm(n.eventsContext, store); err == nil && entry.at.IsZero() {
			err = lease.commitLocked(n.eventsContext, nil, store, noAlarm()) // the engine's index has one that the object has not
		}
	}
	switch {
	case err != nil:
		o.postponeAlarm(err)
	case entry.at.IsZero() || entry.at.After(n.alarms.wallNow()):
		n.alarms.finished(o.id, entry.at)
	default:
		lease.alarmGoesOff()
		return entry, true
	}
	return entry, false
}

// alarmGoesOff notes that the alarm that is stored goes off from now on.
func (l *storageLease) alarmGoesOff() {
	l.o.mu.Lock()
	defer l.o.mu.Unlock()
	l.alarmFiring, l.alarmSetMeanwhile = true, time.Time{}
}

// setAlarmHandlerRunning notes that the handler of the stored alarm begins or ends. It returns whether that alarm is still the one that
// goes off.
func (o *object) setAlarmHandlerRunning(running bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	lease := o.storage.Load()
	lease.alarmHandlerRunning = running
	return lease.alarmFiring
}

// finishAlarm removes an alarm that has been handled, or sets its next attempt if failure is not nil. An alarm that was set meanwhile
// stays.
func (o *object) finishAlarm(entry alarmEntry, failure error) {
	n := o.ns
	lease, store, err := o.lockStorage(n.eventsContext, nil)
	if err != nil {
		o.postponeAlarm(err)
		return
	}
	defer lease.release()
	defer lease.unlockWrites()
	if lease.isAlarmFiring() {
		next := o.alarmAfter(entry, failure)
		if err := lease.commitLocked(n.eventsContext, nil, store, next.batch()); err != nil {
			o.postponeAlarm(err)
			return
		}
	} else if failure != nil {
		n.logger().Error("edgews: alarm failed; another has been set, or none", "namespace", n.name, "object", o.id.String(), "error", failure)
	}
	n.alarms.finished(o.id, lease.newAlarm())
}

// alarmAfter returns the alarm that follows one that has gone off: the zero entry unless it is to be retried.
func (o *object) alarmAfter(entry alarmEntry, failure error) (next alarmEntry) {
	if failure == nil {
		return alarmEntry{}
	}
	args := []any{"namespace", o.ns.name, "object", o.id.String(), "error", failure}
	switch {
	case failure == errAlarmWithoutHandler:
		o.ns.logger().Error("edgews: alarm dropped, for which the object has no handler", args...)
	case entry.retries >= maxAlarmRetries:
		o.ns.logger().Error("edgews: alarm dropped after its last retry", args...)
	default:
		next = entry.afterFailure(o.ns.alarms.wallNow())
		o.ns.logger().Error("edgews: alarm failed, and will be retried", append(args, "retry", next.retries, "at", next.at)...)
	}
	return next
}

// postponeAlarm tells the scheduler to leave an alarm alone because the storage has failed with err: for a while, or for ever if the object
// belongs to another owner.
func (o *object) postponeAlarm(err error) {
	n := o.ns
	switch {
	case errors.Is(err, ErrFenced):
		n.alarms.ignoreUntil(o.id, endOfTime)
	case n.shutdown.currentPhase() != eventsCutOff:
		n.logger().Error("edgews: storage does not work for an alarm", "namespace", n.name, "object", o.id.String(), "error", err)
		n.alarms.ignoreUntil(o.id, time.Now().Add(alarmRetryDelay))
	}
}

// isAlarmHandlerRunning reports whether the alarm that is stored is the one whose handler is running.
func (l *storageLease) isAlarmHandlerRunning() bool {
	l.o.mu.Lock()
	defer l.o.mu.Unlock()
	return l.alarmFiring && l.alarmHandlerRunning
}

// isAlarmFiring reports whether the alarm that is stored is the one that is going off.
func (l *storageLease) isAlarmFiring() bool {
	l.o.mu.Lock()
	defer l.o.mu.Unlock()
	return l.alarmFiring
}

// newAlarm returns the time of the alarm that was set while one was going off; zero: none was.
func (l *storageLease) newAlarm() time.Time {
	l.o.mu.Lock()
	defer l.o.mu.Unlock()
	return l.alarmSetMeanwhile
}
