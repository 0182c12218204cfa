package edgews

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// AlarmHandler is called when the object's alarm is due (Storage.SetAlarm), as an event of its own, never before its time
// and never twice at once. Whatever happens to the process, the handler is called until it has returned nil, which
// means: at least once.
//
// If it returns an error or panics, or if the object cannot be constructed, the alarm goes off again after 2 s, then
// after 4, 8, 16, 32 and 64 s; then it is given up, which is logged. An alarm that the handler itself has set stays
// instead, and none goes off again if it has called DeleteAlarm.
type AlarmHandler interface {
	Alarm(ctx context.Context) error
}

const (
	alarmRetryDelay = 2 * time.Second // before the first retry; it doubles
	maxAlarmRetries = 6               // as in Workers
)

// ErrNoAlarmHandler: the object has no method for its alarm to call.
var ErrNoAlarmHandler = errors.New("edgews: object must be an AlarmHandler to have an alarm")

// errNoHandler is the same, when it is too late to tell anybody.
var errAlarmWithoutHandler = errors.New("edgews: object is not an AlarmHandler")

// checkAlarm says whether an alarm can be set to t.
func (o *object) checkAlarm(t time.Time) error {
	switch {
	case !o.mayHandle(handlesAlarms):
		return ErrNoAlarmHandler
	case t.IsZero():
		return errors.New("edgews: alarm set to the zero time; DeleteAlarm removes it")
	case t.Sub(time.UnixMilli(t.UnixMilli())).Abs() > time.Millisecond: // it has wrapped, and would go off at once
		return errors.New("edgews: alarm set to a time that no clock will reach; DeleteAlarm removes it")
	}
	return nil
}

// alarmEntry is what is stored of an object's alarm.
type alarmEntry struct {
	at      time.Time // whole milliseconds; zero: there is none
	retries uint8     // how often it has failed
}

// alarmEntryKey is where. The engine knows the time too, for all objects together.
const alarmEntryKey = "\x00alarm"

// wholeMilli rounds up, so that no alarm is early.
func ceilToMillisecond(t time.Time) time.Time {
	whole := time.UnixMilli(t.UnixMilli())
	if whole.Before(t) {
		whole = whole.Add(time.Millisecond)
	}
	return whole
}

// batch sets the alarm to a.
func (a alarmEntry) batch() Batch {
	if a.at.IsZero() {
		return noAlarm()
	}
	value := binary.BigEndian.AppendUint64(make([]byte, 0, 9), uint64(a.at.UnixMilli()))
	return Batch{Puts: []Entry{{alarmEntryKey, append(value, a.retries)}}, Alarm: &AlarmChange{a.at}}
}

func noAlarm() Batch { return Batch{Deletes: []string{alarmEntryKey}, Alarm: &AlarmChange{}} }

// readAlarm returns the zero entry if no alarm is set.
func readAlarm(ctx context.Context, store ObjectStore) (a alarmEntry, err error) {
	value, err := store.Get(ctx, alarmEntryKey)
	switch {
	case errors.Is(err, ErrKeyNotFound):
		return a, nil
	case err != nil:
		return a, err
	case len(value) != 9:
		return a, fmt.Errorf("edgews: stored alarm has %d bytes instead of 9", len(value))
	}
	return alarmEntry{time.UnixMilli(int64(binary.BigEndian.Uint64(value))), value[8]}, nil
}

// afterFailure returns the alarm that takes the place of one that has failed.
func (a alarmEntry) afterFailure(now time.Time) alarmEntry {
	return alarmEntry{ceilToMillisecond(now.Add(alarmRetryDelay << a.retries)), a.retries + 1}
}

// isHandling reports whether the alarm that is stored is the one of which the handler runs.
func (s *storageLease) isAlarmHandlerRunning() bool {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	return s.alarmFiring && s.alarmHandlerRunning
}

// alarmChanged notes that another alarm has been stored, or none.
func (s *storageLease) alarmCommitted(at time.Time) {
	s.o.mu.Lock()
	s.alarmFiring, s.alarmSetMeanwhile = false, at
	s.o.mu.Unlock()
	if !at.IsZero() {
		s.o.ns.alarms.schedule(at)
	}
}

// alarmTurn is the turn of an alarm.
func (o *object) fireAlarm() {
	entry, ok := o.beginAlarm()
	if !ok {
		return
	}
	failure := errGoexitInHandler
	defer func() { o.finishAlarm(entry, failure) }()
	o.runEvent(o.ns.eventsContext, "Alarm", &failure, func(e *eventContext, value Object) error {
		h, ok := value.(AlarmHandler)
		switch {
		case !ok:
			return errAlarmWithoutHandler
		case !o.setAlarmHandlerRunning(true): // the constructor has set another, or none
			return nil
		}
		defer o.setAlarmHandlerRunning(false)
		o.account(FactAlarm, Usage{Alarms: 1})
		return h.Alarm(e)
	})
}

// alarmRings returns the alarm that goes off, if there is one and it is due.
func (o *object) beginAlarm() (entry alarmEntry, ok bool) {
	n := o.ns
	if n.shutdown.hasBegun() { // it will go off in the next process
		return entry, false
	}
	s, store, err := o.acquireForAlarm()
	if err == nil {
		defer s.release()
		defer s.unlockWrites()
		if entry, err = readAlarm(n.eventsContext, store); err == nil && entry.at.IsZero() {
			err = s.commitLocked(n.eventsContext, nil, store, noAlarm()) // the engine knows of one
		}
	}
	switch {
	case err != nil:
		o.postponeAlarm(err)
	case entry.at.IsZero() || entry.at.After(n.alarms.wallNow()):
		n.alarms.finished(o.id, entry.at)
	default:
		o.mu.Lock()
		s.alarmFiring, s.alarmSetMeanwhile = true, time.Time{}
		o.mu.Unlock()
		return entry, true
	}
	return entry, false
}

// alarmHandling notes that the handler of the alarm that is stored begins, or ends. It returns whether it is still that one.
func (o *object) setAlarmHandlerRunning(begins bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.storage.Load()
	s.alarmHandlerRunning = begins
	return s.alarmFiring
}

// alarmRang removes an alarm that has been handled, or sets it anew if that has failed.
func (o *object) finishAlarm(entry alarmEntry, failure error) {
	n := o.ns
	s, store, err := o.acquireForAlarm()
	if err != nil {
		o.postponeAlarm(err)
		return
	}
	defer s.release()
	defer s.unlockWrites()
	if s.isAlarmFiring() {
		next := o.alarmAfter(entry, failure)
		if err := s.commitLocked(n.eventsContext, nil, store, next.batch()); err != nil {
			o.postponeAlarm(err)
			return
		}
	} else if failure != nil {
		n.logger().Error("edgews: alarm failed; another has been set, or none", "namespace", n.name, "object", o.id.String(), "error", failure)
	}
	n.alarms.finished(o.id, s.newAlarm())
}

// afterAlarm returns the alarm that follows one that has gone off.
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

// own begins to write for edgews itself. The session's unlock and done end it.
func (o *object) acquireForAlarm() (*storageLease, ObjectStore, error) {
	s, err := o.acquireStorage(o.ns.eventsContext, nil)
	if err != nil {
		return nil, nil, err
	}
	store, err := s.lockWrites(o.ns.eventsContext)
	if err != nil {
		s.release()
		return nil, nil, err
	}
	return s, store, nil
}

// alarmStuck leaves an alarm of which the storage does not work for a while, or for ever if it is another's.
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

func (s *storageLease) isAlarmFiring() bool {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	return s.alarmFiring
}

// nextAlarm returns when the alarm is due that was set last, if one was.
func (s *storageLease) newAlarm() time.Time {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	return s.alarmSetMeanwhile
}
