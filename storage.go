package edgews

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"
)

// Storage is what an object keeps for good: values under keys, and an alarm. It is there again when the object has
// hibernated, and when the process has ended, if the namespace has a Store that outlives it.
//
// Keys are strings of 1 to 2 048 bytes (ErrInvalidKey), ordered by their bytes; those that begin with a zero byte are
// reserved. Values have at most 2 MiB (ErrValueTooBig). An error of this kind changes nothing.
//
// Each method that writes is one commit. When it returns nil, what it has written is there after a crash at any later
// moment; when ctx ends before the commit has begun, the error is ctx.Err() and nothing has happened; once it has begun
// it goes on to its end. The commits of an object come one after the other, in the order of the calls. Reading waits
// for nobody and sees what has been committed.
//
// If the engine cannot commit, the object believes what is not stored. Therefore it is reset as by State.Abort, besides
// the error that the call returns: its sockets close with 1011, its value is dropped, and the next event starts anew
// from what is stored.
//
// Nobody hears of what may never have happened: while a commit is under way, what is sent on the sockets that the
// object has accepted with AcceptWebSocket, a Close included, is held back; sending still does not wait. It leaves,
// in order, when the commit is done, and never if that fails. An answer to a request is not held back: the handler that
// writes it has waited for its own commits, and what WaitUntil functions commit beside it is not its business. Nor are
// auto-responses, except that they stay behind the messages before them.
//
// A Storage belongs to the value whose State it comes from. When that has been dropped all methods return ErrAborted,
// and ErrShutdown once the namespace has been shut down. They may be called from any goroutine; one that is under way
// keeps the object awake.
//
// Deviation: in Workers a write need not be waited for, and everything that follows it waits instead, answers to requests
// included. Here a write is durable when it returns.
type Storage struct{ st *State }

// The limits are those of Durable Objects: keys as they have always been, values as of those with SQLite.
const (
	maxKey   = 2 << 10
	maxValue = 2 << 20
)

var (
	// ErrInvalidKey: a key that storage does not take; the message says why.
	ErrInvalidKey = errors.New("edgews: invalid storage key")

	// ErrValueTooBig: a value that storage does not take. An engine that takes less than 2 MiB, or not as much in one
	// commit, returns it too, and nothing has happened.
	ErrValueTooBig = errors.New("edgews: value is too big for storage")
)

// Storage returns the object's storage. It is opened when it is first used, and costs nothing before.
func (st *State) Storage() *Storage { return &Storage{st} }

// Get returns the value of key, or ErrKeyNotFound. The value is the caller's.
func (st *Storage) Get(ctx context.Context, key string) ([]byte, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	s, store, err := st.read(ctx)
	if err != nil {
		return nil, err
	}
	defer s.release()
	value, err := store.Get(ctx, key)
	return value, s.stopIfFenced(err)
}

// Put sets the value of key. It does not retain value.
func (st *Storage) Put(ctx context.Context, key string, value []byte) error {
	if err := checkEntry(key, value); err != nil {
		return err
	}
	return st.commit(ctx, Batch{Puts: []Entry{{key, value}}})
}

// Delete removes key. If it is not there, that is no error.
func (st *Storage) Delete(ctx context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	return st.commit(ctx, Batch{Deletes: []string{key}})
}

// List returns an iterator over the entries whose keys begin with prefix, in key order, as they were when the loop
// began. An error is the last thing that it yields. The entries are the caller's, who may write meanwhile.
func (st *Storage) List(ctx context.Context, prefix string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		s, store, err := st.read(ctx)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer s.release()
		for e, err := range withoutReserved(store.List(ctx, prefix), prefix) {
			if !yield(e, s.stopIfFenced(err)) {
				return
			}
		}
	}
}

// visible leaves out of what an engine lists what is reserved.
func withoutReserved(entries iter.Seq2[Entry, error], prefix string) iter.Seq2[Entry, error] {
	if prefix != "" && !isReserved(prefix) {
		return entries
	}
	return func(yield func(Entry, error) bool) {
		for e, err := range entries {
			if (err != nil || !isReserved(e.Key)) && !yield(e, err) {
				return
			}
		}
	}
}

// Update runs fn and then commits everything that it has done with tx, or nothing, if it returns an error, which is
// then Update's, or panics. What fn reads with tx does not change meanwhile, because other writers of the object wait
// until Update returns.
//
// For the same reason fn must not write in another way than with tx: Put, Update and the like on a Storage of the same object
// would wait for the Update that waits for them. With a context of the object, which events and WaitUntil have, they fail
// with ErrReentrant; with another they wait until that ends, and the log says so after 5 seconds.
func (st *Storage) Update(ctx context.Context, fn func(tx *Tx) error) error {
	s, store, err := st.write(ctx)
	if err != nil {
		return err
	}
	defer s.release()
	defer s.unlockWrites()
	tx := &Tx{ctx: ctx, o: st.st.o, store: store}
	defer tx.end()
	if err := s.update(ctx, tx, fn); err != nil {
		return err
	}
	return s.commitLocked(ctx, st.st, store, tx.batch())
}

// update calls fn, and notes meanwhile that it runs. The turn must be held.
func (s *storageLease) update(ctx context.Context, tx *Tx, fn func(*Tx) error) error {
	if ctx.Value(objectContextKey{}) == s.o {
		s.updating.Store(true)
		defer s.updating.Store(false)
	}
	return fn(tx)
}

// DeleteAll removes everything, the alarm included.
func (st *Storage) DeleteAll(ctx context.Context) error {
	return st.commit(ctx, Batch{DeleteAll: true, Alarm: &AlarmChange{}})
}

// SetAlarm sets the time at which AlarmHandler is called, in place of the one that was set before. It is rounded up to
// a millisecond; a time that has passed means at once, and one beyond what milliseconds can count is an error. An object
// that has no AlarmHandler gets ErrNoAlarmHandler.
func (st *Storage) SetAlarm(ctx context.Context, t time.Time) error {
	if err := st.st.o.checkAlarm(t); err != nil {
		return err
	}
	return st.commit(ctx, alarmEntry{at: ceilToMillisecond(t)}.batch())
}

// Alarm returns when the next alarm is due, and the zero time if none is set. While the handler runs, the alarm that
// called it is not set any more, but one that it has set meanwhile is.
func (st *Storage) Alarm(ctx context.Context) (time.Time, error) {
	s, store, err := st.read(ctx)
	if err != nil {
		return time.Time{}, err
	}
	defer s.release()
	if s.isAlarmHandlerRunning() {
		return time.Time{}, nil
	}
	entry, err := readAlarm(ctx, store)
	return entry.at, s.stopIfFenced(err)
}

// DeleteAlarm makes it that no alarm is set. In the handler it means that this one is not retried.
func (st *Storage) DeleteAlarm(ctx context.Context) error {
	return st.commit(ctx, noAlarm())
}

// read begins to read. The session's done ends it.
func (st *Storage) read(ctx context.Context) (*storageLease, ObjectStore, error) {
	s, err := st.st.o.acquireStorage(ctx, st.st)
	if err != nil {
		return nil, nil, err
	}
	store, err := s.openForReading(ctx)
	if err != nil {
		s.release()
		return nil, nil, err
	}
	return s, store, nil
}

// write begins to write. The session's unlock and done end it.
func (st *Storage) write(ctx context.Context) (*storageLease, ObjectStore, error) {
	s, err := st.st.o.acquireStorage(ctx, st.st)
	if err != nil {
		return nil, nil, err
	}
	store, err := s.lockWrites(ctx)
	if err != nil {
		s.release()
		return nil, nil, err
	}
	return s, store, nil
}

func (st *Storage) commit(ctx context.Context, b Batch) error {
	s, store, err := st.write(ctx)
	if err != nil {
		return err
	}
	defer s.release()
	defer s.unlockWrites()
	return s.commitLocked(ctx, st.st, store, b)
}

// reserved says whether a key is edgews' own.
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

func checkEntry(key string, value []byte) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if len(value) > maxValue {
		return fmt.Errorf("%w: that of %q has %d bytes; the limit is %d", ErrValueTooBig, key, len(value), maxValue)
	}
	return nil
}
