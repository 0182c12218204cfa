package edgews

import (
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/edgews/edgews/internal/treap"
)

var errStoreClosed = errors.New("edgews: store is closed")

// NewMemoryStore returns a Store that keeps everything in memory: for tests, and for objects that may lose their storage when the process
// ends. A namespace without a Store has one of its own. Objects that have neither entries nor an alarm cost nothing. Close drops
// everything; afterwards its methods return an error.
func NewMemoryStore() Store {
	return &memoryStore{objects: make(map[ObjectKey]memoryObject), alarms: make(map[string]*treap.Tree)}
}

type memoryStore struct {
	mu      sync.RWMutex // no other mutex is locked under it
	closed  bool
	objects map[ObjectKey]memoryObject // without those whose memoryObject is zero
	alarms  map[string]*treap.Tree     // by namespace; the keys are alarmKeys, the values nil
}

// memoryObject is what is stored of an object.
type memoryObject struct {
	entries *treap.Tree
	alarm   time.Time // zero: none
	epoch   uint64    // the newest that it was opened with; 0: none newer than firstEpoch
}

// firstEpoch is the epoch of objects that never move between machines. No epoch is older, so it need not be remembered.
const firstEpoch = 1

func (s *memoryStore) Open(ctx context.Context, key ObjectKey, f Fence) (ObjectStore, error) {
	over := ctx.Err() // without mu: it is the program's code
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.lookupLocked(over, key)
	if err != nil {
		return nil, err
	}
	if o.epoch > f.Epoch {
		return nil, ErrFenced
	}
	if f.Epoch > firstEpoch {
		o.epoch = f.Epoch
		s.objects[key] = o
	}
	return &memoryObjectStore{s, key, f.Epoch}, nil
}

// lookupLocked returns what is stored of an object, or an error if the store is closed. over is why the context of the call has ended, and
// nil otherwise. mu must be held.
func (s *memoryStore) lookupLocked(over error, key ObjectKey) (memoryObject, error) {
	if over != nil {
		return memoryObject{}, over
	}
	if s.closed {
		return memoryObject{}, errStoreClosed
	}
	return s.objects[key], nil
}

// lookup is lookupLocked for callers that do not hold mu.
func (s *memoryStore) lookup(ctx context.Context, key ObjectKey) (memoryObject, error) {
	over := ctx.Err()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.lookupLocked(over, key)
}

// setLocked stores o, and removes it if there is nothing to store. mu must be held for writing.
func (s *memoryStore) setLocked(key ObjectKey, o memoryObject) {
	if o.entries == nil && o.alarm.IsZero() && o.epoch == 0 {
		delete(s.objects, key)
	} else {
		s.objects[key] = o
	}
}

func (s *memoryStore) DueAlarms(ctx context.Context, namespace string, until time.Time, limit int) ([]DueAlarm, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	alarms, closed := s.alarms[namespace], s.closed
	s.mu.RUnlock()
	if closed {
		return nil, errStoreClosed
	}
	var due []DueAlarm
	alarms.Ascend("", "", func(key string, _ []byte) bool {
		a := parseAlarmKey(key)
		if len(due) >= limit || a.Time.After(until) {
			return false
		}
		due = append(due, a)
		return true
	})
	return due, nil
}

// moveAlarmLocked changes the index of alarms; a zero time means no alarm. mu must be held for writing.
func (s *memoryStore) moveAlarmLocked(key ObjectKey, from, to time.Time) {
	alarms := s.alarms[key.Namespace]
	if !from.IsZero() {
		alarms = alarms.Remove(alarmKey(from, key.ID))
	}
	if !to.IsZero() {
		alarms = alarms.Put(alarmKey(to, key.ID), nil)
	}
	if alarms == nil {
		delete(s.alarms, key.Namespace)
	} else {
		s.alarms[key.Namespace] = alarms
	}
}

// alarmKey returns a key of the index of alarms. The order of the keys is by time, then by ID.
func alarmKey(t time.Time, id ID) string {
	b := id.bytes()
	key := binary.BigEndian.AppendUint64(make([]byte, 0, 12+len(b)), uint64(t.Unix())^1<<63) // those before 1970 first
	key = binary.BigEndian.AppendUint32(key, uint32(t.Nanosecond()))
	return string(append(key, b[:]...))
}

func parseAlarmKey(key string) (a DueAlarm) {
	b := []byte(key)
	a.Time = time.Unix(int64(binary.BigEndian.Uint64(b)^1<<63), int64(binary.BigEndian.Uint32(b[8:])))
	a.ID = knownIDs.get(idBytes(b[12:]))
	return a
}

func (s *memoryStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.objects, s.alarms = true, nil, nil
	return nil
}

type memoryObjectStore struct {
	s     *memoryStore
	key   ObjectKey
	epoch uint64
}

func (o *memoryObjectStore) Get(ctx context.Context, key string) ([]byte, error) {
	known, err := o.s.lookup(ctx, o.key)
	if err != nil {
		return nil, err
	}
	value, ok := known.entries.Get(key)
	if !ok {
		return nil, ErrKeyNotFound
	}
	return slices.Clone(value), nil
}

func (o *memoryObjectStore) GetMany(ctx context.Context, keys []string) (map[string][]byte, error) {
	known, err := o.s.lookup(ctx, o.key)
	if err != nil {
		return nil, err
	}
	values := make(map[string][]byte, len(keys))
	for _, key := range keys {
		if value, ok := known.entries.Get(key); ok {
			values[key] = slices.Clone(value)
		}
	}
	return values, nil
}

func (o *memoryObjectStore) Scan(ctx context.Context, r Range) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		known, err := o.s.lookup(ctx, o.key)
		if err == nil {
			first, end := r.Bounds()
			left := r.Limit
			known.entries.Scan(first, end, r.Reverse, func(key string, value []byte) bool {
				if err = ctx.Err(); err != nil {
					return false
				}
				e := Entry{Key: key}
				if !r.KeysOnly {
					e.Value = slices.Clone(value)
				}
				left--
				return yield(e, nil) && left != 0
			})
		}
		if err != nil {
			yield(Entry{}, err)
		}
	}
}

func (o *memoryObjectStore) Commit(ctx context.Context, b Batch) error {
	values := make([][]byte, len(b.Puts))
	for i, e := range b.Puts {
		values[i] = append([]byte{}, e.Value...) // not nil, even if e.Value is
	}

	over := ctx.Err()
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	known, err := o.s.lookupLocked(over, o.key)
	if err != nil {
		return err
	}
	if known.epoch > o.epoch {
		return ErrFenced
	}
	if b.DeleteAll {
		known.entries = nil
	}
	for _, key := range b.Deletes {
		known.entries = known.entries.Remove(key)
	}
	for i, e := range b.Puts {
		known.entries = known.entries.Put(e.Key, values[i])
	}
	if b.Alarm != nil {
		o.s.moveAlarmLocked(o.key, known.alarm, b.Alarm.Time)
		known.alarm = b.Alarm.Time
	}
	o.s.setLocked(o.key, known)
	return nil
}

func (o *memoryObjectStore) Release() {}
