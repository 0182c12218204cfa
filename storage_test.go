package edgews_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// watchedStore is an engine that a test looks at and interferes with. It checks what edgews promises to engines.
type watchedStore struct {
	edgews.Store
	t testing.TB

	mu     sync.Mutex
	open   map[edgews.ObjectKey]bool
	opened int
	polls  int
	before func(ctx context.Context, b edgews.Batch) error // of a commit; an error is what it fails with
	opens  func() error
	asked  func() error
}

func watch(t testing.TB, s edgews.Store) *watchedStore {
	w := &watchedStore{Store: s, t: t, open: make(map[edgews.ObjectKey]bool)}
	t.Cleanup(func() { assert.Zero(t, w.inUse(), "storage is released") })
	return w
}

func (w *watchedStore) inUse() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.open)
}

// interfere has fn called before each commit.
func (w *watchedStore) interfere(fn func(ctx context.Context, b edgews.Batch) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before = fn
}

func (w *watchedStore) count() (opened, polls int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.opened, w.polls
}

func (w *watchedStore) Open(ctx context.Context, key edgews.ObjectKey, f edgews.Fence) (edgews.ObjectStore, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	assert.False(w.t, w.open[key], "opened twice")
	if w.opens != nil {
		if err := w.opens(); err != nil {
			return nil, err
		}
	}
	assert.Equal(w.t, edgews.Fence{Epoch: 1}, f)
	s, err := w.Store.Open(ctx, key, f)
	if err != nil {
		return nil, err
	}
	w.open[key] = true
	w.opened++
	return &watchedObject{ObjectStore: s, w: w, key: key}, nil
}

func (w *watchedStore) DueAlarms(ctx context.Context, namespace string, until time.Time, limit int) ([]edgews.DueAlarm, error) {
	w.mu.Lock()
	w.polls++
	asked := w.asked
	w.mu.Unlock()
	if asked != nil {
		if err := asked(); err != nil {
			return nil, err
		}
	}
	return w.Store.DueAlarms(ctx, namespace, until, limit)
}

type watchedObject struct {
	edgews.ObjectStore
	w   *watchedStore
	key edgews.ObjectKey

	mu       sync.Mutex
	calls    int
	commits  int
	released bool
}

// enter notes a call and returns what ends it.
func (o *watchedObject) enter(commit bool) func() {
	o.mu.Lock()
	defer o.mu.Unlock()
	assert.False(o.w.t, o.released, "used after Release")
	o.calls++
	if commit {
		o.commits++
		assert.Equal(o.w.t, 1, o.commits, "commits at a time")
	}
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.calls--
		if commit {
			o.commits--
		}
	}
}

func (o *watchedObject) Get(ctx context.Context, key string) ([]byte, error) {
	defer o.enter(false)()
	return o.ObjectStore.Get(ctx, key)
}

func (o *watchedObject) Scan(ctx context.Context, r edgews.Range) iter.Seq2[edgews.Entry, error] {
	return func(yield func(edgews.Entry, error) bool) {
		defer o.enter(false)()
		o.ObjectStore.Scan(ctx, r)(yield)
	}
}

func (o *watchedObject) Commit(ctx context.Context, b edgews.Batch) error {
	defer o.enter(true)()
	o.w.mu.Lock()
	before := o.w.before
	o.w.mu.Unlock()
	if before != nil {
		if err := before(ctx, b); err != nil {
			return err
		}
	}
	return o.ObjectStore.Commit(ctx, b)
}

func (o *watchedObject) Release() {
	o.mu.Lock()
	assert.False(o.w.t, o.released, "released twice")
	assert.Zero(o.w.t, o.calls, "released while in use")
	o.released = true
	o.mu.Unlock()
	o.ObjectStore.Release()
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	delete(o.w.open, o.key)
}

// entries writes down what List yields.
func entries(t testing.TB, list iter.Seq2[edgews.Entry, error]) string {
	t.Helper()
	var all []string
	for e, err := range list {
		require.NoError(t, err)
		all = append(all, e.Key+"="+string(e.Value))
	}
	return strings.Join(all, " ")
}

// inStorage runs f in a bubble with a namespace over a watched store in memory, and the State of one of its objects, which
// is awake.
func inStorage(t *testing.T, f func(t *testing.T, n *rooms, store *watchedStore, st *edgews.State)) {
	t.Helper()
	bubble(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		n := newRooms(t, &edgews.NamespaceOptions{Store: store}, nil)
		f(t, n, store, n.wake(n.IDFromName("lobby")))
	})
}

func TestStorage(t *testing.T) {
	for _, store := range []edgews.Store{nil, edgews.NewMemoryStore()} {
		bubble(t, func(t *testing.T) {
			n := newRooms(t, &edgews.NamespaceOptions{Store: store}, nil)
			ctx, id := t.Context(), n.IDFromName("lobby")
			s := n.wake(id).Storage()
			_, err := s.Get(ctx, "a")
			assert.ErrorIs(t, err, edgews.ErrKeyNotFound)
			require.NoError(t, s.Delete(ctx, "a"))
			value := []byte("1")
			require.NoError(t, s.Put(ctx, "a", value))
			value[0] = 'x'
			require.NoError(t, s.Put(ctx, "b/2", []byte("two")))
			require.NoError(t, s.Put(ctx, "b/1", nil))
			require.NoError(t, s.Put(ctx, "é", []byte{0}))

			got, err := s.Get(ctx, "a")
			require.NoError(t, err)
			assert.Equal(t, "1", string(got), "Put copies")
			got[0] = 'y'
			assert.Equal(t, "a=1 b/1= b/2=two é=\x00", entries(t, s.List(ctx, "")))
			assert.Equal(t, "b/1= b/2=two", entries(t, s.List(ctx, "b/")))
			assert.Empty(t, entries(t, s.List(ctx, "c")))
			for e := range s.List(ctx, "") {
				require.NoError(t, s.Delete(ctx, e.Key), "a loop may write")
				break
			}

			require.NoError(t, n.Hibernate(ctx, id))
			_, err = s.Get(ctx, "b/2")
			assert.ErrorIs(t, err, edgews.ErrAborted, "the value has gone")
			s = n.wake(id).Storage()
			assert.Equal(t, "b/1= b/2=two é=\x00", entries(t, s.List(ctx, "")))
			assert.Empty(t, entries(t, n.wake(n.IDFromName("another")).Storage().List(ctx, "")))
			require.NoError(t, s.DeleteAll(ctx))
			assert.Empty(t, entries(t, s.List(ctx, "")))
		})
	}
}

func TestStorageLimits(t *testing.T) {
	inStorage(t, func(t *testing.T, n *rooms, store *watchedStore, st *edgews.State) {
		ctx, s := t.Context(), st.Storage()
		cases := []struct {
			key   string
			value int
			want  error
			text  string
		}{
			{"", 0, edgews.ErrInvalidKey, "edgews: invalid storage key: it is empty"},
			{strings.Repeat("k", 2049), 0, edgews.ErrInvalidKey, "edgews: invalid storage key: it has 2049 bytes; the limit is 2048"},
			{"\x00alarm", 0, edgews.ErrInvalidKey, `edgews: invalid storage key: "\x00alarm" begins with a zero byte, which is reserved`},
			{"a", 2<<20 + 1, edgews.ErrValueTooBig, `edgews: value is too big for storage: that of "a" has 2097153 bytes; the limit is 2097152`},
			{strings.Repeat("k", 2048), 2 << 20, nil, ""},
		}
		for _, c := range cases {
			check := func(err error) {
				assert.ErrorIs(t, err, c.want)
				if err != nil {
					assert.EqualError(t, err, c.text)
				}
			}
			value := make([]byte, c.value)
			check(s.Put(ctx, c.key, value))
			require.NoError(t, s.Update(ctx, func(tx *edgews.Tx) error {
				check(tx.Put(c.key, value))
				if c.want == edgews.ErrInvalidKey {
					_, err := tx.Get(c.key)
					check(err)
					check(tx.Delete(c.key))
				}
				return nil
			}))
			if c.want == edgews.ErrInvalidKey {
				_, err := s.Get(ctx, c.key)
				check(err)
				check(s.Delete(ctx, c.key))
			}
		}
		assert.Empty(t, entries(t, s.List(ctx, "\x00")))

		store.interfere(func(context.Context, edgews.Batch) error {
			return fmt.Errorf("%w: this engine takes 1 MiB", edgews.ErrValueTooBig)
		})
		assert.ErrorIs(t, s.Put(ctx, "b", nil), edgews.ErrValueTooBig)
		store.interfere(nil)
		require.NoError(t, s.Put(ctx, "b", nil), "the object goes on")
	})
}

// Storage is opened when it is used, once, and released with the value.
func TestStorageIsOpenedWhenUsed(t *testing.T) {
	inStorage(t, func(t *testing.T, n *rooms, store *watchedStore, st *edgews.State) {
		ctx, id := t.Context(), st.ID()
		opens := func() int { synctest.Wait(); opened, _ := store.count(); return opened }
		assert.Zero(t, opens())
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { _, _ = st.Storage().Get(ctx, "a") })
			all.Go(func() { assert.NoError(t, st.Storage().Put(ctx, "a", nil)) })
		}
		all.Wait()
		assert.Equal(t, 1, opens())
		assert.Equal(t, 1, store.inUse())
		n.wantsState(id, edgews.ObjectIdle)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		n.wantsState(id, edgews.ObjectHibernated)
		assert.Zero(t, store.inUse())

		st = n.wake(id)
		assert.Equal(t, 1, opens())
		require.NoError(t, st.Storage().Put(ctx, "a", nil))
		require.NoError(t, n.Hibernate(ctx, id))
		assert.Equal(t, 2, opens())
		assert.Zero(t, store.inUse())

		st = n.wake(id)
		require.NoError(t, st.Storage().Put(ctx, "a", nil))
		st.Abort(nil)
		assert.Equal(t, 3, opens())
		assert.Zero(t, store.inUse())
		_, err := st.Storage().Get(ctx, "a")
		assert.ErrorIs(t, err, edgews.ErrAborted)
		time.Sleep(5 * time.Minute)
		_, there := n.info(id)
		assert.False(t, there, "it is forgotten")
	})
}

// An engine that is slow to release is not opened again before it has.
func TestStorageReleaseIsAwaited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &slowRelease{Store: edgews.NewMemoryStore(), free: make(chan struct{})}
		w := watch(t, store)
		n := newRooms(t, &edgews.NamespaceOptions{Store: w}, nil)
		id := n.NewUniqueID()
		require.NoError(t, n.wake(id).Storage().Put(t.Context(), "a", []byte("1")))
		require.NoError(t, n.Hibernate(t.Context(), id))
		time.Sleep(time.Hour)
		_, there := n.info(id)
		assert.True(t, there, "it is not forgotten meanwhile")
		st := n.wake(id)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := st.Storage().Get(short, "a")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		go func() { time.Sleep(time.Second); store.free <- struct{}{} }()
		start := time.Now()
		_, err = st.Storage().Get(t.Context(), "a")
		require.NoError(t, err)
		assert.Equal(t, time.Second, time.Since(start))
		close(store.free)
	})
}

type slowRelease struct {
	edgews.Store
	free chan struct{}
}

func (s *slowRelease) Open(ctx context.Context, key edgews.ObjectKey, f edgews.Fence) (edgews.ObjectStore, error) {
	o, err := s.Store.Open(ctx, key, f)
	return &slowObject{o, s}, err
}

type slowObject struct {
	edgews.ObjectStore
	s *slowRelease
}

func (o *slowObject) Release() { <-o.s.free; o.ObjectStore.Release() }

// A call that is under way keeps the object awake, and says so.
func TestStoragePins(t *testing.T) {
	inStorage(t, func(t *testing.T, n *rooms, store *watchedStore, st *edgews.State) {
		id, free, done := st.ID(), make(chan struct{}), make(chan error)
		store.interfere(func(context.Context, edgews.Batch) error { <-free; return nil })
		go func() { done <- st.Storage().Put(t.Context(), "a", nil) }()
		time.Sleep(time.Hour)
		n.wantsState(id, edgews.ObjectActive, "storage")
		assert.ErrorIs(t, n.Hibernate(t.Context(), id), edgews.ErrPinned)
		close(free)
		require.NoError(t, <-done)
		n.wantsState(id, edgews.ObjectIdle)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		n.wantsState(id, edgews.ObjectHibernated)
	})
}

func TestStorageContext(t *testing.T) {
	inStorage(t, func(t *testing.T, n *rooms, store *watchedStore, st *edgews.State) {
		s := st.Storage()
		over, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.Get(over, "a")
		assert.ErrorIs(t, err, context.Canceled)
		for _, err := range s.List(over, "") {
			assert.ErrorIs(t, err, context.Canceled)
		}
		assert.ErrorIs(t, s.Put(over, "a", nil), context.Canceled)
		assert.ErrorIs(t, s.Update(over, func(*edgews.Tx) error { panic("not called") }), context.Canceled)
		during, cancel := context.WithCancel(t.Context())
		assert.ErrorIs(t, s.Update(during, func(tx *edgews.Tx) error {
			require.NoError(t, tx.Put("a", nil))
			cancel()
			return nil
		}), context.Canceled, "nor does a commit begin")
		assert.Empty(t, entries(t, s.List(t.Context(), "")))

		// One that has begun goes on; those that wait for it give up.
		during, cancel = context.WithCancel(context.WithValue(t.Context(), keeperKey{}, "value"))
		store.interfere(func(ctx context.Context, b edgews.Batch) error {
			assert.Equal(t, "value", ctx.Value(keeperKey{}))
			cancel()
			synctest.Wait()
			assert.NoError(t, ctx.Err())
			return nil
		})
		var all sync.WaitGroup
		all.Go(func() { assert.NoError(t, s.Put(during, "a", nil)) })
		all.Wait()
		store.interfere(nil)
		require.NoError(t, s.Put(t.Context(), "b", nil))
		assert.Equal(t, "a= b=", entries(t, s.List(t.Context(), "")))
	})
}

func TestUpdate(t *testing.T) {
	inStorage(t, func(t *testing.T, n *rooms, store *watchedStore, st *edgews.State) {
		ctx, s := t.Context(), st.Storage()
		commits := 0
		store.interfere(func(context.Context, edgews.Batch) error { commits++; return nil })
		for _, key := range []string{"a", "b", "c"} {
			require.NoError(t, s.Put(ctx, key, []byte("old")))
		}
		var late *edgews.Tx
		require.NoError(t, s.Update(ctx, func(tx *edgews.Tx) error {
			late = tx
			value := []byte("new")
			require.NoError(t, tx.Put("b", value))
			value[0] = 'x'
			require.NoError(t, tx.Put("bb", nil))
			require.NoError(t, tx.Delete("a"))
			require.NoError(t, tx.Put("d", []byte("1")))
			require.NoError(t, tx.Put("d", []byte("2")))
			require.NoError(t, tx.Put("e", []byte("1")))
			require.NoError(t, tx.Delete("e"))
			require.NoError(t, tx.Delete("nothing"))

			assert.Equal(t, "b=new bb= c=old d=2", entries(t, tx.List("")))
			assert.Equal(t, "b=new bb=", entries(t, tx.List("b")))
			assert.Equal(t, "a=old b=old c=old", entries(t, s.List(ctx, "")), "not committed yet")
			for key, want := range map[string]string{"b": "new", "bb": "", "c": "old", "d": "2"} {
				got, err := tx.Get(key)
				require.NoError(t, err)
				assert.Equal(t, want, string(got))
			}
			for _, key := range []string{"a", "e", "nothing"} {
				_, err := tx.Get(key)
				assert.ErrorIs(t, err, edgews.ErrKeyNotFound)
			}
			for e := range tx.List("") { // as it was when the loop began, also after the writes of the loop
				require.NoError(t, tx.Put("f"+e.Key, nil))
				require.NoError(t, tx.Delete("f"+e.Key))
			}
			for range tx.List("") {
				break
			}
			return nil
		}))
		assert.Equal(t, "b=new bb= c=old d=2", entries(t, s.List(ctx, "")))
		assert.Equal(t, 4, commits)

		assert.ErrorIs(t, late.Put("a", nil), edgews.ErrTxDone)
		assert.ErrorIs(t, late.Delete("a"), edgews.ErrTxDone)
		assert.ErrorIs(t, late.DeleteAll(), edgews.ErrTxDone)
		_, err := late.Get("a")
		assert.ErrorIs(t, err, edgews.ErrTxDone)
		for _, err := range late.List("") {
			assert.ErrorIs(t, err, edgews.ErrTxDone)
		}

		assert.Equal(t, io.EOF, s.Update(ctx, func(tx *edgews.Tx) error {
			require.NoError(t, tx.DeleteAll())
			return io.EOF
		}))
		assert.PanicsWithValue(t, "oh", func() {
			_ = s.Update(ctx, func(tx *edgews.Tx) error {
				require.NoError(t, tx.DeleteAll())
				panic("oh")
			})
		})
		assert.Equal(t, "b=new bb= c=old d=2", entries(t, s.List(ctx, "")), "all or nothing")
		require.NoError(t, s.Update(ctx, func(tx *edgews.Tx) error {
			require.NoError(t, tx.Put("x", nil))
			require.NoError(t, tx.DeleteAll())
			_, err := tx.Get("b")
			assert.ErrorIs(t, err, edgews.ErrKeyNotFound)
			require.NoError(t, tx.Put("y", nil))
			require.NoError(t, tx.Delete("c"))
			assert.Equal(t, "y=", entries(t, tx.List("")))
			return nil
		}))
		assert.Equal(t, "y=", entries(t, s.List(ctx, "")))
	})
}

// Increments from many goroutines add up, and a value that is dropped meanwhile does not write any more.
func TestUpdatesComeOneAfterTheOther(t *testing.T) {
	inStorage(t, func(t *testing.T, n *rooms, store *watchedStore, st *edgews.State) {
		ctx := t.Context()
		store.interfere(func(context.Context, edgews.Batch) error { time.Sleep(time.Millisecond); return nil })
		increment := func() error {
			return st.Storage().Update(ctx, func(tx *edgews.Tx) error {
				count, err := tx.Get("count")
				if err != nil && !errors.Is(err, edgews.ErrKeyNotFound) {
					return err
				}
				runtime.Gosched()
				return tx.Put("count", append(count, '+'))
			})
		}
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { assert.NoError(t, increment()) })
		}
		all.Wait()
		assert.Equal(t, "count="+strings.Repeat("+", 50), entries(t, st.Storage().List(ctx, "")))

		results := make(chan error, 10)
		for range 10 {
			go func() { results <- increment() }()
		}
		synctest.Wait() // one commits, nine wait
		st.Abort(nil)
		var after []error
		for range 10 {
			after = append(after, <-results)
		}
		assert.Len(t, slices.DeleteFunc(after, func(err error) bool { return errors.Is(err, edgews.ErrAborted) }), 1)
		assert.Equal(t, "count="+strings.Repeat("+", 51), entries(t, n.wake(st.ID()).Storage().List(ctx, "")))
	})
}

// What the object believes after a commit that has failed is not what is stored, so it starts anew.
func TestStorageFailure(t *testing.T) {
	inStorage(t, func(t *testing.T, n *rooms, store *watchedStore, st *edgews.State) {
		id := st.ID()
		client, server, events := n.joins(id)
		require.NoError(t, st.Storage().Put(t.Context(), "a", []byte("1")))
		store.interfere(func(context.Context, edgews.Batch) error { return io.ErrClosedPipe })
		err := st.Do(t.Context(), func() error {
			err := st.Storage().Put(t.Context(), "a", []byte("2"))
			assert.ErrorIs(t, st.Storage().Put(t.Context(), "a", []byte("3")), edgews.ErrAborted)
			return err
		})
		assert.ErrorIs(t, err, io.ErrClosedPipe)
		assert.EqualError(t, err, "edgews: commit failed, and the object was reset: io: read/write on closed pipe")
		events.wantsEnd(closed(1011, "storage failed", true))
		waitDone(t, server)
		waitDone(t, client)
		store.interfere(nil)
		made := n.made.Load()
		assert.Equal(t, "a=1", entries(t, n.wake(id).Storage().List(t.Context(), "")))
		assert.Equal(t, made+1, n.made.Load(), "constructed again")
	})
}

// A panic of the engine fails the commit.
func TestStoragePanic(t *testing.T) {
	inStorage(t, func(t *testing.T, n *rooms, store *watchedStore, st *edgews.State) {
		_, _, events := n.joins(st.ID())
		store.interfere(func(context.Context, edgews.Batch) error { panic("engine") })
		assert.Panics(t, func() { _ = st.Storage().Put(t.Context(), "a", nil) })
		events.wantsEnd(closed(1011, "storage failed", true))
		store.interfere(nil)
		require.NoError(t, n.wake(st.ID()).Storage().Put(t.Context(), "a", nil))
	})
}

// An object that belongs to another owner stops for ever.
func TestStorageFenced(t *testing.T) {
	inStorage(t, func(t *testing.T, n *rooms, store *watchedStore, st *edgews.State) {
		id, ctx := st.ID(), t.Context()
		_, _, events := n.joins(id)
		require.NoError(t, st.Storage().Put(ctx, "a", nil))
		_, err := store.Store.Open(ctx, edgews.ObjectKey{Namespace: "rooms", ID: id}, edgews.Fence{Epoch: 2})
		require.NoError(t, err)
		assert.ErrorIs(t, st.Storage().Put(ctx, "a", nil), edgews.ErrFenced)
		events.wantsEnd(closed(1011, "object has moved", true))
		for range 2 {
			assert.ErrorIs(t, st.Storage().Put(ctx, "a", nil), edgews.ErrFenced)
			assert.ErrorIs(t, st.Do(ctx, func() error { panic("not called") }), edgews.ErrFenced)
			assert.Equal(t, http.StatusServiceUnavailable, n.get(id).Code)
			assert.ErrorIs(t, st.AcceptWebSocket(pairEnd()), edgews.ErrAborted)
			time.Sleep(time.Hour)
		}
		assert.EqualValues(t, 2, n.made.Load()+1, "never constructed again")
		_, there := n.info(id)
		assert.True(t, there, "nor forgotten")

		other := n.wake(n.IDFromName("another")) // already elsewhere when it is opened
		_, err = store.Store.Open(ctx, edgews.ObjectKey{Namespace: "rooms", ID: other.ID()}, edgews.Fence{Epoch: 2})
		require.NoError(t, err)
		_, err = other.Storage().Get(ctx, "a")
		assert.ErrorIs(t, err, edgews.ErrFenced)
		assert.Equal(t, http.StatusServiceUnavailable, n.get(other.ID()).Code)
	})
}

// If the engine cannot open an object, the call fails, and the object is not reset.
func TestStorageOpenFailure(t *testing.T) {
	inStorage(t, func(t *testing.T, n *rooms, store *watchedStore, st *edgews.State) {
		store.opens = func() error { return io.ErrNoProgress }
		_, err := st.Storage().Get(t.Context(), "a")
		assert.ErrorIs(t, err, io.ErrNoProgress)
		assert.ErrorIs(t, st.Storage().Put(t.Context(), "a", nil), io.ErrNoProgress)
		store.opens = nil
		require.NoError(t, st.Storage().Put(t.Context(), "a", nil))
	})
}

// After Shutdown the store is not used any more and may be closed; until then events use it.
func TestStorageShutdown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		n := newRooms(t, &edgews.NamespaceOptions{Store: store}, func(r *room) {
			r.close = func(ctx context.Context, s *edgews.Socket, e edgews.CloseEvent) error {
				return r.st.Storage().Put(ctx, "closed", nil)
			}
		})
		id := n.IDFromName("lobby")
		n.joins(id)
		st := n.wake(id)
		store.interfere(func(context.Context, edgews.Batch) error { time.Sleep(time.Second); return nil })
		stray := make(chan error, 1)
		go func() { stray <- st.Storage().Put(t.Context(), "stray", nil) }()
		synctest.Wait()
		require.NoError(t, n.Shutdown(t.Context()))
		assert.NoError(t, <-stray)
		assert.Zero(t, store.inUse())
		assert.ErrorIs(t, st.Storage().Put(t.Context(), "late", nil), edgews.ErrShutdown)
		store.interfere(nil)

		again := newRooms(t, &edgews.NamespaceOptions{Store: store}, nil)
		assert.Equal(t, "closed= stray=", entries(t, again.wake(id).Storage().List(t.Context(), "")))
	})
}

// A commit that hangs ends when Shutdown cuts.
func TestStorageShutdownCuts(t *testing.T) {
	inStorage(t, func(t *testing.T, n *rooms, store *watchedStore, st *edgews.State) {
		store.interfere(func(ctx context.Context, _ edgews.Batch) error { <-ctx.Done(); return ctx.Err() })
		done := make(chan error, 1)
		go func() { done <- st.Storage().Put(context.Background(), "a", nil) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.ErrorIs(t, n.Shutdown(ctx), context.DeadlineExceeded)
		assert.ErrorIs(t, <-done, context.Canceled)
		assert.ErrorIs(t, st.Storage().Put(t.Context(), "a", nil), edgews.ErrShutdown)
		synctest.Wait()
	})
}

// A handler that does not end keeps its storage open until it does.
func TestStorageShutdownStuck(t *testing.T) {
	inStorage(t, func(t *testing.T, n *rooms, store *watchedStore, st *edgews.State) {
		free := make(chan struct{})
		go st.Do(context.Background(), func() error {
			_, _ = st.Storage().Get(t.Context(), "a")
			<-free
			return st.Storage().Put(t.Context(), "a", nil)
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.ErrorIs(t, n.Shutdown(ctx), context.DeadlineExceeded)
		assert.Equal(t, 1, store.inUse())
		close(free)
		synctest.Wait()
		assert.Zero(t, store.inUse())
	})
}

// keeper is an object that hands out its State.
type keeper struct{ st *edgews.State }

type keeperKey struct{}

func (k *keeper) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	if into, ok := r.Context().Value(keeperKey{}).(*keeper); ok {
		into.st = k.st
	}
}
