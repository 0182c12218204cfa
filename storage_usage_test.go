package edgews_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// storetest.Run compares what a meter counts with a model, over random calls, hibernation and restarts.

// storageOf returns the figures of storage of u, without what is stored.
func storageOf(u edgews.Usage) edgews.Usage {
	return edgews.Usage{RowsRead: u.RowsRead, RowsWritten: u.RowsWritten, ReadUnits: u.ReadUnits, WriteUnits: u.WriteUnits, Deletes: u.Deletes}
}

// inMeteredStorage is inStorage with a meter. Its records are checked at the end.
func inMeteredStorage(t *testing.T, f func(t *testing.T, n *rooms, store *watchedStore, st *edgews.State, m *edgews.Meter)) {
	t.Helper()
	bubble(t, func(t *testing.T) {
		var log recordLog
		m := edgews.NewMeter(&edgews.MeterOptions{Logger: quiet, Record: log.add})
		store := watch(t, edgews.NewMemoryStore())
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m}, Store: store}, nil)
		f(t, n, store, n.wake(n.IDFromName("lobby")), m)
		require.NoError(t, n.Shutdown(t.Context()))
		synctest.Wait()
		assert.Equal(t, m.Usage(), log.of(), "the records add up")
		log.check(t)
	})
}

// sized returns a value that is n bytes together with its key.
func sized(key string, n int) []byte { return make([]byte, n-len(key)) }

// What each call counts, with the published examples.
func TestStorageUsage(t *testing.T) {
	const kb = 1 << 10
	ctx := context.Background()
	in := func(calls func(tx *edgews.Tx)) func(s *edgews.Storage) error {
		return func(s *edgews.Storage) error {
			return s.Update(ctx, func(tx *edgews.Tx) error { calls(tx); return nil })
		}
	}
	loop := func(scan iter.Seq2[edgews.Entry, error], most int) {
		for range scan {
			if most--; most == 0 {
				return
			}
		}
	}
	for _, test := range []struct {
		name string
		call func(s *edgews.Storage) error
		want edgews.Usage
	}{
		{"an entry of 9 KB is 3 units", func(s *edgews.Storage) error { return s.Put(ctx, "k", sized("k", 9*kb)) },
			edgews.Usage{RowsWritten: 1, WriteUnits: 3}},
		{"an entry of 4 KB is one", func(s *edgews.Storage) error { return s.Put(ctx, "k", sized("k", 4*kb)) },
			edgews.Usage{RowsWritten: 1, WriteUnits: 1}},
		{"and a byte more is two", func(s *edgews.Storage) error { return s.Put(ctx, "k", sized("k", 4*kb+1)) },
			edgews.Usage{RowsWritten: 1, WriteUnits: 2}},
		{"a list of 80 KB is 20 units", func(s *edgews.Storage) error { loop(s.List(ctx, "list"), -1); return nil },
			edgews.Usage{RowsRead: 40, ReadUnits: 20}},
		{"half of it", func(s *edgews.Storage) error { loop(s.List(ctx, "list"), 20); return nil },
			edgews.Usage{RowsRead: 20, ReadUnits: 10}},
		{"its keys", func(s *edgews.Storage) error {
			loop(s.Scan(ctx, edgews.Range{Prefix: "list", KeysOnly: true}), -1)
			return nil
		},
			edgews.Usage{RowsRead: 40, ReadUnits: 1}},
		{"an empty list is 1 unit", func(s *edgews.Storage) error { loop(s.List(ctx, "none"), -1); return nil },
			edgews.Usage{RowsRead: 1, ReadUnits: 1}},
		{"a range that is an error", func(s *edgews.Storage) error { loop(s.Scan(ctx, edgews.Range{Start: "a", After: "a"}), -1); return nil },
			edgews.Usage{}},
		{"Get of 8 KB", func(s *edgews.Storage) error { _, err := s.Get(ctx, "large"); return err },
			edgews.Usage{RowsRead: 1, ReadUnits: 2}},
		{"Get of nothing", func(s *edgews.Storage) error { _, _ = s.Get(ctx, "none"); return nil },
			edgews.Usage{RowsRead: 1, ReadUnits: 1}},
		{"Get of a key that is an error", func(s *edgews.Storage) error { _, _ = s.Get(ctx, ""); return nil }, edgews.Usage{}},
		{"GetMany counts each key", func(s *edgews.Storage) error { _, err := s.GetMany(ctx, "large", "small", "small", "none"); return err },
			edgews.Usage{RowsRead: 4, ReadUnits: 3 + 1 + 1 + 1}},
		{"GetMany of nothing", func(s *edgews.Storage) error { _, err := s.GetMany(ctx); return err }, edgews.Usage{}},
		{"Delete", func(s *edgews.Storage) error { return s.Delete(ctx, "large") }, edgews.Usage{RowsWritten: 1, Deletes: 1}},
		{"Delete of nothing", func(s *edgews.Storage) error { return s.Delete(ctx, "none") }, edgews.Usage{RowsWritten: 1, Deletes: 1}},
		{"DeleteAll", func(s *edgews.Storage) error { return s.DeleteAll(ctx) }, edgews.Usage{RowsWritten: 42, Deletes: 42}},
		{"an alarm", func(s *edgews.Storage) error { return s.SetAlarm(ctx, time.Now().Add(time.Hour)) },
			edgews.Usage{RowsWritten: 1, WriteUnits: 1}},
		{"no alarm", func(s *edgews.Storage) error { return s.DeleteAlarm(ctx) }, edgews.Usage{}},
		{"an Update of nothing", in(func(*edgews.Tx) {}), edgews.Usage{}},
		{"a key counts once in an Update, however often it is written", in(func(tx *edgews.Tx) {
			_ = tx.Put("k", sized("k", 9*kb))
			_ = tx.Delete("k")
			_ = tx.Put("k", sized("k", 5*kb))
			_ = tx.Put("gone", nil)
			_ = tx.Delete("gone")
			_ = tx.SetAlarm(time.Now().Add(time.Hour))
			_ = tx.SetAlarm(time.Now().Add(2 * time.Hour))
		}), edgews.Usage{RowsWritten: 3, WriteUnits: 3, Deletes: 1}},
		{"reads in an Update", in(func(tx *edgews.Tx) {
			_ = tx.Put("new", sized("new", 8*kb))
			_, _ = tx.Get("new")             // 1 row, 2 units
			_, _ = tx.Get("small")           // 1, 1
			_, _ = tx.GetMany("new", "no")   // 2, 3
			loop(tx.List("list"), -1)        // 40, 20
			loop(tx.List("new"), -1)         // 1, 2
			loop(tx.Scan(edgews.Range{}), 1) // 1, 3: of "large"
		}), edgews.Usage{RowsRead: 46, ReadUnits: 31, RowsWritten: 1, WriteUnits: 2}},
		{"DeleteAll and then writes in an Update", in(func(tx *edgews.Tx) {
			_ = tx.DeleteAll()
			_ = tx.Put("a", nil)
			_ = tx.Delete("b")
		}), edgews.Usage{RowsWritten: 43, WriteUnits: 1, Deletes: 42}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inMeteredStorage(t, func(t *testing.T, n *rooms, _ *watchedStore, st *edgews.State, m *edgews.Meter) {
				s := st.Storage()
				require.NoError(t, s.Update(ctx, func(tx *edgews.Tx) error {
					for i := range 40 {
						key := "list" + string(rune('A'+i))
						require.NoError(t, tx.Put(key, sized(key, 2*kb)))
					}
					require.NoError(t, tx.Put("large", make([]byte, 8*kb)))
					return tx.Put("small", nil)
				}))
				before := m.Usage()
				require.NoError(t, test.call(s))
				assert.Equal(t, test.want, storageOf(m.Usage().Sub(before)))
			})
		})
	}
}

// What has not been committed does not count, and neither does what edgews stores.
func TestFailedCommitIsNotCounted(t *testing.T) {
	ctx := context.Background()
	calls := map[string]func(s *edgews.Storage) error{
		"Put":       func(s *edgews.Storage) error { return s.Put(ctx, "b", make([]byte, 1000)) },
		"Delete":    func(s *edgews.Storage) error { return s.Delete(ctx, "a") },
		"DeleteAll": func(s *edgews.Storage) error { return s.DeleteAll(ctx) },
		"SetAlarm":  func(s *edgews.Storage) error { return s.SetAlarm(ctx, time.Now().Add(time.Hour)) },
		"Update": func(s *edgews.Storage) error {
			return s.Update(ctx, func(tx *edgews.Tx) error { return errors.Join(tx.Put("b", nil), tx.Delete("a")) })
		},
	}
	faults := map[string]func(context.Context, edgews.Batch) error{
		"fails":   func(context.Context, edgews.Batch) error { return io.ErrClosedPipe },
		"too big": func(context.Context, edgews.Batch) error { return edgews.ErrValueTooBig },
		"panics":  func(context.Context, edgews.Batch) error { panic("engine") },
		"fenced":  func(context.Context, edgews.Batch) error { return edgews.ErrFenced },
	}
	for name, call := range calls {
		for fault, interfere := range faults {
			t.Run(name+" "+fault, func(t *testing.T) {
				inMeteredStorage(t, func(t *testing.T, n *rooms, store *watchedStore, st *edgews.State, m *edgews.Meter) {
					require.NoError(t, st.Storage().Put(ctx, "a", sized("a", 100)))
					before := m.Usage()
					store.interfere(interfere)
					time.Sleep(2 * time.Second)
					func() {
						defer func() { _ = recover() }()
						assert.Error(t, call(st.Storage()))
					}()
					u := m.Usage().Sub(before)
					assert.Equal(t, edgews.Usage{}, storageOf(u))
					assert.Zero(t, u.StoredByteHours)
					store.interfere(nil)
					if fault == "fenced" {
						return
					}
					time.Sleep(10*time.Hour - 2*time.Second)
					require.NoError(t, n.wake(st.ID()).Storage().DeleteAll(ctx))
					u = m.Usage().Sub(before)
					assert.Equal(t, edgews.Usage{RowsWritten: 1, Deletes: 1}, storageOf(u))
					assert.EqualValues(t, 1000, u.StoredByteHours, "the size is known, and counts from the first commit")
				})
			})
		}
	}
}

// failingReads is an object's storage whose reads can be made to fail.
type failingReads struct {
	edgews.ObjectStore
	mu  sync.Mutex
	err error
}

func (o *failingReads) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
}

func (o *failingReads) Get(ctx context.Context, key string) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return nil, o.err
	}
	return o.ObjectStore.Get(ctx, key)
}

// If the engine cannot tell what is stored, a commit fails before it begins: the object goes on.
func TestStoredSizeCannotBeRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := &failingReads{}
		store := objectsAs{edgews.NewMemoryStore(), func(s edgews.ObjectStore) edgews.ObjectStore { o.ObjectStore = s; return o }}
		m := edgews.NewMeter(&edgews.MeterOptions{Logger: quiet})
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m}, Store: store}, nil)
		st, ctx := n.wake(n.NewUniqueID()), t.Context()
		require.NoError(t, st.Storage().Put(ctx, "a", nil))
		before := m.Usage()
		o.fail(io.ErrUnexpectedEOF)
		err := st.Storage().Put(ctx, "a", nil)
		assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
		assert.EqualError(t, err, "edgews: size of what is stored cannot be read: unexpected EOF")
		_, err = st.Storage().Get(ctx, "a")
		assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
		assert.Equal(t, edgews.Usage{}, storageOf(m.Usage().Sub(before)), "neither a commit nor a read that failed")
		o.fail(nil)
		require.NoError(t, st.Storage().Put(ctx, "a", nil), "it was not reset")
		assert.EqualValues(t, 1, n.made.Load())
		o.fail(edgews.ErrFenced)
		assert.ErrorIs(t, st.Storage().Put(ctx, "a", nil), edgews.ErrFenced)
		o.fail(nil)
		assert.ErrorIs(t, st.Storage().Put(ctx, "a", nil), edgews.ErrFenced, "it has stopped")
	})
}

// What is stored counts to the millisecond, whenever it changes, while the object hibernates too.
func TestStoredByteHours(t *testing.T) {
	inMeteredStorage(t, func(t *testing.T, n *rooms, _ *watchedStore, st *edgews.State, m *edgews.Meter) {
		id, ctx := st.ID(), t.Context()
		s := func() *edgews.Storage { return n.wake(id).Storage() }
		stored := func(want int64, why string) {
			t.Helper()
			require.Equal(t, want, m.Usage().StoredByteHours, why)
		}
		require.NoError(t, s().Put(ctx, "a", sized("a", 1000)))
		stored(0, "it has just been stored")
		time.Sleep(10 * time.Hour)
		stored(0, "it has not been used since")
		require.NoError(t, s().Put(ctx, "b", sized("b", 3000)))
		stored(10_000, "1,000 bytes for 10 hours")
		time.Sleep(30 * time.Minute)
		require.NoError(t, s().Put(ctx, "b", sized("b", 1)))
		stored(12_000, "and 4,000 for half an hour")
		require.NoError(t, s().Delete(ctx, "a"))
		time.Sleep(30 * time.Minute)
		require.NoError(t, s().Put(ctx, "c", sized("c", 1)))
		stored(12_000, "and a byte for half an hour, which is carried over")
		time.Sleep(15 * time.Minute)
		require.NoError(t, s().Delete(ctx, "c"))
		stored(12_001, "and two for a quarter")
		require.NoError(t, s().DeleteAll(ctx))
		time.Sleep(100 * time.Hour)
		require.NoError(t, s().Put(ctx, "a", sized("a", 1)))
		stored(12_001, "nothing was stored")
		time.Sleep(time.Hour)
		require.NoError(t, s().DeleteAll(ctx))
		stored(12_002, "a byte for an hour")
	})
}

// What does not change counts when it is used, at most once an hour.
func TestStoredByteHoursOfWhatDoesNotChange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log recordLog
		var commits []edgews.Batch
		m := edgews.NewMeter(&edgews.MeterOptions{Logger: quiet, Record: log.add})
		store := watch(t, edgews.NewMemoryStore())
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m}, Store: store}, nil)
		id, ctx := n.IDFromName("lobby"), t.Context()
		put := func() { require.NoError(t, n.wake(id).Storage().Put(ctx, "a", sized("a", 1000))) }
		read := func() {
			_, err := n.wake(id).Storage().Get(ctx, "a")
			require.NoError(t, err)
			require.NoError(t, n.Hibernate(ctx, id))
			synctest.Wait()
		}
		store.interfere(func(_ context.Context, b edgews.Batch) error { commits = append(commits, b); return nil })
		put()
		read()
		time.Sleep(59 * time.Minute)
		put()
		read()
		assert.Len(t, commits, 2, "the program's")
		assert.Zero(t, m.Usage().StoredByteHours)
		time.Sleep(time.Minute)
		put()
		assert.EqualValues(t, 1000, m.Usage().StoredByteHours, "with the program's commit")
		assert.Len(t, commits, 3)
		began := time.Now()
		time.Sleep(5 * time.Hour)
		read()
		assert.Len(t, commits, 4, "for a commit of its own")
		assert.EqualValues(t, 6000, m.Usage().StoredByteHours)
		read()
		assert.Len(t, commits, 4)
		require.NoError(t, n.Shutdown(ctx))
		synctest.Wait()

		var facts []edgews.Record
		for _, r := range log.all() {
			if r.Fact == edgews.FactStored {
				facts = append(facts, r)
			}
		}
		require.Len(t, facts, 1)
		assert.Equal(t, edgews.Usage{StoredByteHours: 5000}, facts[0].Usage)
		assert.Equal(t, []any{"rooms", id}, []any{facts[0].Namespace, facts[0].Object})
		assert.True(t, began.Equal(facts[0].From), "%v", facts[0].From)
		assert.True(t, began.Add(5*time.Hour).Equal(facts[0].To), "%v", facts[0].To)
		assert.Equal(t, m.Usage(), log.of())
		log.check(t)
	})
}

// Shutdown ends the uses of storage too. If it does not wait, another namespace may use the Store already: nothing is committed then.
func TestStoredByteHoursAtShutdown(t *testing.T) {
	for _, waits := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			m := edgews.NewMeter(&edgews.MeterOptions{Logger: quiet})
			store := watch(t, edgews.NewMemoryStore())
			n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m}, Store: store, HibernateAfter: -1}, nil)
			st := n.wake(n.IDFromName("lobby"))
			require.NoError(t, st.Storage().Put(t.Context(), "a", sized("a", 1000)))
			time.Sleep(24 * time.Hour)
			commits := 0
			store.interfere(func(context.Context, edgews.Batch) error { commits++; return nil })
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if waits {
				require.NoError(t, n.Shutdown(ctx))
			} else {
				st.WaitUntil(func(context.Context) { time.Sleep(time.Hour) })
				require.ErrorIs(t, n.Shutdown(ctx), context.DeadlineExceeded)
				time.Sleep(2 * time.Hour)
			}
			synctest.Wait()
			assert.Equal(t, waits, commits == 1)
			assert.Equal(t, waits, m.Usage().StoredByteHours == 24_000)
		})
	}
}

// What cannot be counted at the end of a use is counted at the next one.
func TestStoredByteHoursAfterAFault(t *testing.T) {
	for name, fault := range map[string]func(context.Context, edgews.Batch) error{
		"fails":  func(context.Context, edgews.Batch) error { return io.ErrClosedPipe },
		"panics": func(context.Context, edgews.Batch) error { panic("engine") },
	} {
		t.Run(name, func(t *testing.T) {
			inMeteredStorage(t, func(t *testing.T, n *rooms, store *watchedStore, st *edgews.State, m *edgews.Meter) {
				id, ctx := st.ID(), t.Context()
				require.NoError(t, st.Storage().Put(ctx, "a", sized("a", 1000)))
				use := func() {
					_, err := n.wake(id).Storage().Get(ctx, "a")
					require.NoError(t, err)
					require.NoError(t, n.Hibernate(ctx, id))
					synctest.Wait()
				}
				time.Sleep(2 * time.Hour)
				store.interfere(fault)
				use()
				assert.Zero(t, m.Usage().StoredByteHours)
				store.interfere(nil)
				time.Sleep(time.Hour)
				use()
				assert.EqualValues(t, 3000, m.Usage().StoredByteHours)
			})
		})
	}
}

// A restart, runs without a meter, and a tenant.
func TestStoredByteHoursAcrossRuns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		run := func(metered bool, use func(s *edgews.Storage) error) (hours int64) {
			t.Helper()
			var m *edgews.Meter
			if metered {
				m = edgews.NewMeter(&edgews.MeterOptions{Logger: quiet})
			}
			n := newRooms(t, &edgews.NamespaceOptions{
				Options: edgews.Options{Meter: m}, Store: store, Tenant: func(edgews.ID) string { return "acme" },
			}, nil)
			require.NoError(t, use(n.wake(n.IDFromName("lobby")).Storage()))
			require.NoError(t, n.Shutdown(t.Context()))
			synctest.Wait()
			assert.Equal(t, m.Usage(), m.Tenant("acme").Usage())
			return m.Usage().StoredByteHours
		}
		put := func(key string, n int) func(*edgews.Storage) error {
			return func(s *edgews.Storage) error { return s.Put(t.Context(), key, sized(key, n)) }
		}
		empty := func(s *edgews.Storage) error { return s.DeleteAll(t.Context()) }

		run(false, put("a", 1000))
		time.Sleep(time.Hour)
		assert.Zero(t, run(true, put("b", 500)), "what was stored without a meter counts from now on")
		time.Sleep(2 * time.Hour)
		assert.EqualValues(t, 3000, run(true, put("b", 1)))
		time.Sleep(time.Hour)
		run(false, put("c", 5000)) // is not known
		time.Sleep(time.Hour)
		assert.EqualValues(t, 2002, run(true, put("d", 999)))
		time.Sleep(time.Hour)
		assert.EqualValues(t, 2000, run(true, empty))
		time.Sleep(time.Hour)
		assert.Zero(t, run(true, put("a", 10)), "all is known again")
		time.Sleep(time.Hour)
		assert.EqualValues(t, 10, run(true, empty))

		run(true, put("a", 100))
		run(false, empty)
		run(false, put("a", 7))
		time.Sleep(time.Hour)
		run(true, put("b", 3))
		time.Sleep(time.Hour)
		assert.EqualValues(t, 10, run(true, empty), "the size was removed with the entries")
	})
}

// One entry of edgews' own is all that an engine sees of it, in commits that there are anyway; without a meter there is nothing at all.
func TestStorageIsCountedWithoutMoreCommits(t *testing.T) {
	for _, metered := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			var m *edgews.Meter
			if metered {
				m = edgews.NewMeter(&edgews.MeterOptions{Logger: quiet})
			}
			var own, commits int
			store := watch(t, edgews.NewMemoryStore())
			store.interfere(func(_ context.Context, b edgews.Batch) error {
				commits++
				for _, e := range b.Puts {
					if strings.HasPrefix(e.Key, "\x00") {
						own++
					}
				}
				return nil
			})
			n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m}, Store: store}, nil)
			ctx, s := t.Context(), n.wake(n.NewUniqueID()).Storage()
			for i := range 10 {
				require.NoError(t, s.Put(ctx, "a", make([]byte, i/5)))
				_, err := s.Get(ctx, "a")
				require.NoError(t, err)
			}
			assert.Equal(t, "a=\x00", entries(t, s.List(ctx, "")))
			require.NoError(t, s.Delete(ctx, "a"))
			require.NoError(t, n.Shutdown(ctx))
			assert.Equal(t, 11, commits)
			if metered {
				assert.Equal(t, 2, own, "with the commits that have changed the size")
			} else {
				assert.Zero(t, own)
			}
		})
	}
}

// nothingStored is the storage of an object that stores nothing, in an engine that allocates nothing.
type nothingStored struct{}

func (nothingStored) Get(context.Context, string) ([]byte, error) { return nil, edgews.ErrKeyNotFound }

func (nothingStored) Scan(context.Context, edgews.Range) iter.Seq2[edgews.Entry, error] {
	return func(func(edgews.Entry, error) bool) {}
}

func (nothingStored) Commit(context.Context, edgews.Batch) error { return nil }
func (nothingStored) Release()                                   {}

// Counting allocates nothing: calls take what they took before they were counted. (With a meter, commits read what they replace, and the
// engine may allocate for it.)
func TestCountingStorageAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	ctx, value, all := context.Background(), make([]byte, 10), edgews.Range{}
	figures := func(m *edgews.Meter) map[string]float64 {
		n := edgews.NewNamespace("keepers", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
			return &keeper{st}, nil
		}, &edgews.NamespaceOptions{
			Options: edgews.Options{Meter: m, Logger: quiet}, HibernateAfter: math.MaxInt64,
			Store: objectsAs{edgews.NewMemoryStore(), func(edgews.ObjectStore) edgews.ObjectStore { return nothingStored{} }},
		})
		defer shutdownNow(n)
		s := keptState(n).Storage()
		update := func(fn func(tx *edgews.Tx)) func() {
			return func() { _ = s.Update(ctx, func(tx *edgews.Tx) error { fn(tx); return nil }) }
		}
		got := make(map[string]float64)
		for name, call := range map[string]func(){
			"Get":       func() { _, _ = s.Get(ctx, "a") },
			"GetMany":   func() { _, _ = s.GetMany(ctx, "a", "b") },
			"Scan":      func() { s.Scan(ctx, all)(func(edgews.Entry, error) bool { return true }) },
			"Put":       func() { _ = s.Put(ctx, "a", value) },
			"Delete":    func() { _ = s.Delete(ctx, "a") },
			"DeleteAll": func() { _ = s.DeleteAll(ctx) },
			"Update":    update(func(*edgews.Tx) {}),
			"Tx.Get":    update(func(tx *edgews.Tx) { _, _ = tx.Get("a") }),
			"Tx.Scan":   update(func(tx *edgews.Tx) { tx.Scan(all)(func(edgews.Entry, error) bool { return true }) }),
			"Tx.Put":    update(func(tx *edgews.Tx) { _ = tx.Put("a", value) }),
		} {
			got[name] = mallocs(1000, call)
		}
		return got
	}
	without, with := figures(nil), figures(edgews.NewMeter(&edgews.MeterOptions{Logger: quiet}))
	t.Log("without a meter:", without)
	t.Log("with a meter:", with)
	before := map[string]float64{
		"Get": 0, "GetMany": 2, "Scan": 2, "Put": 2, "Delete": 2, "DeleteAll": 2, "Update": 5, "Tx.Get": 5, "Tx.Scan": 9, "Tx.Put": 10,
	}
	for name, want := range before {
		assert.LessOrEqual(t, without[name], want+0.1, name) // 386 needs one less for Tx.Scan
		assert.InDelta(t, without[name], with[name], 0.1, "%s with a meter", name)
	}
}

// What an object reads and writes is bounded by a quota, and has a price in Explain.
func TestQuotaOfStorage(t *testing.T) {
	inMeteredStorage(t, func(t *testing.T, n *rooms, _ *watchedStore, st *edgews.State, m *edgews.Meter) {
		id, ctx := st.ID(), t.Context()
		m.SetQuota(edgews.FreeDaily)
		require.NoError(t, st.Storage().Update(ctx, func(tx *edgews.Tx) error {
			for i := range 100_000 {
				require.NoError(t, tx.Put(string(rune(0x10000+i)), nil))
			}
			return nil
		}))
		assert.Equal(t, http.StatusOK, n.get(id).Code, "as much as is included")
		require.NoError(t, st.Storage().Delete(ctx, "none"))
		for e := range n.Explain(edgews.Plan{WriteUnits: edgews.DurableObjectsKV.WriteUnits, Deletes: edgews.DurableObjectsKV.Deletes}) {
			assert.EqualValues(t, 100_001, e.Used.RowsWritten)
			assert.Equal(t, 10*edgews.Cent+edgews.Dollar/1_000_000, e.Cost)
			assert.Equal(t, e.Cost, e.Hibernated, "hibernation saves nothing of it")
		}
		w := n.get(id)
		assert.Equal(t, http.StatusTooManyRequests, w.Code)
		assert.Contains(t, w.Body.String(), "daily quota")
		time.Sleep(24 * time.Hour)
		assert.Equal(t, http.StatusOK, n.get(id).Code, "a new day has begun")
	})
}

// Several goroutines use the storage of an object while its meter is read.
func TestStorageIsCountedConcurrently(t *testing.T) {
	m := edgews.NewMeter(&edgews.MeterOptions{Logger: quiet})
	n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: m}, HibernateAfter: time.Hour}, nil)
	ctx, s := t.Context(), n.wake(n.NewUniqueID()).Storage()
	const users, rounds = 4, 50
	var wg sync.WaitGroup
	for i := range users {
		wg.Go(func() {
			key := string(rune('a' + i))
			for range rounds {
				assert.NoError(t, s.Put(ctx, key, nil))
				_, err := s.Get(ctx, key)
				assert.NoError(t, err)
				for _, err := range s.List(ctx, key) {
					assert.NoError(t, err)
				}
				assert.NoError(t, s.Delete(ctx, key))
				assert.LessOrEqual(t, m.Usage().Deletes, int64(users*rounds))
			}
		})
	}
	wg.Wait()
	const each = users * rounds
	assert.Equal(t, edgews.Usage{RowsRead: 2 * each, ReadUnits: 2 * each, RowsWritten: 2 * each, WriteUnits: each, Deletes: each}, storageOf(m.Usage()))
}
