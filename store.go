package edgews

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Store is a storage engine: what keeps the storage of objects, and knows which of their alarms are due. Programs do
// not call it; they give it to NamespaceOptions and use [Storage]. Several namespaces may share one.
//
// All methods are called from many goroutines. A call whose context has ended already does nothing and returns the
// context's error. storetest.Run checks that an engine does what is said here.
//
// Keys are not empty, and are ordered by their bytes. Those that begin with a zero byte are edgews' own; to an engine
// they are like any other.
type Store interface {
	// Open returns the storage of one object, which need not exist. It refuses with ErrFenced when the object has been
	// opened with a newer epoch before.
	Open(ctx context.Context, o ObjectKey, f Fence) (ObjectStore, error)

	// DueAlarms returns the alarms of a namespace that are set to until or earlier, the earliest first, at most limit
	// of them. They stay set until a commit changes them.
	DueAlarms(ctx context.Context, namespace string, until time.Time, limit int) ([]DueAlarm, error)

	// Close releases what the engine holds. It comes after the Shutdown of all namespaces that use it. What was
	// committed is there for the next process. Whatever is called afterwards returns an error.
	Close() error
}

// ObjectStore is the storage of one object. At most one at a time is open for an object under one epoch.
type ObjectStore interface {
	// Get returns the value of key, which the caller may keep and change, or ErrKeyNotFound.
	Get(ctx context.Context, key string) ([]byte, error)

	// List returns the entries whose keys begin with prefix, in key order, as they were at the moment when the loop over
	// them began. An error is the last thing that it yields. The caller may keep and change what it gets, may commit
	// meanwhile, and may take as long as it likes.
	List(ctx context.Context, prefix string) iter.Seq2[Entry, error]

	// Commit makes all of b happen, durably, or nothing: nil means that it is there after a crash at any later moment. It
	// keeps nothing of b. ErrFenced means that the object has been opened with a newer epoch: then nothing of b has
	// happened, and nothing ever will through this ObjectStore. Any other error means that nothing has happened. An
	// engine that cannot tell whether b has happened finds out before it returns; if it cannot, because its disk
	// fails, it does nothing more for anybody until it is opened again.
	Commit(ctx context.Context, b Batch) error

	// Release says that the object is not used any more for now. It is called once, after everything else.
	Release()
}

// ObjectKey names an object among all that a Store keeps.
type ObjectKey struct {
	Namespace string
	ID        ID
}

// Fence tells an engine by what right an object is opened. On a single machine the epoch is always 1; where an object may
// move between machines, each owner has a newer one than the owner before. The zero Fence is as good as epoch 1.
type Fence struct{ Epoch uint64 }

// Entry is a key and its value.
type Entry struct {
	Key   string
	Value []byte
}

// Batch is what changes in one commit. DeleteAll comes first, then Deletes, then Puts, then Alarm.
type Batch struct {
	DeleteAll bool     // every key goes; the alarm stays unless Alarm says otherwise
	Deletes   []string // keys that are not there are no error
	Puts      []Entry
	Alarm     *AlarmChange // nil: as it was
}

// AlarmChange sets the time of an object's alarm, or removes it if Time is zero. It is what DueAlarms knows of; a precision
// of a millisecond is enough, if an alarm is never reported before its time.
type AlarmChange struct{ Time time.Time }

// DueAlarm is an alarm of which the time has come.
type DueAlarm struct {
	ID   ID
	Time time.Time
}

var (
	// ErrKeyNotFound: storage has no value under that key.
	ErrKeyNotFound = errors.New("edgews: key is not in storage")

	// ErrFenced: another owner, with a newer epoch, has the object.
	ErrFenced = errors.New("edgews: storage belongs to a newer owner of the object")
)
