package edgews

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Name returns the name that NewNamespace got.
func (n *Namespace) Name() string { return n.name }

// Tenant returns the tenant that pays for an object: what NamespaceOptions.Tenant says, or "".
func (n *Namespace) Tenant(id ID) string {
	if n.opts.Tenant == nil {
		return ""
	}
	return n.opts.Tenant(id)
}

// Info describes one object, as Objects does. It returns false for an object that is not in memory, and constructs nothing.
func (n *Namespace) Info(id ID) (ObjectInfo, bool) {
	o := n.lookup(id)
	if o == nil {
		return ObjectInfo{}, false
	}
	return o.info()
}

// ExplainObject is Explain for one object. It returns false for an object that is not in memory.
func (n *Namespace) ExplainObject(id ID, p Plan) (Explanation, bool) {
	o := n.lookup(id)
	if o == nil {
		return Explanation{}, false
	}
	return o.explain(p.UnitPrices())
}

// Sockets returns the sockets that an object has accepted with AcceptWebSocket, oldest first, as State.WebSockets does, without waking it.
// There are none if the object is not in memory. The slice is the caller's. Sockets that an object has accepted in another way are among
// the Reasons of ExplainObject.
func (n *Namespace) Sockets(id ID) []*Socket {
	o := n.lookup(id)
	if o == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	sockets := make([]*Socket, len(o.registry.all))
	for i, sock := range o.registry.all {
		sockets[i] = sock.s
	}
	return sockets
}

// AlarmInfo is an alarm that is set.
type AlarmInfo struct {
	ID ID
	At time.Time // when it is due, or was; the next attempt, if it has failed
}

// Alarms returns the alarms of the namespace that are due at until or earlier, the earliest first, at most limit of them; the zero time
// means all. An alarm whose handler is running is among them. Alarms asks the Store, so objects that are not in memory are not left out,
// and it constructs nothing. The errors are those of the Store, ErrShutdown once Shutdown has begun, and ctx.Err().
func (n *Namespace) Alarms(ctx context.Context, until time.Time, limit int) ([]AlarmInfo, error) {
	if limit <= 0 {
		return nil, ctx.Err()
	}
	if until.IsZero() {
		until = endOfTime
	}
	due, err := n.alarms.list(ctx, until, limit)
	if err != nil {
		return nil, err
	}
	alarms := make([]AlarmInfo, len(due))
	for i, d := range due {
		alarms[i] = AlarmInfo{d.ID, d.Time}
	}
	return alarms, nil
}

// Alarm returns the time of the alarm that an object has set, as AlarmInfo.At has it, or the zero time if none is set. It reads the object's
// storage as ScanStorage does, without waking the object, with the same errors and the same effect on Info and Objects.
func (n *Namespace) Alarm(ctx context.Context, id ID) (time.Time, error) {
	if err := n.checkID(id); err != nil {
		return time.Time{}, err
	}
	var alarm alarmEntry
	err := n.inspect(ctx, id, func(ctx context.Context, _ *object, store ObjectStore) (err error) {
		alarm, err = readAlarm(ctx, store)
		return err
	})
	return alarm.at, err
}

// inspect calls read with the storage of an object, which need not be in memory.
func (n *Namespace) inspect(ctx context.Context, id ID, read func(context.Context, *object, ObjectStore) error) error {
	for {
		o := n.objectFor(id)
		err := o.inspect(ctx, func(ctx context.Context, store ObjectStore) error { return read(ctx, o, store) })
		if err != errForgotten {
			return err
		}
	}
}

// ErrNoAlarm: the object has no alarm that could be run.
var ErrNoAlarm = errors.New("edgews: object has no alarm set")

// RunAlarm runs the alarm that an object has set, as an event, as if it were due now: for operators and tests. It wakes the object and waits
// until the handler has returned; if ctx ends before the object has begun with it, the alarm stays as it is. The alarm is then done, or is
// retried if the handler has failed, as if it had gone off by itself; the error of the handler is logged, and RunAlarm returns it.
//
// RunAlarm fails with ErrNoAlarm if none is set, with ErrNoAlarmHandler if the object has no handler for it, with ErrReentrant in an event
// of that object, with ErrInvalidID for an ID of another namespace, and with ErrShutdown once Shutdown has begun.
func (n *Namespace) RunAlarm(ctx context.Context, id ID) error {
	if err := n.checkID(id); err != nil {
		return err
	}
	for {
		if n.shutdown.hasBegun() {
			return ErrShutdown
		}
		o := n.objectFor(id)
		if ctx.Value(eventContextKey{o}) != nil {
			return o.reentrantError(ctx, "RunAlarm")
		}
		failure := errGoexitInHandler
		if ok, err := o.runQueued(ctx, "RunAlarm", func() { o.runSetAlarm(&failure) }); err != nil {
			return err
		} else if ok {
			return failure
		}
	}
}

// ScanStorage returns an iterator over the entries of an object's storage that r selects, as Storage.Scan does, for operators and tests. The
// object need not be in memory: it is neither constructed nor woken, it is not active because of the loop and may hibernate, and a meter
// counts nothing. It may write and be called meanwhile: the loop yields the entries as they were when it began. Reserved keys, under
// which edgews keeps names and alarms, do not show. The entries are the caller's. Afterwards Info and Objects show the object, without a
// value, for about a minute.
//
// An error is the last thing that the iterator yields: ErrInvalidID for an ID of another namespace, ErrInvalidRange, ErrShutdown when
// Shutdown has cut the events, also in the middle of a loop, ctx.Err(), and the errors of the Store. Shutdown waits for the body of a loop.
func (n *Namespace) ScanStorage(ctx context.Context, id ID, r Range) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		err := r.check()
		if err == nil {
			err = n.checkID(id)
		}
		if err != nil {
			yield(Entry{}, err)
			return
		}
		err = n.inspect(ctx, id, func(ctx context.Context, o *object, store ObjectStore) error { return o.scan(ctx, store, r, yield) })
		if err != nil {
			yield(Entry{}, err)
		}
	}
}
