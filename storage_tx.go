package edgews

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/edgews/edgews/internal/treap"
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
	ordered *treap.Tree       // writes in the order of their keys, since the first Scan that needed them; nil: none did
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
		value, err = tx.store.Get(tx.ctx, key)
	case value == nil:
		err = ErrKeyNotFound
	default:
		value = slices.Clone(value)
	}
	tx.o.countGet(value, err)
	return value, err
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

// GetMany is Storage.GetMany.
func (tx *Tx) GetMany(keys ...string) (map[string][]byte, error) {
	if err := checkKeys(keys); err != nil {
		return nil, err
	}
	values, stored, err := tx.divide(keys)
	if err == nil && len(stored) > 0 {
		values, err = tx.withStored(values, stored)
	}
	if err != nil {
		return nil, err
	}
	tx.o.countGetMany(keys, values, nil)
	return values, nil
}

// withStored returns values and what is stored under keys.
func (tx *Tx) withStored(values map[string][]byte, keys []string) (map[string][]byte, error) {
	stored, err := tx.getStored(keys)
	if err != nil {
		return nil, err
	}
	maps.Copy(stored, values)
	return stored, nil
}

// divide returns the values that the transaction has written to keys, for the caller to keep, and the keys that it has not touched.
func (tx *Tx) divide(keys []string) (written map[string][]byte, stored []string, err error) {
	written = make(map[string][]byte)
	err = tx.ifOpen(func() {
		for _, key := range keys {
			switch value, known := tx.writes[key]; {
			case value != nil:
				written[key] = slices.Clone(value)
			case !known && !tx.cleared:
				stored = append(stored, key)
			}
		}
	})
	if err != nil {
		return nil, nil, err
	}
	return written, stored, nil
}

// getStored gets what is stored, which does not change before the transaction is over.
func (tx *Tx) getStored(keys []string) (map[string][]byte, error) {
	if m, ok := tx.store.(ManyGetter); ok {
		return m.GetMany(tx.ctx, keys)
	}
	return getEach(tx.ctx, tx.store, keys)
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
		if tx.ordered != nil {
			tx.ordered = tx.ordered.Put(key, value)
		}
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
	return tx.ifOpen(func() { tx.cleared, tx.writes, tx.ordered, tx.alarm = true, nil, nil, &alarmEntry{} })
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
