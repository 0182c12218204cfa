package edgews_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inAlarms runs f in a bubble with a namespace over a watched store. Its rooms note when their alarm goes off, since the
// beginning, and then do what handle says.
func inAlarms(t *testing.T, handle func(r *room) error, f func(t *testing.T, n *rooms, store *watchedStore, id edgews.ID)) {
	t.Helper()
	bubble(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		n := alarmRooms(t, store, handle)
		f(t, n, store, n.IDFromName("lobby"))
	})
}

func alarmRooms(t *testing.T, store edgews.Store, handle func(r *room) error) (n *rooms) {
	start, ready := time.Now(), make(chan struct{})
	n = newRooms(t, &edgews.NamespaceOptions{Store: store}, func(r *room) {
		r.alarm = func(ctx context.Context) error {
			<-ready
			n.notes("%v", time.Since(start))
			return handle(r)
		}
	})
	close(ready)
	return n
}

func ok(*room) error   { return nil }
func fail(*room) error { return io.EOF }

// rings waits for alarms, in virtual time.
func (n *rooms) rings(at ...string) {
	n.t.Helper()
	for _, want := range at {
		select {
		case got := <-n.diary:
			require.Equal(n.t, want, got)
		case <-time.After(3 * time.Hour):
			require.FailNow(n.t, "no alarm", "wanted %q", want)
		}
	}
}

// nothingMore says that no alarm goes off any more.
func (n *rooms) nothingMore() {
	n.t.Helper()
	time.Sleep(time.Hour)
	select {
	case entry := <-n.diary:
		assert.Fail(n.t, "another alarm", entry)
	default:
	}
}

// alarmAt checks when the alarm of an object is due, from now; negative: none is set.
func (n *rooms) alarmAt(st *edgews.State, want time.Duration) {
	n.t.Helper()
	at, err := st.Storage().Alarm(n.t.Context())
	require.NoError(n.t, err)
	if want < 0 {
		assert.True(n.t, at.IsZero(), "an alarm is set: %v", at)
		return
	}
	assert.Equal(n.t, want, time.Until(at))
}

func TestAlarm(t *testing.T) {
	inAlarms(t, func(r *room) error {
		r.st.Storage().Put(context.Background(), "rang", nil)
		at, err := r.st.Storage().Alarm(context.Background())
		if err != nil || !at.IsZero() {
			return errors.New("it is still set")
		}
		return nil
	}, func(t *testing.T, n *rooms, store *watchedStore, id edgews.ID) {
		ctx, st := t.Context(), n.wake(id)
		n.alarmAt(st, -1)
		require.NoError(t, st.Storage().DeleteAlarm(ctx))
		require.NoError(t, st.Storage().SetAlarm(ctx, time.Now().Add(time.Minute)))
		n.alarmAt(st, time.Minute)
		require.NoError(t, n.Hibernate(ctx, id))
		n.rings("1m0s")
		assert.EqualValues(t, 2, n.made.Load(), "it is constructed for it")
		synctest.Wait()
		st = n.wake(id)
		n.alarmAt(st, -1)
		assert.Equal(t, "rang=", entries(t, st.Storage().List(ctx, "")), "its own entry does not show")
		n.nothingMore()
	})
}

// Of all changes to an alarm before its time, the last one applies.
func TestAlarmIsChanged(t *testing.T) {
	cases := []struct {
		name   string
		change func(ctx context.Context, s *edgews.Storage) error
		rings  []string
	}{
		{"later", func(ctx context.Context, s *edgews.Storage) error {
			return s.SetAlarm(ctx, time.Now().Add(2*time.Minute))
		}, []string{"2m0s"}},
		{"earlier", func(ctx context.Context, s *edgews.Storage) error {
			return s.SetAlarm(ctx, time.Now().Add(time.Second))
		}, []string{"1s"}},
		{"now", func(ctx context.Context, s *edgews.Storage) error {
			return s.SetAlarm(ctx, time.Now())
		}, []string{"0s"}},
		{"long ago", func(ctx context.Context, s *edgews.Storage) error {
			return s.SetAlarm(ctx, time.UnixMilli(-1))
		}, []string{"0s"}},
		{"rounded up", func(ctx context.Context, s *edgews.Storage) error {
			return s.SetAlarm(ctx, time.Now().Add(time.Second+1))
		}, []string{"1.001s"}},
		{"in a transaction", func(ctx context.Context, s *edgews.Storage) error {
			return s.Update(ctx, func(tx *edgews.Tx) error { return tx.SetAlarm(time.Now().Add(time.Second)) })
		}, []string{"1s"}},
		{"in one that fails", func(ctx context.Context, s *edgews.Storage) error {
			_ = s.Update(ctx, func(tx *edgews.Tx) error { _ = tx.DeleteAlarm(); return io.EOF })
			return nil
		}, []string{"1m0s"}},
		{"none", func(ctx context.Context, s *edgews.Storage) error { return s.DeleteAlarm(ctx) }, nil},
		{"none in a transaction", func(ctx context.Context, s *edgews.Storage) error {
			return s.Update(ctx, func(tx *edgews.Tx) error { return tx.DeleteAlarm() })
		}, nil},
		{"nothing at all", func(ctx context.Context, s *edgews.Storage) error { return s.DeleteAll(ctx) }, nil},
		{"nothing in a transaction", func(ctx context.Context, s *edgews.Storage) error {
			return s.Update(ctx, func(tx *edgews.Tx) error { return tx.DeleteAll() })
		}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			inAlarms(t, ok, func(t *testing.T, n *rooms, store *watchedStore, id edgews.ID) {
				s := n.wake(id).Storage()
				require.NoError(t, s.SetAlarm(t.Context(), time.Now().Add(time.Minute)))
				require.NoError(t, c.change(t.Context(), s))
				n.rings(c.rings...)
				n.nothingMore()
			})
		})
	}
}

func TestAlarmOfNothing(t *testing.T) {
	inAlarms(t, ok, func(t *testing.T, n *rooms, store *watchedStore, id edgews.ID) {
		s := n.wake(id).Storage()
		assert.ErrorContains(t, s.SetAlarm(t.Context(), time.Time{}), "zero time")
		assert.ErrorContains(t, s.Update(t.Context(), func(tx *edgews.Tx) error { return tx.SetAlarm(time.Time{}) }), "zero time")
		never := time.Unix(math.MaxInt64-62135596800, 999999999) // the last that a Time can be
		assert.ErrorContains(t, s.SetAlarm(t.Context(), never), "no clock will reach")
		require.NoError(t, s.SetAlarm(t.Context(), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)))
		n.nothingMore()
	})
}

// An alarm that fails goes off again, after a time that doubles, and not for ever.
func TestAlarmRetries(t *testing.T) {
	schedule := []string{"1s", "3s", "7s", "15s", "31s", "1m3s", "2m7s"}
	for name, handle := range map[string]func(*room) error{
		"error":   fail,
		"panic":   func(*room) error { panic("oh") },
		"Goexit":  func(*room) error { runtime.Goexit(); return nil },
		"storage": func(r *room) error { r.st.Abort(nil); return r.st.Storage().Put(context.Background(), "a", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			inAlarms(t, handle, func(t *testing.T, n *rooms, store *watchedStore, id edgews.ID) {
				require.NoError(t, n.wake(id).Storage().SetAlarm(t.Context(), time.Now().Add(time.Second)))
				n.rings(schedule[:2]...)
				synctest.Wait()
				n.alarmAt(n.wake(id), 4*time.Second)
				n.rings(schedule[2:]...)
				n.nothingMore()
				n.alarmAt(n.wake(id), -1)
			})
		})
	}
}

// A new alarm begins with all its retries, and one that has failed need not be retried.
func TestAlarmIsSetByItsHandler(t *testing.T) {
	set := func(r *room) error {
		if entriesOf(r) < 3 {
			return r.st.Storage().Update(context.Background(), func(tx *edgews.Tx) error {
				return errors.Join(tx.Put(time.Now().String(), nil), tx.SetAlarm(time.Now().Add(time.Minute)))
			})
		}
		return nil
	}
	cases := []struct {
		name   string
		handle func(r *room) error
		rings  []string
	}{
		{"again and again", set, []string{"1s", "1m1s", "2m1s", "3m1s"}},
		{"and fails", func(r *room) error { _ = set(r); return io.EOF }, []string{"1s", "1m1s", "2m1s", "3m1s", "3m3s"}},
		{"and panics", func(r *room) error { _ = set(r); panic("oh") }, []string{"1s", "1m1s", "2m1s", "3m1s", "3m3s"}},
		{"and deletes it", func(r *room) error {
			_ = set(r)
			return errors.Join(r.st.Storage().DeleteAlarm(context.Background()), io.EOF)
		}, []string{"1s"}},
		{"to the past", func(r *room) error {
			if entriesOf(r) == 0 {
				_ = r.st.Storage().Put(context.Background(), "once", nil)
				return r.st.Storage().SetAlarm(context.Background(), time.UnixMilli(0))
			}
			return nil
		}, []string{"1s", "1s"}},
		{"to what is past when it returns", func(r *room) error {
			if entriesOf(r) == 0 {
				_ = r.st.Storage().Put(context.Background(), "once", nil)
				_ = r.st.Storage().SetAlarm(context.Background(), time.Now().Add(time.Second))
				time.Sleep(time.Minute)
			}
			return nil
		}, []string{"1s", "1m1s"}},
		{"deleted", func(r *room) error { return errors.Join(r.st.Storage().DeleteAlarm(context.Background()), io.EOF) }, []string{"1s"}},
		{"everything deleted", func(r *room) error { return errors.Join(r.st.Storage().DeleteAll(context.Background()), io.EOF) }, []string{"1s"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			inAlarms(t, c.handle, func(t *testing.T, n *rooms, store *watchedStore, id edgews.ID) {
				require.NoError(t, n.wake(id).Storage().SetAlarm(t.Context(), time.Now().Add(time.Second)))
				n.rings(c.rings[0])
				n.rings(c.rings[1:]...)
				if strings.HasPrefix(c.name, "and") && len(c.rings) > 3 && c.name != "again and again" {
					return // and so on
				}
				n.nothingMore()
			})
		})
	}
}

func entriesOf(r *room) (count int) {
	for range r.st.Storage().List(context.Background(), "") {
		count++
	}
	return count
}

// The constructor sees the alarm for which it is called, as in Workers; if it sets another, that one counts.
func TestAlarmAndConstructor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var seen []time.Duration
		var delay atomic.Int64
		var rang atomic.Int32
		start := time.Now()
		n := edgews.NewNamespace("alarms", func(ctx context.Context, st *edgews.State) (edgews.Object, error) {
			at, err := st.Storage().Alarm(ctx)
			if err != nil {
				return nil, err
			}
			if at.IsZero() || delay.Load() > 0 {
				err = st.Storage().SetAlarm(ctx, time.Now().Add(time.Minute+time.Duration(delay.Load())))
			} else {
				seen = append(seen, at.Sub(start))
			}
			return &room{st: st, alarm: func(context.Context) error { rang.Add(1); return nil }}, err
		}, &edgews.NamespaceOptions{Options: edgews.Options{Logger: quiet}})
		id := n.NewUniqueID()
		n.Get(id).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.EqualValues(t, 1, rang.Load())
		assert.Equal(t, []time.Duration{time.Minute}, seen)

		require.NoError(t, n.Hibernate(t.Context(), id))
		delay.Store(int64(time.Minute))
		n.Get(id).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
		require.NoError(t, n.Hibernate(t.Context(), id))
		time.Sleep(3 * time.Minute) // the alarm constructs the object, and is put off by that
		delay.Store(0)
		synctest.Wait()
		assert.EqualValues(t, 1, rang.Load())
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		assert.EqualValues(t, 2, rang.Load())
		require.NoError(t, n.Shutdown(t.Context()))
	})
}

// If the object cannot be constructed the alarm has failed.
func TestAlarmWithoutConstructor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		setAlarm(t, store, time.Minute)
		var tries []time.Duration
		start := time.Now()
		n := edgews.NewNamespace("rooms", func(context.Context, *edgews.State) (edgews.Object, error) {
			tries = append(tries, time.Since(start))
			return nil, io.EOF
		}, &edgews.NamespaceOptions{Store: store, Options: edgews.Options{Logger: quiet}})
		time.Sleep(time.Hour)
		synctest.Wait()
		const s = time.Second
		assert.Equal(t, []time.Duration{60 * s, 62 * s, 66 * s, 74 * s, 90 * s, 122 * s, 186 * s}, tries)
		require.NoError(t, n.Shutdown(t.Context()))
	})
}

// setAlarm has an object of a namespace that has gone again leave an alarm behind.
func setAlarm(t *testing.T, store edgews.Store, in time.Duration) (id edgews.ID) {
	n := newRooms(t, &edgews.NamespaceOptions{Store: store}, nil)
	id = n.IDFromName("lobby")
	require.NoError(t, n.wake(id).Storage().SetAlarm(t.Context(), time.Now().Add(in)))
	require.NoError(t, n.Shutdown(t.Context()))
	return id
}

// Alarms are there for the next process, and go off although their objects get no other event.
func TestAlarmSurvivesRestart(t *testing.T) {
	for in, rings := range map[time.Duration]string{time.Hour: "1h0m0s", time.Second: "0s"} {
		bubble(t, func(t *testing.T) {
			store := watch(t, edgews.NewMemoryStore())
			setAlarm(t, store, in)
			if rings == "0s" {
				time.Sleep(time.Minute)
			}
			n := alarmRooms(t, store, fail)
			n.rings(rings)
			synctest.Wait()
			require.NoError(t, n.Shutdown(t.Context()))
			n = alarmRooms(t, store, fail) // with what is left of its retries
			n.rings("2s", "6s", "14s", "30s", "1m2s", "2m6s")
			n.nothingMore()
		})
	}
}

// An object that is no AlarmHandler cannot set an alarm. If it has one nevertheless, from a former time, that is dropped.
func TestAlarmWithoutHandler(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		id := setAlarm(t, store, time.Minute)
		var log lockedBuffer
		states := make(chan *edgews.State, 10)
		n := edgews.NewNamespace("rooms", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
			states <- st
			return http.NotFoundHandler(), nil
		}, &edgews.NamespaceOptions{Store: store, Options: edgews.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}})
		st := <-states
		synctest.Wait()
		assert.Equal(t, 1, strings.Count(log.String(), "alarm dropped, for which the object has no handler"))
		assert.Contains(t, log.String(), id.String())
		assert.ErrorIs(t, st.Storage().SetAlarm(t.Context(), time.Now()), edgews.ErrNoAlarmHandler)
		assert.ErrorIs(t, st.Storage().Update(t.Context(), func(tx *edgews.Tx) error { return tx.SetAlarm(time.Now()) }), edgews.ErrNoAlarmHandler)
		at, err := st.Storage().Alarm(t.Context())
		require.NoError(t, err)
		assert.True(t, at.IsZero())
		time.Sleep(time.Hour)
		assert.Len(t, states, 0)
		require.NoError(t, n.Shutdown(t.Context()))
	})
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// An alarm is an event: others wait for it, it waits for others, and it keeps the object awake.
func TestAlarmIsAnEvent(t *testing.T) {
	inAlarms(t, func(r *room) error { time.Sleep(time.Minute); return nil }, func(t *testing.T, n *rooms, store *watchedStore, id edgews.ID) {
		st := n.wake(id)
		require.NoError(t, st.Storage().SetAlarm(t.Context(), time.Now().Add(time.Second)))
		require.NoError(t, st.Do(t.Context(), func() error { time.Sleep(5 * time.Second); return nil }))
		n.rings("5s")
		n.wantsState(id, edgews.ObjectActive, "event")
		require.NoError(t, st.Do(t.Context(), func() error { n.notes("do"); return nil }))
		n.wants("do")
	})
}

// An alarm that cannot be removed goes off again: at least once.
func TestAlarmWhenStorageFails(t *testing.T) {
	inAlarms(t, ok, func(t *testing.T, n *rooms, store *watchedStore, id edgews.ID) {
		require.NoError(t, n.wake(id).Storage().SetAlarm(t.Context(), time.Now().Add(time.Second)))
		failures := 3
		store.interfere(func(context.Context, edgews.Batch) error {
			if failures == 0 {
				return nil
			}
			failures--
			return io.ErrClosedPipe
		})
		n.rings("1s", "3s", "5s", "7s")
		n.nothingMore()
	})
}

func TestAlarmsWhenStoreFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		setAlarm(t, store, time.Second)
		failures := 3
		store.asked = func() error {
			if failures == 0 {
				return nil
			}
			failures--
			return io.ErrClosedPipe
		}
		n := alarmRooms(t, store, ok)
		n.rings("14s") // after 2, 4 and 8
		n.nothingMore()
	})
}

// An object that belongs to another owner has no alarms here, and the others' go off.
func TestAlarmFenced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		id := setAlarm(t, store, time.Second)
		_, err := store.Store.Open(t.Context(), edgews.ObjectKey{Namespace: "rooms", ID: id}, edgews.Fence{Epoch: 2})
		require.NoError(t, err)
		n := alarmRooms(t, store, ok)
		require.NoError(t, n.wake(n.IDFromName("another")).Storage().SetAlarm(t.Context(), time.Now().Add(2*time.Second)))
		n.rings("2s")
		n.nothingMore()
	})
}

// Shutdown lets the handler that runs come to its end, and no other begins.
func TestAlarmShutdown(t *testing.T) {
	inAlarms(t, func(r *room) error {
		time.Sleep(time.Minute)
		return r.st.Storage().SetAlarm(context.Background(), time.Now())
	}, func(t *testing.T, n *rooms, store *watchedStore, id edgews.ID) {
		require.NoError(t, n.wake(id).Storage().SetAlarm(t.Context(), time.Now().Add(time.Second)))
		waits := n.wake(n.IDFromName("another"))
		require.NoError(t, waits.Storage().SetAlarm(t.Context(), time.Now().Add(time.Second)))
		go waits.Do(context.Background(), func() error { time.Sleep(10 * time.Second); return nil })
		n.rings("1s")
		start := time.Now()
		require.NoError(t, n.Shutdown(t.Context()))
		assert.Equal(t, time.Minute, time.Since(start))
		n.nothingMore()
		again := alarmRooms(t, store, ok)
		again.rings("0s", "0s")
		again.nothingMore()
	})
}

// Many alarms need neither a timer nor a goroutine each, do not all run at once, and the store is not asked for each.
func TestManyAlarms(t *testing.T) {
	const count = 2500
	bubble(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		var running, most, rang atomic.Int32
		n := newRooms(t, &edgews.NamespaceOptions{Store: store}, func(r *room) {
			r.alarm = func(context.Context) error {
				now := running.Add(1)
				for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
				}
				time.Sleep(time.Second)
				running.Add(-1)
				rang.Add(1)
				return nil
			}
		})
		due := time.Now().Add(time.Hour)
		for range count {
			id := n.NewUniqueID()
			require.NoError(t, n.wake(id).Storage().SetAlarm(t.Context(), due))
		}
		time.Sleep(10 * time.Minute)
		before := runtime.NumGoroutine()
		assert.Less(t, before, 100)
		_, polled := store.count()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		assert.EqualValues(t, count, rang.Load())
		assert.LessOrEqual(t, most.Load(), int32(1024))
		assert.Greater(t, most.Load(), int32(500))
		_, polls := store.count()
		assert.Less(t, polls-polled, 50)
	})
}

// Random alarms, failures of handlers and of the engine, and restarts: no alarm is lost, none is early, and none runs twice
// at once.
func TestAlarmsAtLeastOnce(t *testing.T) {
	for seed := range uint64(15) {
		bubble(t, func(t *testing.T) {
			testAlarmsAtLeastOnce(t, &dice{random: rand.New(rand.NewPCG(seed, 1))})
		})
	}
}

// dice are thrown by many goroutines.
type dice struct {
	mu     sync.Mutex
	random *rand.Rand
}

func (d *dice) upTo(n int64) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.random.Int64N(n)
}

func (d *dice) chance(percent int64) bool            { return d.upTo(100) < percent }
func (d *dice) within(t time.Duration) time.Duration { return time.Duration(d.upTo(int64(t))) }

func testAlarmsAtLeastOnce(t *testing.T, d *dice) {
	var sick atomic.Bool // the engine
	sick.Store(true)
	store := watch(t, edgews.NewMemoryStore())
	store.interfere(func(_ context.Context, b edgews.Batch) error {
		time.Sleep(d.within(10 * time.Millisecond))
		success := len(b.Puts) == 1 && b.Puts[0].Key == "done" // or one might be given up
		if sick.Load() && !success && d.chance(20) {
			return io.ErrClosedPipe
		}
		return nil
	})
	ctx := context.Background()
	// set sets an alarm, and notes it in the same commit.
	set := func(st *edgews.State) error {
		at := time.Now().Add(d.within(time.Minute))
		return st.Storage().Update(ctx, func(tx *edgews.Tx) error {
			return errors.Join(tx.Put("due", []byte(at.Format(time.RFC3339Nano))), tx.SetAlarm(at))
		})
	}
	var running, failures sync.Map // failures in a row
	start := func() *rooms {
		return newRooms(t, &edgews.NamespaceOptions{Store: store}, func(r *room) {
			r.serve = func(http.ResponseWriter, *http.Request) {
				if sick.Load() {
					_ = set(r.st)
				}
			}
			r.alarm = func(context.Context) error {
				_, another := running.Swap(r.st.ID(), true)
				assert.False(t, another, "twice at once")
				defer running.Delete(r.st.ID())
				value, err := r.st.Storage().Get(ctx, "due")
				require.NoError(t, err)
				at, err := time.Parse(time.RFC3339Nano, string(value))
				require.NoError(t, err)
				assert.False(t, time.Now().Before(at), "early")
				time.Sleep(d.within(time.Second))
				failed, _ := failures.LoadOrStore(r.st.ID(), new(atomic.Int32))
				if failed.(*atomic.Int32).Add(1) < 4 {
					switch d.upTo(5) {
					case 0:
						return io.EOF
					case 1:
						panic("oh")
					}
				}
				failures.Delete(r.st.ID())
				if err := r.st.Storage().Put(ctx, "done", value); err != nil {
					return err
				}
				if sick.Load() && d.chance(20) {
					return set(r.st)
				}
				return nil
			}
		})
	}
	n := start()
	ids := make([]edgews.ID, 20)
	for i := range ids {
		ids[i] = n.NewUniqueID()
	}
	for range 100 {
		n.get(ids[d.upTo(int64(len(ids)))])
		if d.chance(10) {
			require.NoError(t, n.Shutdown(t.Context()))
			time.Sleep(d.within(time.Minute))
			n = start()
		}
		time.Sleep(d.within(5 * time.Second))
	}
	sick.Store(false)
	time.Sleep(24 * time.Hour)
	synctest.Wait()
	done := 0
	for _, id := range ids {
		st := n.wakeFresh(id)
		n.alarmAt(st, -1)
		value, _ := st.Storage().Get(ctx, "due")
		at, _ := st.Storage().Get(ctx, "done")
		assert.Equal(t, string(value), string(at), "it never succeeded")
		done += len(at)
	}
	assert.NotZero(t, done)
}

// wakeFresh constructs the object anew, so that the State is its own.
func (n *rooms) wakeFresh(id edgews.ID) *edgews.State {
	n.t.Helper()
	require.NoError(n.t, n.Hibernate(n.t.Context(), id))
	return n.wake(id)
}
