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

// Tx is what Storage.Update commits at its end. It reads what is stored together with what has been written with it. It may be used from
// several goroutines until the function that got it returns; afterwards its methods return ErrTxDone. A method that returns an error has
// changed nothing, and does not fail the Update: the function decides what to return.
type Tx struct {
	ctx   context.Context // of Update
	o     *object
	store ObjectStore

	mu      sync.Mutex        // no other mutex is locked under it
	done    bool              // the function has returned
	cleared bool              // DeleteAll was called, before all writes that are in writes
	writes  map[string][]byte // by key; nil: deleted
	alarm   *alarmEntry       // nil: unchanged; the zero entry: removed
}

// ErrTxDone: a Tx was used after the function that got it had returned.
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

// writtenValue returns the value that the transaction has given key; nil: it has removed key. known is false if it has not touched key.
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

// Delete removes key. It is not an error if there is no such key.
func (tx *Tx) Delete(key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	return tx.setValue(key, nil)
}

// setValue notes a write; a nil value removes key.
func (tx *Tx) setValue(key string, value []byte) error {
	return tx.ifOpen(func() {
		if tx.writes == nil {
			tx.writes = make(map[string][]byte)
		}
		tx.writes[key] = value
	})
}

// ifOpen runs fn with mu held, unless the transaction is over.
func (tx *Tx) ifOpen(fn func()) error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.done {
		return ErrTxDone
	}
	fn()
	return nil
}

// DeleteAll removes all entries, including those that the transaction has written before, and the alarm.
func (tx *Tx) DeleteAll() error {
	return tx.ifOpen(func() { tx.cleared, tx.writes, tx.alarm = true, nil, &alarmEntry{} })
}

// SetAlarm is Storage.SetAlarm.
func (tx *Tx) SetAlarm(t time.Time) error {
	if err := tx.o.checkAlarm(t); err != nil {
		return err
	}
	alarm := tx.o.newAlarm(t)
	return tx.ifOpen(func() { tx.alarm = &alarm })
}

// DeleteAlarm is Storage.DeleteAlarm.
func (tx *Tx) DeleteAlarm() error {
	return tx.ifOpen(func() { tx.alarm = &alarmEntry{} })
}

// List returns an iterator over the entries whose keys begin with prefix, in key order, as they were when the loop began, including what
// the transaction had written by then. An error is the last thing that it yields. The entries are the caller's, and the loop may write.
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

// yieldWrites yields the values of keys, except of those that were removed. It returns whether to go on.
func yieldWrites(yield func(Entry, error) bool, keys []string, writes map[string][]byte) bool {
	for _, key := range keys {
		if value := writes[key]; value != nil && !yield(Entry{key, slices.Clone(value)}, nil) {
			return false
		}
	}
	return true
}

// end is called when the function has returned.
func (tx *Tx) end() {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.done = true
}

// batch ends the transaction and returns what is to be committed.
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
