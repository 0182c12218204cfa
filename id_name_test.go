package edgews_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestIDName(t *testing.T) {
	n := newRooms(t, nil, nil)
	id := n.IDFromName("lobby")
	assert.Equal(t, "lobby", id.Name())
	assert.Equal(t, "lobby", n.ByName("lobby").ID().Name())
	assert.Equal(t, "lobby", n.wake(id).ID().Name())
	assert.Empty(t, n.NewUniqueID().Name())
	assert.Empty(t, n.IDFromName("").Name())
	assert.Empty(t, edgews.ID{}.Name())
	assert.Equal(t, strings.Repeat("x", 1<<20), n.IDFromName(strings.Repeat("x", 1<<20)).Name())
	info, ok := n.info(id)
	require.True(t, ok)
	assert.Equal(t, "lobby", info.ID.Name())
}

// IDs with the same digits are the same, however they were come by.
func TestIDsAreEqualWithAndWithoutName(t *testing.T) {
	n := newRooms(t, nil, nil)
	named := n.IDFromName("lobby")
	parsed, err := n.ParseID(named.String())
	require.NoError(t, err)
	var decoded edgews.ID
	text, err := json.Marshal(named)
	require.NoError(t, err)
	assert.NotContains(t, string(text), "lobby")
	require.NoError(t, json.Unmarshal(text, &decoded))
	assert.True(t, named == parsed && parsed == decoded)
	assert.Len(t, map[edgews.ID]int{named: 1, parsed: 2, decoded: 3}, 1)
	assert.Equal(t, "lobby", parsed.Name(), "the program has an ID from the name")
	var zero edgews.ID
	require.NoError(t, zero.UnmarshalText([]byte(strings.Repeat("0", 64))))
	assert.True(t, zero == edgews.ID{})
}

// The first to come knows no name. It learns it when an ID is made from the name.
func TestParsedIDLearnsName(t *testing.T) {
	n := newRooms(t, nil, nil)
	text := n.IDFromName("learned").String()
	edgews.ForgetNames()
	parsed, err := n.ParseID(text)
	require.NoError(t, err)
	assert.Empty(t, parsed.Name())
	assert.True(t, parsed == n.IDFromName("learned"))
	assert.Equal(t, "learned", parsed.Name())
}

// An ID that nothing refers to any more costs nothing, so clients cannot fill the memory with names.
func TestIDsAreCollected(t *testing.T) {
	n := newRooms(t, nil, nil)
	before := edgews.KnownIDs()
	for i := range 10_000 {
		n.IDFromName(fmt.Sprint("collected", i))
	}
	for begin := time.Now(); edgews.KnownIDs() > before+100; runtime.Gosched() {
		runtime.GC()
		require.Less(t, time.Since(begin), patience)
	}
}

func TestIDsFromManyGoroutines(t *testing.T) {
	n := newRooms(t, nil, nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 500 {
				name := fmt.Sprint(i % 17)
				id := n.IDFromName(name)
				parsed, err := n.ParseID(id.String())
				assert.NoError(t, err)
				assert.True(t, id == parsed)
				assert.Equal(t, name, parsed.Name())
				if i%100 == 0 {
					runtime.GC()
				}
			}
		})
	}
	wg.Wait()
}

// storeName has an object of that name store something, in a namespace that is then shut down, and returns its digits.
func storeName(t *testing.T, store edgews.Store, name string, write func(st *edgews.State) error) string {
	n := newRooms(t, &edgews.NamespaceOptions{Store: store}, nil)
	id := n.IDFromName(name)
	require.NoError(t, write(n.wake(id)))
	require.NoError(t, n.Shutdown(context.Background()))
	return id.String()
}

// In another process nothing but the storage knows the name.
func TestNameSurvivesRestart(t *testing.T) {
	ctx := context.Background()
	long := strings.Repeat("x", 1025)
	cases := []struct {
		what, name, want string
		write            func(st *edgews.State) error
	}{
		{"a value", "stored", "stored", func(st *edgews.State) error { return st.Storage().Put(ctx, "k", nil) }},
		{"a transaction", "stored", "stored", func(st *edgews.State) error {
			return st.Storage().Update(ctx, func(tx *edgews.Tx) error { return tx.Put("k", nil) })
		}},
		{"an alarm", "stored", "stored", func(st *edgews.State) error { return st.Storage().SetAlarm(ctx, time.Now().Add(time.Hour)) }},
		{"an alarm in a transaction", "stored", "stored", func(st *edgews.State) error {
			return st.Storage().Update(ctx, func(tx *edgews.Tx) error { return tx.SetAlarm(time.Now().Add(time.Hour)) })
		}},
		{"a value after DeleteAll", "stored", "stored", func(st *edgews.State) error {
			return firstError(st.Storage().Put(ctx, "k", nil), st.Storage().DeleteAll(ctx), st.Storage().Put(ctx, "k", nil))
		}},
		{"a value after an alarm", "stored", "stored", func(st *edgews.State) error {
			return firstError(st.Storage().SetAlarm(ctx, time.Now().Add(time.Hour)), st.Storage().Put(ctx, "k", nil), st.Storage().DeleteAlarm(ctx))
		}},
		{"DeleteAll", "stored", "", func(st *edgews.State) error {
			return firstError(st.Storage().Put(ctx, "k", nil), st.Storage().DeleteAll(ctx))
		}},
		{"nothing", "stored", "", func(st *edgews.State) error { return nil }},
		{"the longest name", long[1:], long[1:], func(st *edgews.State) error { return st.Storage().Put(ctx, "k", nil) }},
		{"a longer name", long, "", func(st *edgews.State) error { return st.Storage().Put(ctx, "k", nil) }},
	}
	for _, c := range cases {
		t.Run(c.what, func(t *testing.T) {
			store := edgews.NewMemoryStore()
			text := storeName(t, store, c.name, c.write)
			edgews.ForgetNames()
			var inConstructor string
			n := edgews.NewNamespace("rooms", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
				inConstructor = st.ID().Name()
				return &room{}, nil
			}, &edgews.NamespaceOptions{Store: store, Options: edgews.Options{Logger: quiet}})
			defer n.Shutdown(context.Background())
			id, err := n.ParseID(text)
			require.NoError(t, err)
			assert.Empty(t, id.Name(), "before the object has been looked at")
			require.NoError(t, serve(n.Get(id)))
			assert.Equal(t, c.want, inConstructor)
			for info := range n.Objects() {
				assert.Equal(t, c.want, info.ID.Name())
			}
		})
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// serve makes a request that has to succeed.
func serve(h http.Handler) error {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusOK {
		return fmt.Errorf("status %d: %s", w.Code, w.Body)
	}
	return nil
}

// The object of an alarm knows its name in another process, and when the alarm is retried there.
func TestAlarmKnowsNameAfterRestart(t *testing.T) {
	store := edgews.NewMemoryStore()
	storeName(t, store, "alarm", func(st *edgews.State) error {
		return st.Storage().SetAlarm(context.Background(), time.Now().Add(10*time.Millisecond))
	})
	edgews.ForgetNames()
	names := make(chan string, 1)
	n := newRooms(t, &edgews.NamespaceOptions{Store: store}, func(r *room) {
		r.alarm = func(context.Context) error { names <- r.st.ID().Name(); return nil }
	})
	assert.Equal(t, "alarm", <-names)
	require.NoError(t, n.Shutdown(context.Background()))
	assert.Zero(t, edgews.StoredObjects(store), "the name goes with the alarm")
}

// The name is one more entry of a commit that is made anyway, and of no other.
func TestNameCostsNoCommit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		var commits [][]string
		store.interfere(func(_ context.Context, b edgews.Batch) error {
			var keys []string
			for _, e := range b.Puts {
				keys = append(keys, e.Key)
			}
			commits = append(commits, keys)
			return nil
		})
		n := newRooms(t, &edgews.NamespaceOptions{Store: store}, nil)
		st := n.wake(n.IDFromName("lobby"))
		put := func() { require.NoError(t, st.Storage().Put(t.Context(), "k", nil)) }
		require.NoError(t, st.Storage().Delete(t.Context(), "k"))
		put()
		put()
		require.NoError(t, n.Hibernate(t.Context(), st.ID()))
		st = n.wake(st.ID())
		put()
		require.NoError(t, st.Storage().DeleteAll(t.Context()))
		put()
		assert.Equal(t, [][]string{nil, {"k", "\x00name"}, {"k"}, {"k"}, nil, {"k", "\x00name"}}, commits)
		for e, err := range st.Storage().List(t.Context(), "") {
			require.NoError(t, err)
			assert.Equal(t, "k", e.Key)
		}
	})
}

// A name that cannot be read does not keep the object from its events.
func TestNameCannotBeRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		n := newRooms(t, &edgews.NamespaceOptions{Store: store}, nil)
		text := n.IDFromName("lobby").String()
		edgews.ForgetNames()
		store.opens = func() error { return io.ErrNoProgress }
		id, err := n.ParseID(text)
		require.NoError(t, err)
		assert.Empty(t, n.wake(id).ID().Name())
		assert.ErrorIs(t, n.state.Storage().Put(t.Context(), "k", nil), io.ErrNoProgress)
		store.opens = nil
		assert.NoError(t, n.state.Storage().Put(t.Context(), "k", nil))
	})
}

// A request that has ended does not keep the value, which lasts longer, from the name.
func TestNameIsReadForACancelledRequest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		first := newRooms(t, &edgews.NamespaceOptions{Store: store}, nil)
		id := first.IDFromName("lobby")
		text := id.String()
		require.NoError(t, first.wake(id).Storage().Put(t.Context(), "k", nil))
		require.NoError(t, first.Shutdown(t.Context()))
		edgews.ForgetNames()
		var names []string
		n := newRooms(t, &edgews.NamespaceOptions{Store: store}, func(r *room) { names = append(names, r.st.ID().Name()) })
		id, err := n.ParseID(text)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		store.opens = func() error { cancel(); return nil }
		n.Get(id).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
		assert.Equal(t, []string{"lobby"}, names)
	})
}
