// Package storetest checks storage engines. An engine that passes [Run] can be used in edgews.NamespaceOptions. An engine that
// keeps its contents when the process ends must also pass [RunDurable], and [RunFull], which fills the disk.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) edgews.Store { return open(t, t.TempDir()) })
//	}
//
//	func TestStoreIsDurable(t *testing.T) {
//		storetest.RunDurable(t, open)
//	}
//
//	func TestStoreIsFull(t *testing.T) {
//		storetest.RunFull(t, openSmall)
//	}
//
// Run them with -race. With -short they run fewer rounds.
package storetest

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/edgews/edgews"
)

// Run checks that an engine fulfils the contract of edgews.Store. newStore returns a new empty store at each call. Run closes the
// store exactly once. Other resources are released by functions that newStore registers with t.Cleanup.
func Run(t *testing.T, newStore func(t *testing.T) edgews.Store) {
	run(t, newStore, entryTests, scanTests, alarmTests, fenceTests, contextTests, concurrencyTests, modelTests, usageTests)
}

// test is a test of a suite. Each test gets a store of its own, which is closed at its end.
type test struct {
	name string
	run  func(t *testing.T, s edgews.Store)
}

func run(t *testing.T, newStore func(t *testing.T) edgews.Store, suites ...[]test) {
	for _, suite := range suites {
		for _, test := range suite {
			t.Run(test.name, func(t *testing.T) {
				s := &closeOnce{Store: newStore(t)}
				defer func() {
					if err := s.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
				}()
				test.run(t, s)
			})
		}
	}
}

// closeOnce is a store whose Close does nothing if the test has closed it.
type closeOnce struct {
	edgews.Store
	closed bool
}

func (s *closeOnce) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	return s.Store.Close()
}

// object is an object's storage with methods that end the test at an unexpected result.
type object struct {
	t     *testing.T
	key   edgews.ObjectKey
	store edgews.Store
	edgews.ObjectStore
}

// open opens the object whose ID ends with n.
func open(t *testing.T, s edgews.Store, namespace string, n byte) *object {
	t.Helper()
	return openKey(t, s, numbered(namespace, n), 1)
}

func numbered(namespace string, n byte) edgews.ObjectKey {
	var raw [32]byte
	raw[31] = n
	return edgews.ObjectKey{Namespace: namespace, ID: newID(raw)}
}

func openKey(t *testing.T, s edgews.Store, key edgews.ObjectKey, epoch uint64) *object {
	t.Helper()
	o, err := s.Open(context.Background(), key, edgews.Fence{Epoch: epoch})
	if err != nil {
		t.Fatalf("Open %v with epoch %d: %v", key, epoch, err)
	}
	return &object{t, key, s, o}
}

func newID(raw [32]byte) (id edgews.ID) {
	if err := id.UnmarshalText([]byte(hex.EncodeToString(raw[:]))); err != nil {
		panic(err)
	}
	return id
}

func (o *object) commit(b edgews.Batch) {
	o.t.Helper()
	if err := o.Commit(context.Background(), b); err != nil {
		o.t.Fatalf("Commit: %v", err)
	}
}

// put commits entries. The arguments are keys and values in turn.
func (o *object) put(keysAndValues ...string) {
	o.t.Helper()
	o.commit(edgews.Batch{Puts: entries(keysAndValues...)})
}

func entries(keysAndValues ...string) (all []edgews.Entry) {
	for i := 0; i < len(keysAndValues); i += 2 {
		all = append(all, edgews.Entry{Key: keysAndValues[i], Value: []byte(keysAndValues[i+1])})
	}
	return all
}

func (o *object) wantValue(key, want string) {
	o.t.Helper()
	got, err := o.Get(context.Background(), key)
	if err != nil {
		o.t.Fatalf("Get %q: %v", key, err)
	}
	if string(got) != want {
		o.t.Fatalf("Get %q: got %s, want %s", key, shortened(got), shortened([]byte(want)))
	}
}

func (o *object) wantNone(key string) {
	o.t.Helper()
	if got, err := o.Get(context.Background(), key); !errors.Is(err, edgews.ErrKeyNotFound) {
		o.t.Fatalf("Get %q: got %s and error %v, want ErrKeyNotFound", key, shortened(got), err)
	}
}

func (o *object) list(prefix string) []edgews.Entry {
	o.t.Helper()
	return o.scan(edgews.Range{Prefix: prefix})
}

func (o *object) scan(r edgews.Range) (all []edgews.Entry) {
	o.t.Helper()
	for e, err := range o.Scan(context.Background(), r) {
		if err != nil {
			o.t.Fatalf("Scan of %+v: %v", r, err)
		}
		all = append(all, e)
	}
	return all
}

func (o *object) wantList(prefix string, keysAndValues ...string) {
	o.t.Helper()
	wantEntries(o.t, fmt.Sprintf("Scan of %q", prefix), o.list(prefix), entries(keysAndValues...))
}

func wantEntries(t *testing.T, what string, got, want []edgews.Entry) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i].Key != want[i].Key || !bytes.Equal(got[i].Value, want[i].Value) {
			t.Fatalf("%s: entry %d of %d is %q=%s, want %q=%s", what, i, len(got), got[i].Key, shortened(got[i].Value), want[i].Key, shortened(want[i].Value))
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: got %d entries, want %d", what, len(got), len(want))
	}
}

func (o *object) setAlarm(t time.Time) {
	o.t.Helper()
	o.commit(edgews.Batch{Alarm: &edgews.AlarmChange{Time: t}})
}

func due(t *testing.T, s edgews.Store, namespace string, until time.Time, limit int) []edgews.DueAlarm {
	t.Helper()
	alarms, err := s.DueAlarms(context.Background(), namespace, until, limit)
	if err != nil {
		t.Fatalf("DueAlarms: %v", err)
	}
	return alarms
}

const all = math.MaxInt // no limit

func wantDue(t *testing.T, got []edgews.DueAlarm, want ...edgews.DueAlarm) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i].ID != want[i].ID || !got[i].Time.Equal(want[i].Time) {
			t.Fatalf("alarm %d of %d is that of %v at %v, want %v at %v", i, len(got), got[i].ID, got[i].Time, want[i].ID, want[i].Time)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("got %d alarms %v, want %d", len(got), got, len(want))
	}
}

// shortened quotes a value, and only the beginning of a long one.
func shortened(value []byte) string {
	if len(value) <= 40 {
		return fmt.Sprintf("%q", value)
	}
	return fmt.Sprintf("%q (the first 20 of %d bytes)", value[:20], len(value))
}

// times returns n, or an eighth of it with -short.
func times(n int) int {
	if testing.Short() {
		return max(n/8, 1)
	}
	return n
}
