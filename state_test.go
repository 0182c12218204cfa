package edgews_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// drops are the ways in which an object's value goes. Its store is there to make commits fail.
var drops = map[string]func(n *rooms, store *watchedStore, st *edgews.State){
	"aborted": func(_ *rooms, _ *watchedStore, st *edgews.State) { st.Abort(nil) },
	"aborted in an event": func(n *rooms, _ *watchedStore, st *edgews.State) {
		assert.NoError(n.t, st.Do(n.t.Context(), func() error { st.Abort(nil); return nil }))
	},
	"handler panicked": func(n *rooms, _ *watchedStore, st *edgews.State) {
		assert.Error(n.t, st.Do(n.t.Context(), func() error { panic("oh") }))
	},
	"WaitUntil function panicked": func(_ *rooms, _ *watchedStore, st *edgews.State) {
		st.WaitUntil(func(context.Context) { panic("oh") })
		synctest.Wait()
	},
	"commit failed": func(n *rooms, store *watchedStore, st *edgews.State) {
		store.interfere(func(context.Context, edgews.Batch) error { return io.ErrClosedPipe })
		assert.ErrorIs(n.t, st.Storage().Put(n.t.Context(), "a", nil), io.ErrClosedPipe)
		store.interfere(nil)
	},
}

// dropping runs f for each way in which a value goes.
func dropping(t *testing.T, f func(t *testing.T, n *rooms, st *edgews.State, drop func())) {
	for name, drop := range drops {
		t.Run(name, func(t *testing.T) {
			inStorage(t, func(t *testing.T, n *rooms, store *watchedStore, st *edgews.State) {
				f(t, n, st, func() { drop(n, store, st) })
			})
		})
	}
}

// The work that a value has started is told, with the reason, when the value goes, and never meets the next value.
func TestWorkEndsWithItsValue(t *testing.T) {
	dropping(t, func(t *testing.T, n *rooms, st *edgews.State, drop func()) {
		cause, done := make(chan error, 1), make(chan error, 2)
		st.WaitUntil(func(ctx context.Context) {
			<-ctx.Done()
			assert.ErrorIs(t, ctx.Err(), context.Canceled)
			cause <- context.Cause(ctx)
			time.Sleep(time.Minute) // the next value comes
			for _, ctx := range []context.Context{ctx, context.WithoutCancel(ctx)} {
				done <- st.Do(ctx, func() error { t.Error("an event of the old value"); return nil })
			}
		})
		synctest.Wait()
		drop()
		assert.ErrorIs(t, <-cause, edgews.ErrAborted)
		next := n.wake(st.ID())
		require.NotSame(t, st, next)
		fresh := make(chan error, 1)
		next.WaitUntil(func(ctx context.Context) { time.Sleep(2 * time.Minute); fresh <- ctx.Err() })
		assert.ErrorIs(t, <-done, edgews.ErrAborted)
		assert.ErrorIs(t, <-done, edgews.ErrAborted)
		assert.NoError(t, <-fresh, "the next value's work goes on")
	})
}

// A Do that waits for its turn when the value goes never runs.
func TestWaitingDoEndsWithItsValue(t *testing.T) {
	for name, drop := range map[string]func(store *watchedStore, st *edgews.State){
		"the event before it aborts": func(_ *watchedStore, st *edgews.State) { st.Abort(nil) },
		"the event before it panics": func(*watchedStore, *edgews.State) { panic("oh") },
		"its commit fails": func(store *watchedStore, st *edgews.State) {
			store.interfere(func(context.Context, edgews.Batch) error { return io.ErrClosedPipe })
			assert.Error(t, st.Storage().Put(context.Background(), "a", nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inStorage(t, func(t *testing.T, n *rooms, store *watchedStore, st *edgews.State) {
				begun, end := make(chan struct{}), make(chan struct{})
				go st.Do(t.Context(), func() error { close(begun); <-end; drop(store, st); return nil })
				<-begun
				results := make(chan error, 10)
				for range cap(results) {
					go func() {
						results <- st.Do(t.Context(), func() error { t.Error("an event of the old value"); return nil })
					}()
				}
				synctest.Wait()
				close(end)
				for range cap(results) {
					assert.ErrorIs(t, <-results, edgews.ErrAborted)
				}
				synctest.Wait()
				assert.EqualValues(t, 1, n.made.Load(), "no value is constructed for them")
			})
		})
	}
}

// methodsOfGone calls each method of a State of which the value has gone, and says what it should do.
func methodsOfGone(t *testing.T, st *edgews.State, theirs *edgews.Socket) map[string]func() {
	ctx := context.Background()
	failing := func(err error) { t.Helper(); assert.ErrorIs(t, err, edgews.ErrAborted) }
	return map[string]func(){
		"ID":              func() { assert.NotZero(t, st.ID()) },
		"AcceptWebSocket": func() { failing(st.AcceptWebSocket(pairEnd())) },
		"WebSockets":      func() { assert.Empty(t, st.WebSockets()); assert.Empty(t, st.WebSockets("tag")) },
		"Broadcast":       func() { assert.Zero(t, st.Broadcast(edgews.Prepare(edgews.Text, []byte("x")))) },
		"SetEventTimeout": func() { failing(st.SetEventTimeout(time.Second)) },
		"EventTimeout":    func() { assert.Zero(t, st.EventTimeout()) },
		"SetAutoResponse": func() { failing(st.SetAutoResponse(auto("a", "b"))) },
		"AutoResponses":   func() { assert.Empty(t, st.AutoResponses()) },
		"AutoResponseTimestamp": func() {
			_, ok := st.AutoResponseTimestamp(theirs)
			assert.False(t, ok)
		},
		"Tags":    func() { _, err := st.Tags(theirs); failing(err) },
		"SetTags": func() { failing(st.SetTags(theirs, "other")) },
		"Hold": func() {
			held := pairEnd()
			st.Hold(held)
			assert.NoError(t, held.Accept())
		},
		"WaitUntil": func() {
			ran := make(chan error, 1)
			st.WaitUntil(func(ctx context.Context) { ran <- context.Cause(ctx) })
			failing(<-ran)
			synctest.Wait()
		},
		"Do":    func() { failing(st.Do(ctx, func() error { t.Error("it runs"); return nil })) },
		"Abort": func() { st.Abort(errors.New("too late")) },
		"Storage": func() {
			s := st.Storage()
			_, err := s.Get(ctx, "a")
			failing(err)
			for _, err := range s.List(ctx, "") {
				failing(err)
			}
			_, err = s.Alarm(ctx)
			failing(err)
			failing(s.Put(ctx, "a", nil))
			failing(s.Delete(ctx, "a"))
			failing(s.DeleteAll(ctx))
			failing(s.SetAlarm(ctx, time.Now()))
			failing(s.DeleteAlarm(ctx))
			failing(s.Update(ctx, func(*edgews.Tx) error { return nil }))
			ended, cancel := context.WithCancel(ctx)
			cancel()
			failing(s.Put(ended, "a", nil))
		},
	}
}

// All methods agree on what a State is whose value has gone: they fail or find nothing, and leave the next value alone.
func TestStateThatHasGone(t *testing.T) {
	for _, again := range []bool{false, true} { // without a value, and with the next
		dropping(t, func(t *testing.T, n *rooms, old *edgews.State, drop func()) {
			drop()
			checkGone(t, n, old, again)
		})
		t.Run("hibernated", func(t *testing.T) {
			inStorage(t, func(t *testing.T, n *rooms, _ *watchedStore, old *edgews.State) {
				require.NoError(t, n.Hibernate(t.Context(), old.ID()))
				checkGone(t, n, old, again)
			})
		})
	}
}

func checkGone(t *testing.T, n *rooms, old *edgews.State, again bool) {
	client, theirs := edgews.NewPair()
	if again {
		st := n.wake(old.ID())
		require.NotSame(t, old, st)
		require.NoError(t, st.AcceptWebSocket(theirs, "tag"))
		require.NoError(t, st.SetEventTimeout(time.Minute))
		require.NoError(t, st.SetAutoResponse(auto("ping", "pong")))
		require.NoError(t, client.Accept())
	}
	made := n.made.Load()
	methods := methodsOfGone(t, old, theirs)
	for i := range reflect.TypeFor[*edgews.State]().NumMethod() {
		name := reflect.TypeFor[*edgews.State]().Method(i).Name
		require.Contains(t, methods, name)
		methods[name]()
	}
	assert.Equal(t, made, n.made.Load(), "nothing is constructed")
	st := n.wake(old.ID())
	o, _ := n.info(old.ID())
	assert.Empty(t, o.Pins)
	if again {
		assert.Equal(t, made, n.made.Load(), "the next value is as it was")
		assert.Equal(t, []*edgews.Socket{theirs}, st.WebSockets("tag"))
		assert.Equal(t, edgews.Open, client.ReadyState())
		assert.Equal(t, time.Minute, st.EventTimeout())
		assert.Len(t, st.AutoResponses(), 1)
	}
}

// Shutdown lets work come to its end: it tells it to, lets it save what it has, and takes no longer than that.
func TestShutdownTellsWork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		var n *rooms
		n = newRooms(t, &edgews.NamespaceOptions{Store: store}, func(r *room) {
			r.close = func(ctx context.Context, s *edgews.Socket, e edgews.CloseEvent) error {
				n.notes("closed")
				return r.st.Storage().Put(ctx, "closed", nil)
			}
		})
		id := n.IDFromName("lobby")
		_, server, events := n.joins(id)
		st := n.wake(id)
		st.WaitUntil(func(ctx context.Context) {
			<-ctx.Done()
			assert.NotEqual(t, edgews.Open, server.ReadyState(), "the sockets are closed first")
			assert.ErrorIs(t, context.Cause(ctx), edgews.ErrShutdown)
			ctx = context.WithoutCancel(ctx)
			time.Sleep(5 * time.Second)
			assert.NoError(t, st.Do(ctx, func() error { return nil }))
			assert.NoError(t, st.Storage().Put(ctx, "saved", nil))
		})
		begun := make(chan struct{})
		go st.Do(t.Context(), func() error { close(begun); time.Sleep(3 * time.Second); return nil }) // so that the Close is not answered at once
		<-begun
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, n.Shutdown(ctx))
		assert.LessOrEqual(t, time.Since(start), 7*time.Second)
		n.wants("closed")
		events.wantsEnd(closed(1012, "service restart", true))
		again := newRooms(t, &edgews.NamespaceOptions{Store: store}, nil)
		assert.Equal(t, "closed= saved=", entries(t, again.wake(id).Storage().List(t.Context(), "")))
	})
}

// Work that watches its context for as long as it lives does not hold Shutdown up, also not work that begins late.
func TestShutdownOfWatchers(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		st := n.wake(id)
		st.WaitUntil(func(ctx context.Context) {
			<-ctx.Done()
			st.WaitUntil(func(ctx context.Context) {
				<-ctx.Done()
				n.notes("%v", context.Cause(ctx))
			})
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		require.NoError(t, n.Shutdown(ctx))
		assert.Zero(t, time.Since(start))
		n.wants("edgews: namespace is shutting down")
	})
}

// When Shutdown gives up it says which objects have not finished, and what keeps them.
func TestShutdownNamesWhatItCuts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newRooms(t, nil, func(r *room) {
			r.serve = func(_ http.ResponseWriter, req *http.Request) {
				if req.Method == http.MethodPost {
					time.Sleep(time.Hour)
				}
			}
		})
		stuck := n.IDFromName("stuck")
		st := n.wake(stuck)
		finish := make(chan struct{})
		defer close(finish)
		for range 6 {
			st.WaitUntil(func(context.Context) { <-finish })
		}
		go st.Do(context.Background(), func() error { <-finish; return nil })
		synctest.Wait()
		go st.Do(context.Background(), func() error { return nil })
		quiet := n.IDFromName("quiet")
		n.wake(quiet)
		for range 10 {
			n.wake(n.NewUniqueID()).WaitUntil(func(context.Context) { <-finish })
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := n.Shutdown(ctx)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, `namespace "rooms" was shut down before 11 of its objects had finished: context deadline exceeded: object `)
		assert.ErrorContains(t, err, "WaitUntil (state_test.go:")
		assert.ErrorContains(t, err, " for 10s")
		assert.ErrorContains(t, err, "; and 3 more")
		assert.NotContains(t, err.Error(), quiet.String())
		assert.Less(t, len(err.Error()), 4096)
		synctest.Wait()
	})
	bubble(t, func(t *testing.T) {
		n := newRooms(t, nil, nil)
		id := n.NewUniqueID()
		n.joins(id)
		free := n.occupy(id)
		waits := make(chan error, 1)
		go func() { waits <- n.state.Do(context.Background(), func() error { return nil }) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := n.Shutdown(ctx)
		assert.ErrorContains(t, err, "object "+id.String()+" has event (Do), 2 events that wait, 1 sockets")
		assert.ErrorIs(t, <-waits, edgews.ErrShutdown, "without waiting for the event that is stuck")
		free()
	})
}

// An ID of another namespace, and the zero ID, lead to nothing.
func TestForeignIDs(t *testing.T) {
	meter := edgews.NewMeter(nil)
	asked := 0
	opts := &edgews.NamespaceOptions{Options: edgews.Options{Meter: meter}, Tenant: func(edgews.ID) string { asked++; return "x" }}
	inRooms(t, opts, func(t *testing.T, n *rooms, id edgews.ID) {
		other := edgews.NewNamespace("other", noObject, nil)
		for _, c := range []struct {
			id   edgews.ID
			text string
		}{
			{other.IDFromName("lobby"), `edgews: invalid object ID: it is not one of namespace "rooms"`},
			{other.NewUniqueID(), `edgews: invalid object ID: it is not one of namespace "rooms"`},
			{edgews.ID{}, "edgews: invalid object ID: it is the zero ID, which names no object"},
		} {
			w := n.get(c.id)
			assert.Equal(t, http.StatusInternalServerError, w.Code)
			assert.Equal(t, c.text+"\n", w.Body.String())
			assert.Equal(t, c.id, n.Get(c.id).ID())
			err := n.Hibernate(t.Context(), c.id)
			assert.ErrorIs(t, err, edgews.ErrInvalidID)
			assert.EqualError(t, err, c.text)
		}
		assert.Zero(t, n.made.Load())
		assert.Zero(t, asked)
		assert.Empty(t, slices.Collect(n.Objects()))
		assert.Zero(t, meter.Usage())
		assert.Equal(t, http.StatusOK, n.get(id).Code)
	})
}

// notComparable is a Store that cannot be a key.
type notComparable struct {
	edgews.Store
	_ []int
}

// What can never work fails when the namespace is made.
func TestNewNamespacePanics(t *testing.T) {
	made := func(context.Context, *edgews.State) (edgews.Object, error) { return &room{}, nil }
	assert.PanicsWithValue(t, "edgews: NewNamespace: the name is empty; IDs and storage belong to a namespace by its name",
		func() { edgews.NewNamespace("", made, nil) })
	assert.PanicsWithValue(t, `edgews: NewNamespace: the constructor of "x" is nil, so it could not have any objects`,
		func() { edgews.NewNamespace("x", nil, nil) })

	store := edgews.NewMemoryStore()
	opts := &edgews.NamespaceOptions{Store: store}
	n := edgews.NewNamespace("x", made, opts)
	const twice = `edgews: NewNamespace: there is a namespace "x" on this Store already; use that one, or shut it down first`
	assert.PanicsWithValue(t, twice, func() { edgews.NewNamespace("x", made, opts) })
	another := edgews.NewNamespace("y", made, opts)
	elsewhere := edgews.NewNamespace("x", made, &edgews.NamespaceOptions{Store: edgews.NewMemoryStore()})
	for range 2 {
		require.NoError(t, edgews.NewNamespace("x", made, nil).Shutdown(t.Context()), "each has its own memory")
		require.NoError(t, edgews.NewNamespace("x", made, &edgews.NamespaceOptions{Store: notComparable{Store: store}}).Shutdown(t.Context()))
	}
	assert.PanicsWithValue(t, twice, func() { edgews.NewNamespace("x", made, opts) })
	require.NoError(t, n.Shutdown(t.Context()))
	n = edgews.NewNamespace("x", made, opts)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_ = n.Shutdown(ended)
	require.NoError(t, edgews.NewNamespace("x", made, opts).Shutdown(t.Context()), "the name is free however Shutdown has ended")
	require.NoError(t, another.Shutdown(t.Context()))
	require.NoError(t, elsewhere.Shutdown(t.Context()))
}

// Shutdown cuts every event, also one with a caller's context.
func TestShutdownCutsRequests(t *testing.T) {
	for _, where := range []string{"handler", "constructor"} {
		t.Run(where, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				results := make(chan error, 3)
				wait := func(ctx context.Context) {
					derived, cancel := context.WithTimeout(ctx, time.Hour)
					defer cancel()
					<-derived.Done()
					results <- context.Cause(ctx)
					results <- context.Cause(derived)
					results <- ctx.Err()
				}
				n := edgews.NewNamespace("rooms", func(ctx context.Context, st *edgews.State) (edgews.Object, error) {
					if where == "constructor" {
						wait(ctx)
					}
					return &room{st: st, serve: func(_ http.ResponseWriter, r *http.Request) { wait(r.Context()) }}, nil
				}, &edgews.NamespaceOptions{Options: edgews.Options{Logger: quiet}})
				go n.Get(n.NewUniqueID()).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				start := time.Now()
				assert.ErrorIs(t, n.Shutdown(ctx), context.DeadlineExceeded)
				assert.Equal(t, 10*time.Second, time.Since(start))
				assert.Equal(t, edgews.ErrShutdown, <-results)
				assert.Equal(t, edgews.ErrShutdown, <-results)
				assert.Equal(t, context.Canceled, <-results)
			})
		})
	}
}

// The context of a request's event is the request's, and ends with the event.
func TestEventContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		contexts, causes := make(chan context.Context, 2), make(chan error, 1)
		n := newRooms(t, nil, func(r *room) {
			r.serve = func(_ http.ResponseWriter, req *http.Request) {
				ctx := req.Context()
				assert.NoError(t, ctx.Err())
				assert.Equal(t, "value", ctx.Value(clientKey{}))
				contexts <- ctx
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
				causes <- context.Cause(ctx)
			}
		})
		id := n.NewUniqueID()
		ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), clientKey{}, "value"))
		serve := func() {
			n.Get(id).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx))
		}
		serve()
		assert.NoError(t, <-causes)
		of := <-contexts
		<-of.Done()
		assert.Equal(t, context.Canceled, of.Err())
		go serve()
		synctest.Wait()
		cancel(io.EOF)
		assert.Equal(t, io.EOF, <-causes)
	})
}
