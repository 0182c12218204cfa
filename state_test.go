package edgews_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// drops are the ways in which an object's value is dropped. Its store is there to make commits fail.
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

// dropping runs f for each way in which a value is dropped.
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

// A Do that is still waiting when the value is dropped never runs.
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
		"BroadcastJSON": func() {
			took, err := st.BroadcastJSON("x")
			assert.Zero(t, took)
			assert.NoError(t, err)
		},
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

		"Topics":      func() { _, err := st.Topics(theirs); failing(err) },
		"Subscribe":   func() { failing(st.Subscribe("other", theirs)) },
		"Unsubscribe": func() { failing(st.Unsubscribe("topic", theirs)) },
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
		require.NoError(t, st.Subscribe("topic", theirs))
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
		assert.Equal(t, []string{"topic"}, theirs.Info().Topics)
		assert.Equal(t, edgews.Open, client.ReadyState())
		assert.Equal(t, time.Minute, st.EventTimeout())
		assert.Len(t, st.AutoResponses(), 1)
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
