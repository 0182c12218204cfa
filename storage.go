package edgews

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"
)

// Storage is what an object keeps permanently: values under keys, and an alarm. It outlives hibernation, and also the process if the
// namespace has a Store that does.
//
// Keys are strings of 1 to 2 048 bytes (ErrInvalidKey), ordered by their bytes; keys that begin with a zero byte are reserved. Values have
// at most 2 MiB (ErrValueTooBig). Neither error changes anything.
//
// Each method that writes is one commit. When it returns nil, what it has written survives a crash at any later moment. When ctx ends
// before the commit has begun, the error is ctx.Err() and nothing has happened; a commit that has begun is not interrupted. The commits of
// an object run one after the other, in the order of the calls. Reading does not wait for commits, and sees what has been committed.
//
// If the engine cannot commit, the object's value believes what is not stored. So the call returns an error, and the object is reset as by
// State.Abort: its sockets close with 1011, its value is dropped, and the next event constructs it from what is stored.
//
// Output is withheld until the commit succeeds: while a commit is under way, what is sent on sockets that the object has accepted with
// AcceptWebSocket, a Close included, is held back; sending still does not block. It leaves, in order, when the commit is done, and is
// dropped if the commit fails. Answers to requests are not held back: the handler that writes one has waited for its own commits, and
// commits of WaitUntil functions at the same time do not concern it. Namespace.Publish waits, as it says there. Auto-responses are not held back either, except that they stay behind
// the messages before them.
//
// A Storage belongs to the value whose State it comes from. When that value has been dropped all methods return ErrAborted; once the
// namespace has been shut down they return ErrShutdown. They may be called from any goroutine; a call that is under way keeps the object
// awake.
//
// Deviation: in Workers a write need not be awaited, and everything that follows it waits instead, answers to requests included. Here a
// write is durable when it returns.
type Storage struct{ st *State }

// The limits are those of Durable Objects, in bytes: of keys the one for all of them, of values the one for those with SQLite.
const (
	maxKey   = 2 << 10
	maxValue = 2 << 20
	maxKeys  = 128 // of one GetMany
)

var (
	// ErrInvalidKey: storage does not take a key; the message says why.
	ErrInvalidKey = errors.New("edgews: invalid storage key")

	// ErrValueTooBig: storage does not take a value of that size. An engine that takes less than 2 MiB, or not as much in one commit,
	// returns it too, and nothing has happened.
	ErrValueTooBig = errors.New("edgews: value is too big for storage")

	// ErrTooManyKeys: GetMany does not take that many keys.
	ErrTooManyKeys = errors.New("edgews: too many keys for one GetMany")
)

// Storage returns the object's storage. It is opened when it is first used, and costs nothing before.
func (st *State) Storage() *Storage { return &Storage{st} }

// Get returns the value of key, or ErrKeyNotFound. The value is the caller's.
func (st *Storage) Get(ctx context.Context, key string) ([]byte, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	lease, store, err := st.beginRead(ctx)
	if err != nil {
		return nil, err
	}
	defer lease.release()
	value, err := store.Get(ctx, key)
	lease.o.countGet(value, err)
	return value, lease.stopIfFenced(err)
}

// Put sets the value of key. It does not retain value.
func (st *Storage) Put(ctx context.Context, key string, value []byte) error {
	if err := checkEntry(key, value); err != nil {
		return err
	}
	return st.commit(ctx, Batch{Puts: []Entry{{key, value}}})
}

// Delete removes key. It is not an error if there is no such key.
func (st *Storage) Delete(ctx context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	return st.commit(ctx, Batch{Deletes: []string{key}})
}

// GetMany returns the values of those of the keys that are in storage, as they were at one moment: no commit comes in between. A key that is
// not in storage is not in the map, and a key that is given twice counts twice. The map and the values are the caller's; the map is never
// nil unless there is an error. More than 128 keys, as many as in Durable Objects, are ErrTooManyKeys; see Scan for more.
func (st *Storage) GetMany(ctx context.Context, keys ...string) (map[string][]byte, error) {
	if err := checkKeys(keys); err != nil {
		return nil, err
	}
	lease, store, err := st.beginRead(ctx)
	if err != nil {
		return nil, err
	}
	defer lease.release()
	values, err := lease.getMany(ctx, store, keys)
	lease.o.countGetMany(keys, values, err)
	return values, lease.stopIfFenced(err)
}

// List returns an iterator over the entries whose keys begin with prefix, in key order. It is Scan with Range{Prefix: prefix}.
func (st *Storage) List(ctx context.Context, prefix string) iter.Seq2[Entry, error] {
	return st.Scan(ctx, Range{Prefix: prefix})
}

// Scan returns an iterator over the entries that r selects, as they were when the loop began. An error is the last thing that it yields; it
// is ErrInvalidRange if r contradicts itself. The entries are the caller's, and the loop may write. Each loop over the iterator reads anew.
// Reserved keys do not show, and do not count for the limit.
func (st *Storage) Scan(ctx context.Context, r Range) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := r.check(); err != nil {
			yield(Entry{}, err)
			return
		}
		lease, store, err := st.beginRead(ctx)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer lease.release()
		s := storageScan{lease: lease, yield: yield}
		defer lease.o.countScan(&s.count)
		store.Scan(ctx, r.withoutReserved())(s.yieldOne)
	}
}

// storageScan is one loop over a Storage.Scan.
type storageScan struct {
	lease *storageLease
	yield func(Entry, error) bool
	count scanCount
}

// yieldOne yields e or err, and reports whether to go on.
func (s *storageScan) yieldOne(e Entry, err error) bool {
	if err != nil {
		s.count.failed = true
		s.yield(e, s.lease.stopIfFenced(err))
		return false
	}
	s.count.add(e)
	return s.yield(e, nil)
}

// Update runs fn, and then commits everything that fn has done with tx. If fn returns an error or panics, nothing is committed; Update
// returns fn's error. What fn reads with tx does not change while it runs, because other writers of the object wait until Update returns.
//
// For the same reason fn must write with tx only: Put, Update and the like on a Storage of the same object would wait for the Update that
// waits for them. With a context of the object, which events and WaitUntil functions have, they fail with ErrReentrant; with another
// context they wait until that ends, and a warning is logged after 5 seconds.
func (st *Storage) Update(ctx context.Context, fn func(tx *Tx) error) error {
	return st.updateThen(ctx, fn, func(bool) {})
}

// updateThen is Update, and tells settled whether it has committed before another writer of the object has its turn.
func (st *Storage) updateThen(ctx context.Context, fn func(tx *Tx) error, settled func(committed bool)) error {
	lease, store, err := st.st.o.lockStorage(ctx, st.st)
	if err != nil {
		return err
	}
	defer lease.release()
	defer lease.unlockWrites()
	committed := false
	defer func() { settled(committed) }()
	tx := &Tx{ctx: ctx, o: st.st.o, store: store}
	defer tx.end()
	if err := lease.updateLocked(ctx, tx, fn); err != nil {
		return err
	}
	err = lease.commitLocked(ctx, st.st, store, tx.batch())
	committed = err == nil
	return err
}

// updateLocked calls fn, and sets updating meanwhile. The write lock must be held.
func (l *storageLease) updateLocked(ctx context.Context, tx *Tx, fn func(*Tx) error) error {
	if ctx.Value(objectContextKey{}) == l.o {
		l.updating.Store(true)
		defer l.updating.Store(false)
	}
	return fn(tx)
}

// DeleteAll removes all entries, and the alarm.
func (st *Storage) DeleteAll(ctx context.Context) error {
	return st.commit(ctx, Batch{DeleteAll: true, Alarm: &AlarmChange{}})
}

// SetAlarm sets the time at which AlarmHandler is called, in place of the one that was set before. It is rounded up to a millisecond. A
// time in the past means at once; a time that milliseconds cannot count is an error. For an object without an AlarmHandler the error is
// ErrNoAlarmHandler.
func (st *Storage) SetAlarm(ctx context.Context, t time.Time) error {
	if err := st.st.o.checkAlarm(t); err != nil {
		return err
	}
	return st.commit(ctx, st.st.o.newAlarm(t).batch())
}

// Alarm returns when the next alarm is due, and the zero time if none is set. While the handler runs, the alarm that has called it counts
// as not set, but one that the handler has set meanwhile counts.
func (st *Storage) Alarm(ctx context.Context) (time.Time, error) {
	lease, store, err := st.beginRead(ctx)
	if err != nil {
		return time.Time{}, err
	}
	defer lease.release()
	if lease.isAlarmHandlerRunning() {
		return time.Time{}, nil
	}
	entry, err := readAlarm(ctx, store)
	return entry.at, lease.stopIfFenced(err)
}

// DeleteAlarm removes the alarm. Called in the alarm's handler, it means that this alarm is not retried.
func (st *Storage) DeleteAlarm(ctx context.Context) error {
	return st.commit(ctx, noAlarm())
}

// beginRead opens the storage for reading. The lease's release ends it.
func (st *Storage) beginRead(ctx context.Context) (*storageLease, ObjectStore, error) {
	lease, err := st.st.o.acquireStorage(ctx, st.st)
	if err != nil {
		return nil, nil, err
	}
	store, err := lease.openForReading(ctx)
	if err != nil {
		lease.release()
		return nil, nil, err
	}
	return lease, store, nil
}

func (st *Storage) commit(ctx context.Context, b Batch) error {
	lease, store, err := st.st.o.lockStorage(ctx, st.st)
	if err != nil {
		return err
	}
	defer lease.release()
	defer lease.unlockWrites()
	return lease.commitLocked(ctx, st.st, store, b)
}

// isReserved reports whether a key is one that edgews uses itself.
func isReserved(key string) bool { return strings.HasPrefix(key, "\x00") }

func checkKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidKey)
	case len(key) > maxKey:
		return fmt.Errorf("%w: it has %d bytes; the limit is %d", ErrInvalidKey, len(key), maxKey)
	case isReserved(key):
		return fmt.Errorf("%w: %q begins with a zero byte, which is reserved", ErrInvalidKey, key)
	}
	return nil
}

func checkKeys(keys []string) error {
	if len(keys) > maxKeys {
		return fmt.Errorf("%w: they are %d; the limit is %d", ErrTooManyKeys, len(keys), maxKeys)
	}
	for _, key := range keys {
		if err := checkKey(key); err != nil {
			return err
		}
	}
	return nil
}

func checkEntry(key string, value []byte) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if len(value) > maxValue {
		return fmt.Errorf("%w: that of %q has %d bytes; the limit is %d", ErrValueTooBig, key, len(value), maxValue)
	}
	return nil
}
