package edgews_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What a namespace tells of one object agrees with what it tells of all, and constructs nothing.
func TestNamespaceInfo(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		assert.Equal(t, "rooms", n.Name())
		unknown := func(id edgews.ID) {
			t.Helper()
			_, known := n.Info(id)
			assert.False(t, known)
			_, known = n.ExplainObject(id, edgews.ActiveConnection2021)
			assert.False(t, known)
			assert.Empty(t, n.Sockets(id))
		}
		unknown(id)
		unknown(edgews.ID{})
		assert.Zero(t, n.made.Load())

		_, first, _ := n.joins(id, "red")
		_, second, _ := n.joins(id)
		agree := func() {
			t.Helper()
			one, known := n.Info(id)
			require.True(t, known)
			listed, _ := n.info(id)
			assert.Equal(t, listed, one)
			explained, known := n.ExplainObject(id, edgews.ActiveConnection2021)
			require.True(t, known)
			for e := range n.Explain(edgews.ActiveConnection2021) {
				assert.Equal(t, e, explained)
			}
			assert.Equal(t, []*edgews.Socket{first, second}, n.Sockets(id))
		}
		agree()
		require.NoError(t, n.Hibernate(t.Context(), id))
		agree()
		n.wantsState(id, edgews.ObjectHibernated)
		n.Sockets(id)[0] = nil
		assert.NotNil(t, n.Sockets(id)[0], "the slice is the caller's")
		assert.EqualValues(t, 1, n.made.Load())
	})
}

func TestTenantOfAnObject(t *testing.T) {
	free := edgews.NewNamespace("free", newHandlerless, nil)
	paid := edgews.NewNamespace("paid", newHandlerless, &edgews.NamespaceOptions{Tenant: func(id edgews.ID) string { return "tenant of " + id.Name() }})
	assert.Empty(t, free.Tenant(free.IDFromName("lobby")))
	assert.Equal(t, "tenant of lobby", paid.Tenant(paid.IDFromName("lobby")))
	require.NoError(t, free.Shutdown(t.Context()))
	require.NoError(t, paid.Shutdown(t.Context()))
}

// handlerless is an object without handlers.
type handlerless struct{}

func (handlerless) ServeHTTP(http.ResponseWriter, *http.Request) {}

func newHandlerless(context.Context, *edgews.State) (edgews.Object, error) { return handlerless{}, nil }

// fill stores entries in an object, and an alarm, and lets the object hibernate.
func fill(t *testing.T, n *rooms, id edgews.ID) {
	t.Helper()
	s := n.wake(id).Storage()
	for _, key := range []string{"a", "b/1", "b/2"} {
		require.NoError(t, s.Put(t.Context(), key, []byte("in "+key)))
	}
	require.NoError(t, s.SetAlarm(t.Context(), time.Now().Add(24*time.Hour)))
	require.NoError(t, n.Hibernate(t.Context(), id))
}

// ScanStorage reads what is stored, in whatever state the object is, and changes nothing about that state. Its own keys do not show.
func TestScanStorage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		n := newRooms(t, &edgews.NamespaceOptions{Store: store}, nil)
		id := n.IDFromName("lobby")
		fill(t, n, id)
		scan := func(r edgews.Range) string { return entries(t, n.ScanStorage(t.Context(), id, r)) }
		for name, state := range map[string]func(){
			"hibernated":    func() {},
			"awake":         func() { n.wake(id) },
			"not in memory": func() { time.Sleep(3 * time.Minute) },
		} {
			state()
			made := n.made.Load()
			before, known := n.Info(id)
			assert.Equal(t, name != "not in memory", known, name)
			assert.Equal(t, "a=in a b/1=in b/1 b/2=in b/2", scan(edgews.Range{}), name)
			assert.Equal(t, "b/2=in b/2", scan(edgews.Range{Prefix: "b/", Reverse: true, Limit: 1}), name)
			assert.Equal(t, "a= b/1= b/2=", scan(edgews.Range{KeysOnly: true}), name)
			if known {
				after, _ := n.Info(id)
				assert.Equal(t, before, after, name)
			}
			assert.Equal(t, made, n.made.Load(), "%s: nothing is constructed", name)
			require.NoError(t, n.Hibernate(t.Context(), id))
			synctest.Wait()
			assert.Zero(t, store.inUse(), "%s: the storage is given back", name)
		}
		assert.Empty(t, entries(t, n.ScanStorage(t.Context(), n.IDFromName("nothing there"), edgews.Range{})))
		time.Sleep(3 * time.Minute)
		_, known := n.Info(n.IDFromName("nothing there"))
		assert.False(t, known, "it is forgotten")
	})
}

// The storage of an object is open once, also when the object wakes, writes and hibernates in the middle of a loop, which sees what was
// stored when it began. It does not keep the object awake.
func TestScanStorageWhileTheObjectWrites(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		n := newRooms(t, &edgews.NamespaceOptions{Store: store}, nil)
		id := n.IDFromName("lobby")
		fill(t, n, id)
		var got []string
		for e, err := range n.ScanStorage(t.Context(), id, edgews.Range{}) {
			require.NoError(t, err)
			got = append(got, e.Key+"="+string(e.Value))
			s := n.wake(id).Storage()
			require.NoError(t, s.Put(t.Context(), "b/2", []byte("changed")))
			require.NoError(t, s.Put(t.Context(), "c", nil))
			require.NoError(t, n.Hibernate(t.Context(), id), "the loop does not keep it awake")
			n.wantsState(id, edgews.ObjectHibernated)
			time.Sleep(2 * time.Minute)
			_, known := n.Info(id)
			assert.True(t, known, "it is not forgotten while its storage is open")
		}
		assert.Equal(t, []string{"a=in a", "b/1=in b/1", "b/2=in b/2"}, got)
		assert.Equal(t, "a=in a b/1=in b/1 b/2=changed c=", entries(t, n.ScanStorage(t.Context(), id, edgews.Range{})))
	})
}

// Loops of operators, writes, hibernation and objects that are forgotten, at random moments: the storage is never open twice, and a loop sees
// both values of a commit, or neither.
func TestScanStorageRacesWithTheObject(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		n := newRooms(t, &edgews.NamespaceOptions{Store: store, HibernateAfter: time.Millisecond}, nil)
		id := n.IDFromName("lobby")
		ctx := t.Context()
		var all sync.WaitGroup
		all.Go(func() {
			for i := range 200 {
				s := n.wake(id).Storage()
				err := s.Update(ctx, func(tx *edgews.Tx) error {
					return errors.Join(tx.Put("x", fmt.Append(nil, i)), tx.Put("y", fmt.Append(nil, i)))
				})
				if err != nil {
					assert.ErrorIs(t, err, edgews.ErrAborted, "the value has hibernated")
				}
				time.Sleep(time.Duration(i%7) * time.Second)
			}
		})
		for range 4 {
			all.Go(func() {
				for i := range 200 {
					values := make(map[string]string)
					for e, err := range n.ScanStorage(ctx, id, edgews.Range{}) {
						if !assert.NoError(t, err) {
							return
						}
						values[e.Key] = string(e.Value)
						time.Sleep(time.Duration(i%3) * time.Millisecond)
					}
					assert.Equal(t, values["x"], values["y"])
					time.Sleep(time.Duration(i%11) * 10 * time.Second)
				}
			})
		}
		all.Wait()
	})
}

// scanError returns the error that an iterator yields, which is the last thing.
func scanError(list func(func(edgews.Entry, error) bool)) (failure error) {
	for _, err := range list {
		if failure != nil {
			return errors.New("the loop goes on after an error")
		}
		failure = err
	}
	return failure
}

func TestScanStorageFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		n := newRooms(t, &edgews.NamespaceOptions{Store: store}, nil)
		other := edgews.NewNamespace("others", newHandlerless, nil)
		id := n.IDFromName("lobby")
		ended, end := context.WithCancel(t.Context())
		end()
		ctx := t.Context()
		assert.ErrorIs(t, scanError(n.ScanStorage(ctx, edgews.ID{}, edgews.Range{})), edgews.ErrInvalidID)
		assert.ErrorIs(t, scanError(n.ScanStorage(ctx, other.IDFromName("lobby"), edgews.Range{})), edgews.ErrInvalidID)
		assert.ErrorIs(t, scanError(n.ScanStorage(ctx, id, edgews.Range{Limit: -1})), edgews.ErrInvalidRange)
		assert.ErrorIs(t, scanError(n.ScanStorage(ended, id, edgews.Range{})), context.Canceled)
		store.opens = func() error { return io.ErrUnexpectedEOF }
		assert.ErrorIs(t, scanError(n.ScanStorage(ctx, id, edgews.Range{})), io.ErrUnexpectedEOF)
		store.opens = func() error { return edgews.ErrFenced }
		assert.ErrorIs(t, scanError(n.ScanStorage(ctx, id, edgews.Range{})), edgews.ErrFenced)
		store.opens = nil
		another := n.IDFromName("another")
		fill(t, n, another)
		require.NoError(t, n.Shutdown(ctx))
		assert.ErrorIs(t, scanError(n.ScanStorage(ctx, another, edgews.Range{})), edgews.ErrShutdown)
		require.NoError(t, other.Shutdown(ctx))
	})
}

// A loop in whose middle Shutdown cuts ends with ErrShutdown, and Shutdown waits for its body: afterwards nothing uses the store.
func TestShutdownDuringScanStorage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		n := newRooms(t, &edgews.NamespaceOptions{Store: store}, nil)
		id := n.IDFromName("lobby")
		fill(t, n, id)
		in, goOn, down := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		go func() {
			<-in
			down <- n.Shutdown(t.Context())
		}()
		var keys []string
		var failure error
		for e, err := range n.ScanStorage(t.Context(), id, edgews.Range{}) {
			if failure = err; err != nil {
				break
			}
			keys = append(keys, e.Key)
			close(in)
			time.AfterFunc(10*time.Second, func() { close(goOn) })
			<-goOn
			assert.Empty(t, down, "Shutdown waits")
		}
		assert.Equal(t, []string{"a"}, keys)
		assert.ErrorIs(t, failure, edgews.ErrShutdown)
		require.NoError(t, <-down)
		assert.Zero(t, store.inUse())
	})
}

// Looking on does not change the bill.
func TestScanStorageIsNotBilled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		meter := edgews.NewMeter(nil)
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: meter}}, nil)
		id := n.IDFromName("lobby")
		fill(t, n, id)
		before := meter.Usage()
		for _, err := range n.ScanStorage(t.Context(), id, edgews.Range{}) {
			require.NoError(t, err)
			time.Sleep(time.Minute)
		}
		assert.Equal(t, before, meter.Usage())
	})
}

func TestAlarmsOfANamespace(t *testing.T) {
	inAlarms(t, ok, func(t *testing.T, n *rooms, store *watchedStore, id edgews.ID) {
		ctx := t.Context()
		all, err := n.Alarms(ctx, time.Time{}, 10)
		require.NoError(t, err)
		assert.Empty(t, all)
		var want []edgews.AlarmInfo
		for i := range 3 {
			at := time.Now().Add(time.Duration(1+i) * time.Hour)
			id := n.IDFromName(fmt.Sprint("room ", i))
			require.NoError(t, n.wake(id).Storage().SetAlarm(ctx, at))
			want = append(want, edgews.AlarmInfo{ID: id, At: at})
		}
		time.Sleep(10 * time.Minute) // the objects are forgotten
		alarms := func(until time.Time, limit int) []edgews.AlarmInfo {
			t.Helper()
			found, err := n.Alarms(ctx, until, limit)
			require.NoError(t, err)
			for i, a := range found {
				assert.True(t, want[i].At.Equal(a.At), "%v and %v", want[i].At, a.At)
				found[i].At = want[i].At
			}
			return found
		}
		assert.Equal(t, want, alarms(time.Time{}, 10))
		assert.Equal(t, want[:2], alarms(time.Time{}, 2))
		assert.Equal(t, want[:2], alarms(want[1].At, 10))
		assert.Empty(t, alarms(time.Now(), 10))
		assert.Empty(t, alarms(time.Time{}, 0))
		assert.Empty(t, alarms(time.Time{}, -1))

		ended, end := context.WithCancel(ctx)
		end()
		_, err = n.Alarms(ended, time.Time{}, 10)
		assert.ErrorIs(t, err, context.Canceled)
		require.NoError(t, n.Shutdown(ctx))
		_, err = n.Alarms(ctx, time.Time{}, 10)
		assert.ErrorIs(t, err, edgews.ErrShutdown)
	})
}

// Alarm says when the alarm of one object is due, in whatever state the object is, and wakes it for nothing.
func TestAlarmOfAnObject(t *testing.T) {
	inAlarms(t, ok, func(t *testing.T, n *rooms, store *watchedStore, id edgews.ID) {
		ctx := t.Context()
		wants := func(want time.Time) {
			t.Helper()
			at, err := n.Alarm(ctx, id)
			require.NoError(t, err)
			assert.True(t, want.Equal(at), "%v and %v", want, at)
		}
		wants(time.Time{})
		assert.Zero(t, n.made.Load())
		at := time.Now().Add(time.Hour)
		require.NoError(t, n.wake(id).Storage().SetAlarm(ctx, at))
		wants(at)
		require.NoError(t, n.Hibernate(ctx, id))
		wants(at)
		time.Sleep(10 * time.Minute) // the object is forgotten
		made := n.made.Load()
		wants(at)
		assert.Equal(t, made, n.made.Load())
		synctest.Wait()
		assert.Zero(t, store.inUse(), "the storage is given back")
		require.NoError(t, n.wake(id).Storage().DeleteAlarm(ctx))
		wants(time.Time{})

		_, err := n.Alarm(ctx, edgews.ID{})
		assert.ErrorIs(t, err, edgews.ErrInvalidID)
		ended, end := context.WithCancel(ctx)
		end()
		_, err = n.Alarm(ended, id)
		assert.ErrorIs(t, err, context.Canceled)
		require.NoError(t, n.Shutdown(ctx))
		_, err = n.Alarm(ctx, id)
		assert.ErrorIs(t, err, edgews.ErrShutdown)
	})
}

// Shutdown waits until Alarms does not use the store any more.
func TestShutdownDuringAlarms(t *testing.T) {
	inAlarms(t, ok, func(t *testing.T, n *rooms, store *watchedStore, id edgews.ID) {
		asked, answer, listed := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		synctest.Wait() // the first poll is over
		store.mu.Lock()
		store.asked = func() error { close(asked); <-answer; return nil }
		store.mu.Unlock()
		go func() { _, err := n.Alarms(t.Context(), time.Time{}, 10); listed <- err }()
		<-asked
		down := make(chan error, 1)
		go func() { down <- n.Shutdown(t.Context()) }()
		time.Sleep(time.Minute)
		assert.Empty(t, down)
		close(answer)
		require.NoError(t, <-down)
		assert.NoError(t, <-listed)
	})
}

// RunAlarm runs the alarm long before its time, once, and wakes the object for it.
func TestRunAlarm(t *testing.T) {
	inAlarms(t, ok, func(t *testing.T, n *rooms, store *watchedStore, id edgews.ID) {
		ctx := t.Context()
		st := n.wake(id)
		require.NoError(t, st.Storage().SetAlarm(ctx, time.Now().Add(time.Hour)))
		require.NoError(t, n.Hibernate(ctx, id))
		time.Sleep(10 * time.Minute)
		require.NoError(t, n.RunAlarm(ctx, id))
		n.rings("10m0s")
		assert.EqualValues(t, 2, n.made.Load(), "it is constructed for it")
		assert.ErrorIs(t, n.RunAlarm(ctx, id), edgews.ErrNoAlarm)
		n.alarmAt(n.wake(id), -1)
		left, err := n.Alarms(ctx, time.Time{}, 1)
		require.NoError(t, err)
		assert.Empty(t, left)
		n.nothingMore()
	})
}

// An alarm that fails is retried as if it had gone off by itself, and RunAlarm returns its error.
func TestRunAlarmThatFails(t *testing.T) {
	inAlarms(t, fail, func(t *testing.T, n *rooms, store *watchedStore, id edgews.ID) {
		ctx := t.Context()
		require.NoError(t, n.wake(id).Storage().SetAlarm(ctx, time.Now().Add(time.Hour)))
		assert.ErrorIs(t, n.RunAlarm(ctx, id), io.EOF)
		n.rings("0s")
		n.alarmAt(n.wake(id), 2*time.Second)
		assert.ErrorIs(t, n.RunAlarm(ctx, id), io.EOF)
		n.rings("0s")
		n.alarmAt(n.wake(id), 4*time.Second) // it counts as a retry
		n.rings("4s", "12s", "28s", "1m0s", "2m4s")
		n.nothingMore()
		assert.ErrorIs(t, n.RunAlarm(ctx, id), edgews.ErrNoAlarm, "it is dropped")
	})
}

// The handler of an alarm that RunAlarm runs may set the next one.
func TestRunAlarmThatIsSetAgain(t *testing.T) {
	again := true
	inAlarms(t, func(r *room) error {
		if !again {
			return nil
		}
		again = false
		return r.st.Storage().SetAlarm(context.Background(), time.Now().Add(time.Minute))
	}, func(t *testing.T, n *rooms, store *watchedStore, id edgews.ID) {
		require.NoError(t, n.wake(id).Storage().SetAlarm(t.Context(), time.Now().Add(time.Hour)))
		require.NoError(t, n.RunAlarm(t.Context(), id))
		n.rings("0s", "1m0s")
		n.nothingMore()
	})
}

// RunAlarm at the moment at which the alarm is due anyway: it goes off once.
func TestRunAlarmThatIsDue(t *testing.T) {
	inAlarms(t, ok, func(t *testing.T, n *rooms, store *watchedStore, id edgews.ID) {
		require.NoError(t, n.wake(id).Storage().SetAlarm(t.Context(), time.Now().Add(time.Second)))
		time.Sleep(time.Second)
		var runs sync.WaitGroup
		for range 3 {
			runs.Go(func() {
				if err := n.RunAlarm(t.Context(), id); err != nil {
					assert.ErrorIs(t, err, edgews.ErrNoAlarm)
				}
			})
		}
		runs.Wait()
		n.rings("1s")
		n.nothingMore()
	})
}

func TestRunAlarmRefuses(t *testing.T) {
	var n *rooms
	inEvent := make(chan error, 1)
	inAlarms(t, func(r *room) error {
		return nil
	}, func(t *testing.T, in *rooms, store *watchedStore, id edgews.ID) {
		n = in
		ctx := t.Context()
		other := edgews.NewNamespace("others", newHandlerless, nil)
		assert.ErrorIs(t, n.RunAlarm(ctx, edgews.ID{}), edgews.ErrInvalidID)
		assert.ErrorIs(t, n.RunAlarm(ctx, other.IDFromName("lobby")), edgews.ErrInvalidID)
		assert.ErrorIs(t, n.RunAlarm(ctx, id), edgews.ErrNoAlarm)

		require.NoError(t, n.wake(id).Storage().SetAlarm(ctx, time.Now().Add(time.Hour)))
		require.NoError(t, n.Get(id).Do(ctx, func(ctx context.Context, _ edgews.Object) error {
			inEvent <- n.RunAlarm(ctx, id)
			return nil
		}))
		assert.ErrorIs(t, <-inEvent, edgews.ErrReentrant)
		ended, end := context.WithCancel(ctx)
		end()
		assert.ErrorIs(t, n.RunAlarm(ended, id), context.Canceled)
		n.alarmAt(n.wake(id), time.Hour)
		store.opens = func() error { return io.ErrUnexpectedEOF }
		another := n.IDFromName("another")
		assert.ErrorIs(t, n.RunAlarm(ctx, another), io.ErrUnexpectedEOF)
		store.opens = nil

		require.NoError(t, n.Shutdown(ctx))
		assert.ErrorIs(t, n.RunAlarm(ctx, id), edgews.ErrShutdown)
		require.NoError(t, other.Shutdown(ctx))
	})
}

// An alarm that was stored by a program whose objects had a handler.
func TestRunAlarmWithoutHandler(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		before := alarmRooms(t, store, ok)
		id := before.IDFromName("lobby")
		require.NoError(t, before.wake(id).Storage().SetAlarm(t.Context(), time.Now().Add(time.Hour)))
		require.NoError(t, before.Shutdown(t.Context()))

		n := edgews.NewNamespace("rooms", newHandlerless, &edgews.NamespaceOptions{Store: store, Options: edgews.Options{Logger: quiet}})
		assert.ErrorIs(t, n.RunAlarm(t.Context(), id), edgews.ErrNoAlarmHandler)
		assert.ErrorIs(t, n.RunAlarm(t.Context(), id), edgews.ErrNoAlarm, "it is dropped, as one that goes off by itself")
		require.NoError(t, n.Shutdown(t.Context()))
	})
}
