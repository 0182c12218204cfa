package edgews

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Tx is what Storage.Update commits at its end. It reads what is stored with what it has written itself. It is good
// until the function that got it returns, and may be used from several goroutines until then; afterwards its methods return
// ErrTxDone. An error of theirs changes nothing: whether it is the end of the Update is for the function to decide.
type Tx struct {
	ctx   context.Context // of Update
	o     *object
	store ObjectStore

	mu      sync.Mutex // a leaf
	done    bool
	cleared bool              // DeleteAll came before all writes
	writes  map[string][]byte // nil: deleted
	alarm   *alarmEntry       // nil: as it was; one without a time: none
}

// ErrTxDone: a Tx was used after the function that got it has returned.
var ErrTxDone = errors.New("edgews: transaction is over")

// Get returns the value of key, or ErrKeyNotFound. The value is the caller's.
func (tx *Tx) Get(key string) ([]byte, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	value, known, err := tx.writtenValue(key)
	switch {
	case err != nil:
		return nil, err
	case !known:
		return tx.store.Get(tx.ctx, key)
	case value == nil:
		return nil, ErrKeyNotFound
	}
	return slices.Clone(value), nil
}

// written returns what the transaction has made of key, if it has; nil: it is not there any more.
func (tx *Tx) writtenValue(key string) (value []byte, known bool, err error) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.done {
		return nil, false, ErrTxDone
	}
	value, known = tx.writes[key]
	return value, known || tx.cleared, nil
}

// Put sets the value of key. It does not retain value.
func (tx *Tx) Put(key string, value []byte) error {
	if err := checkEntry(key, value); err != nil {
		return err
	}
	return tx.setValue(key, append([]byte{}, value...)) // not nil
}

// Delete removes key. If it is not there, that is no error.
func (tx *Tx) Delete(key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	return tx.setValue(key, nil)
}

func (tx *Tx) setValue(key string, value []byte) error {
	return tx.ifOpen(func() {
		if tx.writes == nil {
			tx.writes = make(map[string][]byte)
		}
		tx.writes[key] = value
	})
}

// do runs fn unless the transaction is over.
func (tx *Tx) ifOpen(fn func()) error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.done {
		return ErrTxDone
	}
	fn()
	return nil
}

// DeleteAll removes everything, what the transaction has written before and the alarm included.
func (tx *Tx) DeleteAll() error {
	return tx.ifOpen(func() { tx.cleared, tx.writes, tx.alarm = true, nil, &alarmEntry{} })
}

// SetAlarm is Storage.SetAlarm.
func (tx *Tx) SetAlarm(t time.Time) error {
	if err := tx.o.checkAlarm(t); err != nil {
		return err
	}
	return tx.ifOpen(func() { tx.alarm = &alarmEntry{at: ceilToMillisecond(t)} })
}

// DeleteAlarm is Storage.DeleteAlarm.
func (tx *Tx) DeleteAlarm() error {
	return tx.ifOpen(func() { tx.alarm = &alarmEntry{} })
}

// List returns an iterator over the entries whose keys begin with prefix, in key order, as they were when the loop
// began, what the transaction has written included. An error is the last thing that it yields. The entries are the
// caller's, who may write meanwhile.
func (tx *Tx) List(prefix string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var writes map[string][]byte
		var cleared bool
		if err := tx.ifOpen(func() { writes, cleared = maps.Clone(tx.writes), tx.cleared }); err != nil {
			yield(Entry{}, err)
			return
		}
		own := keysOf(writes, prefix)
		if !cleared {
			for e, err := range withoutReserved(tx.store.List(tx.ctx, prefix), prefix) {
				n, found := slices.BinarySearch(own, e.Key)
				if err != nil {
					yield(e, err)
					return
				}
				if !yieldWrites(yield, own[:n], writes) || !found && !yield(e, nil) {
					return
				}
				own = own[n:]
			}
		}
		yieldWrites(yield, own, writes)
	}
}

// keysOf returns the keys of writes that begin with prefix, in order.
func keysOf(writes map[string][]byte, prefix string) []string {
	keys := slices.Collect(maps.Keys(writes))
	keys = slices.DeleteFunc(keys, func(key string) bool { return !strings.HasPrefix(key, prefix) })
	slices.Sort(keys)
	return keys
}

// yieldOwn yields those of keys that have not been deleted. It returns whether to go on.
func yieldWrites(yield func(Entry, error) bool, keys []string, writes map[string][]byte) bool {
	for _, key := range keys {
		if value := writes[key]; value != nil && !yield(Entry{key, slices.Clone(value)}, nil) {
			return false
		}
	}
	return true
}

// end says that the function has returned.
func (tx *Tx) end() {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.done = true
}

// batch returns what is to be committed, and ends the transaction.
func (tx *Tx) batch() Batch {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.done = true
	var b Batch
	if tx.alarm != nil {
		b = tx.alarm.batch()
	}
	b.DeleteAll = tx.cleared
	for _, key := range slices.Sorted(maps.Keys(tx.writes)) {
		if value := tx.writes[key]; value != nil {
			b.Puts = append(b.Puts, Entry{key, value})
		} else if !tx.cleared {
			b.Deletes = append(b.Deletes, key)
		}
	}
	return b
}
