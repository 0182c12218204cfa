package edgews

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Store is a storage engine: it keeps the storage of objects, and knows which of their alarms are due. Programs do not call it; they give
// it to NamespaceOptions and use [Storage]. Several namespaces may share a Store.
//
// All methods are called from many goroutines. A call whose context has already ended does nothing and returns the context's error.
// storetest.Run checks that an engine does what is documented here.
//
// Keys are not empty, and are ordered by their bytes. edgews reserves those that begin with a zero byte; an engine treats them like any
// other.
type Store interface {
	// Open returns the storage of one object, which need not exist. It returns ErrFenced when the object has been opened with a newer epoch
	// before.
	Open(ctx context.Context, o ObjectKey, f Fence) (ObjectStore, error)

	// DueAlarms returns the alarms of a namespace that are set to until or earlier, the earliest first, at most limit of them. They stay
	// set until a commit changes them.
	DueAlarms(ctx context.Context, namespace string, until time.Time, limit int) ([]DueAlarm, error)

	// Close releases what the engine holds. It is called after the Shutdown of all namespaces that use the Store. What was committed is
	// there for the next process. Methods that are called afterwards return an error.
	Close() error
}

// ObjectStore is the storage of one object. At most one at a time is open for an object under one epoch.
type ObjectStore interface {
	// Get returns the value of key, which the caller may keep and change, or ErrKeyNotFound.
	Get(ctx context.Context, key string) ([]byte, error)

	// Scan returns the entries that r selects, in the order that it asks for, as they were when the loop over them began. An error is the
	// last thing that it yields. The caller may keep and change what it gets, may commit while the loop runs, and may take as long as it
	// likes. What a loop costs depends on the entries that it takes, not on how many are stored, in both orders. With KeysOnly no value is
	// copied. r is never one that is an error; r.Bounds returns the interval of its keys.
	Scan(ctx context.Context, r Range) iter.Seq2[Entry, error]

	// Commit makes all changes of b, or none. Nil means that b survives a crash at any later moment. Commit keeps nothing of b. ErrFenced
	// means that the object has been opened with a newer epoch: b has not been committed, and nothing ever will be through this
	// ObjectStore. Any other error means that nothing has changed. An engine that does not know whether b has been committed must find out
	// before it returns; if it cannot, because its disk fails, it must refuse all calls until it is opened again.
	Commit(ctx context.Context, b Batch) error

	// Release is called once, when the object is not used for the time being, and after all other calls.
	Release()
}

// ManyGetter is what an ObjectStore may implement to read several keys at once. GetMany returns the values of the keys that exist, all as
// they were at one moment; the caller may keep and change them. keys may contain a key twice, and the engine must not keep or change it.
//
// Without it, edgews calls Get for each key, and holds the commits of the object off if one of them would come in between.
type ManyGetter interface {
	GetMany(ctx context.Context, keys []string) (map[string][]byte, error)
}

// ObjectKey names an object among all that a Store keeps.
type ObjectKey struct {
	Namespace string
	ID        ID
}

// Fence tells an engine which owner of an object opens it. On a single machine the epoch is always 1; where an object may move between
// machines, each owner has a larger one than the owner before. The zero Fence means epoch 1.
type Fence struct{ Epoch uint64 }

// Entry is a key and its value.
type Entry struct {
	Key   string
	Value []byte
}

// Batch is the changes of one commit. DeleteAll applies first, then Deletes, then Puts, then Alarm.
type Batch struct {
	DeleteAll bool     // remove every key; the alarm stays unless Alarm changes it
	Deletes   []string // a key that does not exist is not an error
	Puts      []Entry
	Alarm     *AlarmChange // nil: unchanged
}

// AlarmChange sets the time of an object's alarm, or removes the alarm if Time is zero. DueAlarms reports it. A precision of a millisecond
// is enough, provided that no alarm is reported before its time.
type AlarmChange struct{ Time time.Time }

// DueAlarm is an alarm that DueAlarms returns.
type DueAlarm struct {
	ID   ID
	Time time.Time
}

var (
	// ErrKeyNotFound: storage has no value for the key.
	ErrKeyNotFound = errors.New("edgews: key is not in storage")

	// ErrFenced: another owner with a newer epoch has opened the object.
	ErrFenced = errors.New("edgews: storage belongs to a newer owner of the object")
)
