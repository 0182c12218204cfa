package storetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
)

// naive is an engine that is obviously right, unless it is told to have a fault. With a file it appends each commit to it, and
// repeats them all when it is opened.
type naive struct {
	fault  string
	mu     sync.Mutex
	all    map[edgews.ObjectKey]*naiveObject
	log    io.Writer // nil: in memory only
	room   int       // free space, in bytes of values; 0: unlimited
	close  func() error
	closed bool
}

type naiveObject struct {
	entries map[string][]byte
	alarm   time.Time
	epoch   uint64
}

// record is a commit as a line of JSON in the file. Keys are bytes there, since JSON strings are valid UTF-8.
type record struct {
	Namespace []byte
	ID        edgews.ID
	Epoch     uint64

	DeleteAll     bool     `json:",omitempty"`
	Deletes, Keys [][]byte `json:",omitempty"`
	Values        [][]byte `json:",omitempty"`
	Alarm         *edgews.AlarmChange
}

func newRecord(key edgews.ObjectKey, epoch uint64, b edgews.Batch) record {
	r := record{Namespace: []byte(key.Namespace), ID: key.ID, Epoch: epoch, DeleteAll: b.DeleteAll, Alarm: b.Alarm}
	for _, key := range b.Deletes {
		r.Deletes = append(r.Deletes, []byte(key))
	}
	for _, e := range b.Puts {
		r.Keys, r.Values = append(r.Keys, []byte(e.Key)), append(r.Values, e.Value)
	}
	return r
}

func (r record) batch() edgews.Batch {
	b := edgews.Batch{DeleteAll: r.DeleteAll, Alarm: r.Alarm}
	for _, key := range r.Deletes {
		b.Deletes = append(b.Deletes, string(key))
	}
	for i, key := range r.Keys {
		b.Puts = append(b.Puts, edgews.Entry{Key: string(key), Value: r.Values[i]})
	}
	return b
}

func newNaive(fault string) *naive {
	return &naive{fault: fault, all: map[edgews.ObjectKey]*naiveObject{}, close: func() error { return nil }}
}

func openNaive(t *testing.T, dir, fault string) *naive {
	s := newNaive(fault)
	path := filepath.Join(dir, "log")
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	good := bytes.LastIndexByte(old, '\n') + 1 // a line that is cut off was not committed
	for line := range bytes.Lines(old[:good]) {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		o := s.object(edgews.ObjectKey{Namespace: string(r.Namespace), ID: r.ID})
		o.epoch = r.Epoch
		o.apply(s, r.batch())
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = file.Truncate(int64(good))
	}
	if err == nil {
		_, err = file.Seek(int64(good), io.SeekStart)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.log, s.close = file, file.Close
	return s
}

func (s *naive) write(key edgews.ObjectKey, epoch uint64, b edgews.Batch) error {
	if s.log == nil || s.fault == "writes nothing" || s.fault == "forgets fences" && len(b.Puts) == 0 {
		return nil
	}
	line, err := json.Marshal(newRecord(key, epoch, b))
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if s.fault == "acknowledges before it writes" {
		go func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.log.Write(line)
		}()
		return nil
	}
	_, err = s.log.Write(line)
	return err
}

func (s *naive) object(key edgews.ObjectKey) *naiveObject {
	if s.fault == "ignores namespaces" {
		key.Namespace = ""
	}
	if s.all[key] == nil {
		s.all[key] = &naiveObject{entries: map[string][]byte{}, epoch: 1}
	}
	return s.all[key]
}

func (s *naive) may(ctx context.Context) error {
	if s.closed && s.fault != "ignores Close" {
		return errors.New("closed")
	}
	if s.fault == "ignores contexts" {
		return nil
	}
	return ctx.Err()
}

func (s *naive) Open(ctx context.Context, key edgews.ObjectKey, f edgews.Fence) (edgews.ObjectStore, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.may(ctx); err != nil {
		return nil, err
	}
	o, epoch := s.object(key), max(f.Epoch, 1)
	if epoch < o.epoch && s.fault != "opens any epoch" {
		return nil, edgews.ErrFenced
	}
	if epoch != o.epoch {
		o.epoch = epoch
		if err := s.write(key, epoch, edgews.Batch{}); err != nil {
			return nil, err
		}
	}
	return &naiveStore{s, key, epoch}, nil
}

func (s *naive) DueAlarms(ctx context.Context, namespace string, until time.Time, limit int) (due []edgews.DueAlarm, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.may(ctx); err != nil {
		return nil, err
	}
	if s.fault == "shows alarms early" {
		until = until.Truncate(time.Millisecond).Add(time.Millisecond - 1)
	}
	for key, o := range s.all {
		if key.Namespace == namespace && !o.alarm.IsZero() && (o.alarm.Before(until) || o.alarm.Equal(until) && s.fault != "shows alarms late") {
			due = append(due, edgews.DueAlarm{ID: key.ID, Time: o.alarm})
		}
	}
	if s.fault != "shows alarms in random order" {
		slices.SortFunc(due, func(a, b edgews.DueAlarm) int { return a.Time.Compare(b.Time) })
	}
	if s.fault != "ignores the limit" {
		due = due[:min(limit, len(due))]
	}
	return due, nil
}

func (s *naive) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.close()
}

type naiveStore struct {
	s     *naive
	key   edgews.ObjectKey
	epoch uint64
}

func (o *naiveStore) Get(ctx context.Context, key string) ([]byte, error) {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	if err := o.s.may(ctx); err != nil {
		return nil, err
	}
	value, ok := o.s.object(o.key).entries[key]
	if !ok {
		return nil, edgews.ErrKeyNotFound
	}
	if o.s.fault == "returns its own bytes" {
		return value, nil
	}
	return bytes.Clone(value), nil
}

func (o *naiveStore) Scan(ctx context.Context, r edgews.Range) iter.Seq2[edgews.Entry, error] {
	return func(yield func(edgews.Entry, error) bool) {
		o.s.mu.Lock()
		err := o.s.may(ctx)
		live := o.s.object(o.key).entries
		entries := maps.Clone(live)
		o.s.mu.Unlock()
		if err != nil {
			yield(edgews.Entry{}, err)
			return
		}
		for _, key := range o.s.selects(r, slices.Sorted(maps.Keys(entries))) {
			value := bytes.Clone(entries[key])
			if o.s.fault == "lists the current entries" || o.s.fault == "lists the current entries backwards" && r.Reverse {
				o.s.mu.Lock()
				value = bytes.Clone(live[key])
				o.s.mu.Unlock()
			}
			if r.KeysOnly && o.s.fault != "lists values with the keys" {
				value = nil
			}
			o.s.mu.Lock()
			err := o.s.may(ctx)
			o.s.mu.Unlock()
			if err != nil {
				yield(edgews.Entry{}, err)
				return
			}
			if !yield(edgews.Entry{Key: key, Value: value}, nil) {
				return
			}
		}
	}
}

// selects returns the keys that r selects, in its order.
func (s *naive) selects(r edgews.Range, keys []string) (selected []string) {
	if s.fault == "limits before it reverses" && r.Limit > 0 {
		keys = slices.DeleteFunc(keys, func(key string) bool { return !s.inRange(r, key) })
		keys = keys[:min(r.Limit, len(keys))]
	}
	if r.Reverse {
		slices.Reverse(keys)
	}
	if s.fault == "lists in random order" {
		slices.Reverse(keys)
	}
	for _, key := range keys {
		if s.inRange(r, key) && (r.Limit == 0 || len(selected) < r.Limit || s.fault == "ignores the limit of a range") {
			selected = append(selected, key)
		}
	}
	return selected
}

func (s *naive) inRange(r edgews.Range, key string) bool {
	in := strings.HasPrefix(key, r.Prefix)
	if s.fault == "ends a prefix at byte 0xfe" {
		in = key >= r.Prefix && key < r.Prefix+"\xff"
	}
	above := key >= r.Start && (r.After == "" || key > r.After)
	if s.fault == "begins at After" {
		above = key >= r.Start && key >= r.After
	}
	below := r.End == "" || key < r.End || key == r.End && s.fault == "ends with End"
	if s.fault == "ignores End beside a prefix" && r.Prefix != "" {
		below = true
	}
	return in && above && below
}

func (o *naiveStore) Commit(ctx context.Context, b edgews.Batch) error {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	if err := o.s.may(ctx); err != nil {
		return err
	}
	known := o.s.object(o.key)
	if o.epoch < known.epoch && o.s.fault != "ignores fences in commits" {
		return edgews.ErrFenced
	}
	if o.s.room > 0 && !o.s.takes(b) {
		if _, limited := ctx.Deadline(); limited && o.s.fault == "acknowledges what does not fit" {
			return nil
		}
		return errors.New("the store is full")
	}
	if err := o.s.write(o.key, known.epoch, b); err != nil {
		return err
	}
	known.apply(o.s, b)
	if o.s.fault == "fails after a commit" {
		runtime.Gosched()
		return ctx.Err()
	}
	return nil
}

// takes reports whether b fits, and takes up room for it.
func (s *naive) takes(b edgews.Batch) bool {
	n := 0
	for _, e := range b.Puts {
		n += len(e.Value)
	}
	if n >= s.room {
		return false
	}
	s.room -= n
	return true
}

func (o *naiveObject) apply(s *naive, b edgews.Batch) {
	if b.DeleteAll {
		clear(o.entries)
		if s.fault == "deletes the alarm too" {
			o.alarm = time.Time{}
		}
	}
	deletes := func() {
		for _, key := range b.Deletes {
			delete(o.entries, key)
		}
	}
	if s.fault != "deletes after it puts" {
		deletes()
	}
	for i, e := range b.Puts {
		if s.fault == "keeps the caller's bytes" {
			o.entries[e.Key] = e.Value
		} else {
			o.entries[e.Key] = bytes.Clone(e.Value)
		}
		if s.fault == "shows half of a commit" && i == 0 {
			s.mu.Unlock()
			runtime.Gosched()
			s.mu.Lock()
		}
	}
	if s.fault == "deletes after it puts" {
		deletes()
	}
	if b.Alarm != nil && (s.fault != "does not remove alarms" || !b.Alarm.Time.IsZero()) {
		o.alarm = b.Alarm.Time
	}
}

func (o *naiveStore) Release() {}
