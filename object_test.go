package edgews_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
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

// room is an object whose handlers are the test's. What is nil does nothing.
type room struct {
	st      *edgews.State
	serve   func(w http.ResponseWriter, r *http.Request)
	message func(ctx context.Context, s *edgews.Socket, m edgews.Message) error
	close   func(ctx context.Context, s *edgews.Socket, e edgews.CloseEvent) error
	failed  func(ctx context.Context, s *edgews.Socket, err error) error
	alarm   func(ctx context.Context) error
}

func (o *room) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if o.serve != nil {
		o.serve(w, r)
	}
}

func (o *room) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	if o.message == nil {
		return nil
	}
	return o.message(ctx, s, m)
}

func (o *room) WebSocketClose(ctx context.Context, s *edgews.Socket, e edgews.CloseEvent) error {
	if o.close == nil {
		return nil
	}
	return o.close(ctx, s, e)
}

func (o *room) WebSocketError(ctx context.Context, s *edgews.Socket, err error) error {
	if o.failed == nil {
		return nil
	}
	return o.failed(ctx, s, err)
}

func (o *room) Alarm(ctx context.Context) error {
	if o.alarm == nil {
		return nil
	}
	return o.alarm(ctx)
}

// quiet is a logger that says nothing.
var quiet = slog.New(slog.DiscardHandler)

// rooms is a namespace of them, and a diary of what happens in it.
type rooms struct {
	*edgews.Namespace
	t     testing.TB
	made  atomic.Int32
	diary chan string

	mu    sync.Mutex
	state *edgews.State // of the value that was constructed last
}

// newRooms returns a namespace; design fills a room in when it is constructed.
func newRooms(t testing.TB, opts *edgews.NamespaceOptions, design func(*room)) *rooms {
	n := &rooms{t: t, diary: make(chan string, 1<<12)}
	if opts == nil {
		opts = &edgews.NamespaceOptions{}
	}
	if opts.Logger == nil {
		opts.Logger = quiet
	}
	n.Namespace = edgews.NewNamespace("rooms", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		n.made.Add(1)
		n.mu.Lock()
		n.state = st
		n.mu.Unlock()
		r := &room{st: st}
		if design != nil {
			design(r)
		}
		return r, nil
	}, opts)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		n.Shutdown(ctx)
	})
	return n
}

// wake constructs the object if it is not awake and returns its State.
func (n *rooms) wake(id edgews.ID) *edgews.State {
	n.t.Helper()
	n.get(id)
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state
}

func (n *rooms) get(id edgews.ID) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	n.Get(id).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	return w
}

// joins gives the object one end of a pair and returns the other, accepted, and its recorder.
func (n *rooms) joins(id edgews.ID, tags ...string) (client, server *edgews.Socket, events *recorder) {
	n.t.Helper()
	client, server = edgews.NewPair()
	require.NoError(n.t, n.wake(id).AcceptWebSocket(server, tags...))
	events = record(n.t, client)
	require.NoError(n.t, client.Accept())
	return client, server, events
}

func (n *rooms) notes(format string, args ...any) { n.diary <- fmt.Sprintf(format, args...) }

func (n *rooms) wants(entries ...string) {
	n.t.Helper()
	for _, want := range entries {
		select {
		case got := <-n.diary:
			require.Equal(n.t, want, got)
		case <-time.After(patience):
			require.FailNow(n.t, "nothing happened", "wanted %q", want)
		}
	}
}

func (n *rooms) info(id edgews.ID) (found edgews.ObjectInfo, ok bool) {
	for o := range n.Objects() {
		if o.ID == id {
			return o, true
		}
	}
	return found, false
}

func (n *rooms) wantsState(id edgews.ID, want edgews.ObjectState, pins ...string) {
	n.t.Helper()
	o, ok := n.info(id)
	require.True(n.t, ok, "the object is forgotten")
	assert.Equal(n.t, want.String(), o.State.String())
	assert.Equal(n.t, strings.Join(pins, ", "), strings.Join(o.Pins, ", "))
}

// inRooms runs f in a bubble with a namespace whose rooms keep a diary of their events, and echo.
func inRooms(t *testing.T, opts *edgews.NamespaceOptions, f func(t *testing.T, n *rooms, id edgews.ID)) {
	t.Helper()
	bubble(t, func(t *testing.T) {
		var n *rooms
		n = newRooms(t, opts, func(r *room) {
			r.message = func(_ context.Context, s *edgews.Socket, m edgews.Message) error {
				n.notes("%s", messageOf(m))
				return s.Send("echo " + m.Text())
			}
			r.failed = func(_ context.Context, s *edgews.Socket, err error) error {
				n.notes("error %v", err)
				return nil
			}
			r.close = func(_ context.Context, s *edgews.Socket, e edgews.CloseEvent) error {
				n.notes("%s", closed(int(e.Code), e.Reason, e.WasClean))
				return nil
			}
		})
		f(t, n, n.IDFromName("lobby"))
	})
}

func TestObjectEvents(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		client, server, events := n.joins(id)
		require.NoError(t, client.Send("hello"))
		n.wants(message("hello"))
		events.wants(message("echo hello"))
		require.NoError(t, client.Send("last words"))
		require.NoError(t, client.Close(4001, "bye"))
		n.wants(message("last words"), closed(4001, "bye", true))
		events.wantsEnd(message("echo last words"), closed(4001, "bye", true))
		waitDone(t, server)
		assert.Empty(t, n.wake(id).WebSockets())
		assert.EqualValues(t, 1, n.made.Load())
	})
}

// A slow event delays its own object and nothing else; what arrives for the object meanwhile waits in order.
func TestObjectRunsOneEventAtATime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var running sync.Map // the objects that are in an event
		var n *rooms
		n = newRooms(t, nil, func(r *room) {
			event := func(what string) {
				_, another := running.Swap(r.st.ID(), true)
				assert.False(t, another, "two events at a time")
				time.Sleep(time.Second)
				running.Delete(r.st.ID())
				n.notes("%s", what)
			}
			r.serve = func(_ http.ResponseWriter, r *http.Request) { event("request") }
			r.message = func(_ context.Context, s *edgews.Socket, m edgews.Message) error { event(m.Text()); return nil }
		})
		id, other := n.IDFromName("a"), n.IDFromName("b")
		a, _, _ := n.joins(id)
		b, _, _ := n.joins(id)
		n.wants("request", "request")
		for i := range 3 {
			require.NoError(t, a.Send(fmt.Sprint("a", i)))
		}
		synctest.Wait()
		require.NoError(t, b.Send("b0"))
		synctest.Wait()
		done := make(chan error, 1)
		go func() { done <- n.state.Do(t.Context(), func() error { n.notes("do"); return io.EOF }) }()
		synctest.Wait()
		start := time.Now()
		n.get(other)
		assert.Equal(t, time.Second, time.Since(start), "another object does not wait")
		first := []string{<-n.diary, <-n.diary} // in the same moment
		assert.ElementsMatch(t, []string{"a0", "request"}, first)
		n.wants("a1", "b0", "do", "a2")
		assert.Equal(t, io.EOF, <-done)
	})
}

func TestObjectConstructedOnceByARace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var made atomic.Int32
		n := edgews.NewNamespace("slow", func(context.Context, *edgews.State) (edgews.Object, error) {
			made.Add(1)
			time.Sleep(time.Second)
			return &room{}, nil
		}, nil)
		id := n.NewUniqueID()
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				n.Get(id).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
			})
		}
		all.Wait()
		assert.EqualValues(t, 1, made.Load())
		require.NoError(t, n.Shutdown(t.Context()))
	})
}

func TestObjectReentrance(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n *rooms
		var st *edgews.State
		n = newRooms(t, nil, func(r *room) {
			st = r.st
			r.serve = func(w http.ResponseWriter, req *http.Request) {
				assert.ErrorIs(t, st.Do(req.Context(), func() error { return nil }), edgews.ErrReentrant)
				assert.ErrorIs(t, n.Hibernate(req.Context(), st.ID()), edgews.ErrReentrant)
				again := httptest.NewRecorder()
				n.Get(st.ID()).ServeHTTP(again, req)
				assert.Equal(t, http.StatusLoopDetected, again.Code)
				st.WaitUntil(func(ctx context.Context) {
					assert.NoError(t, st.Do(ctx, func() error { n.notes("later"); return nil }))
				})
				go func() {
					time.Sleep(time.Second)
					assert.NoError(t, st.Do(req.Context(), func() error { n.notes("after the event"); return nil }))
				}()
			}
		})
		assert.Equal(t, http.StatusOK, n.get(n.NewUniqueID()).Code)
		n.wants("later", "after the event")
	})
}

func TestObjectDoGivesUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newRooms(t, nil, func(r *room) {
			r.serve = func(http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) }
		})
		id := n.NewUniqueID()
		st := n.wake(id)
		go n.get(id)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.Equal(t, context.DeadlineExceeded, st.Do(ctx, func() error { t.Error("it ran"); return nil }))
		time.Sleep(2 * time.Minute)
	})
}

func TestObjectPanics(t *testing.T) {
	boom := errors.New("boom")
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		client, _, events := n.joins(id, "tag")
		st := n.wake(id)
		require.ErrorIs(t, st.Do(t.Context(), func() error { panic(boom) }), boom)
		require.NoError(t, client.Send("still there?"))
		n.wants(message("still there?"))
		events.wants(message("echo still there?"))
		assert.EqualValues(t, 2, n.made.Load(), "the value was constructed again")
		assert.Len(t, n.wake(id).WebSockets("tag"), 1, "the sockets stay")
		require.Error(t, st.AcceptWebSocket(func() *edgews.Socket { _, s := edgews.NewPair(); return s }()), "its State is the old value's")
		require.Equal(t, boom, n.wake(id).Do(t.Context(), func() error { return boom }))
		assert.EqualValues(t, 2, n.made.Load(), "an error changes nothing")
	})
}

// A panic costs the message at which it happens, and nothing that waits behind it.
func TestObjectPanicsInHandlers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n *rooms
		n = newRooms(t, nil, func(r *room) {
			r.message = func(_ context.Context, _ *edgews.Socket, m edgews.Message) error {
				n.notes("%s", m.Text())
				panic("in a message")
			}
			r.close = func(context.Context, *edgews.Socket, edgews.CloseEvent) error {
				n.notes("close")
				panic("in a close")
			}
		})
		id := n.IDFromName("lobby")
		client, _, events := n.joins(id)
		require.NoError(t, client.Send("a"))
		require.NoError(t, client.Send("b"))
		require.NoError(t, client.Close(1000, "bye"))
		n.wants("a", "b", "close")
		events.wantsEnd(closed(1000, "bye", true))
		assert.EqualValues(t, 3, n.made.Load())
		assert.Empty(t, n.wake(id).WebSockets())
		assert.Empty(t, n.diary, "one close")
	})
}

// Upgrades that race to a sleeping object construct it once, and leave nothing behind that keeps it awake.
func TestObjectRacingUpgradesPinNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newRooms(t, nil, func(r *room) {
			time.Sleep(time.Second)
			r.serve = func(http.ResponseWriter, *http.Request) {
				assert.NoError(t, r.st.AcceptWebSocket(pairEnd()))
			}
		})
		id := n.IDFromName("lobby")
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() { n.get(id) })
		}
		all.Wait()
		assert.EqualValues(t, 1, n.made.Load())
		time.Sleep(11 * time.Second)
		n.wantsState(id, edgews.ObjectHibernated)
	})
}

func TestObjectPanicInRequest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newRooms(t, nil, func(r *room) {
			r.serve = func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/late" {
					w.Write([]byte("half of the"))
				}
				if r.URL.Path == "/abort" {
					panic(http.ErrAbortHandler)
				}
				panic("boom")
			}
		})
		id := n.NewUniqueID()
		assert.Equal(t, http.StatusInternalServerError, n.get(id).Code)
		ask := func(path string) func() {
			return func() {
				n.Get(id).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
			}
		}
		assert.PanicsWithValue(t, http.ErrAbortHandler, ask("/late"))
		assert.PanicsWithValue(t, http.ErrAbortHandler, ask("/abort"))
		assert.EqualValues(t, 3, n.made.Load())
		n.get(id)
		assert.EqualValues(t, 3, n.made.Load(), "ErrAbortHandler is no fault of the object")
	})
}

func TestObjectGoexit(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		client, _, _ := n.joins(id)
		st := n.wake(id)
		require.Error(t, st.Do(t.Context(), func() error { t.SkipNow(); return nil }))
		require.NoError(t, client.Send("goes on"))
		n.wants(message("goes on"))
	})
}

// clientKey is what a test's request carries a function under that takes the client's end.
type clientKey struct{}

func TestObjectCannotBeConstructed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		broken := false
		n := edgews.NewNamespace("x", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
			if broken {
				return nil, errors.New("no such room")
			}
			r := &room{st: st}
			r.serve = func(w http.ResponseWriter, r *http.Request) {
				client, server := edgews.NewPair()
				assert.NoError(t, st.AcceptWebSocket(server))
				record(t, client)
				assert.NoError(t, client.Accept())
				r.Context().Value(clientKey{}).(func(*edgews.Socket))(client)
			}
			return r, nil
		}, &edgews.NamespaceOptions{Options: edgews.Options{Logger: quiet}})
		defer n.Shutdown(t.Context())
		id := n.NewUniqueID()
		var client *edgews.Socket
		ctx := context.WithValue(t.Context(), clientKey{}, func(s *edgews.Socket) { client = s })
		n.Get(id).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx))
		require.NotNil(t, client)
		require.NoError(t, n.Hibernate(t.Context(), id))
		broken = true
		require.NoError(t, client.Send("wake up"))
		waitDone(t, client)
		assert.Equal(t, &edgews.CloseError{Code: 1011, Reason: "object cannot be constructed", WasClean: true}, client.Err())
		w := httptest.NewRecorder()
		n.Get(id).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		assert.Equal(t, http.StatusInternalServerError, w.Code)
		broken = false
		w = httptest.NewRecorder()
		n.Get(id).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx))
		assert.Equal(t, http.StatusOK, w.Code, "the next event tries again")
	})
}

func TestObjectAborts(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		client, server, events := n.joins(id)
		st := n.wake(id)
		cancelled := make(chan error, 1)
		st.WaitUntil(func(ctx context.Context) { <-ctx.Done(); cancelled <- context.Cause(ctx) })
		st.Abort(errors.New("out of cards"))
		assert.ErrorIs(t, <-cancelled, edgews.ErrAborted)
		events.wantsEnd(closed(1011, "out of cards", true))
		waitDone(t, server)
		assert.Empty(t, n.diary, "no handler is called")
		assert.Error(t, client.Send("x"))
		assert.Empty(t, n.wake(id).WebSockets())
		assert.EqualValues(t, 2, n.made.Load())
	})
}

func TestAbortAndLaterWork(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		finish, finished := make(chan struct{}), make(chan struct{})
		n.wake(id).WaitUntil(func(context.Context) {
			defer close(finished)
			<-finish
			panic("of a value that has gone")
		})
		n.wake(id).Abort(nil)
		st := n.wake(id)
		ran := make(chan error, 1)
		st.WaitUntil(func(ctx context.Context) { ran <- ctx.Err() })
		assert.NoError(t, <-ran, "it is work of another value than that which was aborted")
		close(finish)
		<-finished
		synctest.Wait()
		assert.Same(t, st, n.wake(id), "the panic is not of this value")
	})
}

// What a State starts whose value has gone is told so at once, and why.
func TestWorkOfAValueThatHasGone(t *testing.T) {
	for name, goes := range map[string]func(n *rooms, st *edgews.State){
		"aborted": func(n *rooms, st *edgews.State) { st.Abort(nil) },
		"aborted in an event": func(n *rooms, st *edgews.State) {
			_ = st.Do(n.t.Context(), func() error { st.Abort(nil); return nil })
		},
		"panicked": func(n *rooms, st *edgews.State) {
			_ = st.Do(n.t.Context(), func() error { panic("oh") })
		},
		"hibernated": func(n *rooms, st *edgews.State) { _ = n.Hibernate(n.t.Context(), st.ID()) },
	} {
		t.Run(name, func(t *testing.T) {
			inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
				old := n.wake(id)
				goes(n, old)
				for _, again := range []bool{false, true} { // without a value, and with another
					if again {
						require.NotSame(t, old, n.wake(id))
					}
					ran := make(chan error, 1)
					old.WaitUntil(func(ctx context.Context) {
						assert.ErrorIs(t, ctx.Err(), context.Canceled)
						ran <- context.Cause(ctx)
					})
					assert.ErrorIs(t, <-ran, edgews.ErrAborted)
				}
				synctest.Wait()
				n.wantsState(id, edgews.ObjectIdle)
				ran := make(chan error, 1)
				n.wake(id).WaitUntil(func(ctx context.Context) { ran <- ctx.Err() })
				assert.NoError(t, <-ran, "work of the value that is there")
			})
		})
	}
}

func TestAbortInConstructor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n *rooms
		n = newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Logger: quiet}}, func(r *room) {
			if n.made.Load() == 2 {
				r.st.Abort(errors.New("not today"))
			}
		})
		id := n.IDFromName("lobby")
		_, _, events := n.joins(id)
		require.NoError(t, n.Hibernate(t.Context(), id))
		assert.Equal(t, http.StatusInternalServerError, n.get(id).Code)
		events.wantsEnd(closed(1011, "not today", true))
		assert.Equal(t, http.StatusOK, n.get(id).Code, "the next event tries again")
		assert.EqualValues(t, 3, n.made.Load())
	})
}

func TestAcceptWebSocketRefuses(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		st := n.wake(id)
		client, server := edgews.NewPair()
		require.Error(t, st.AcceptWebSocket(nil))
		require.ErrorIs(t, st.AcceptWebSocket(server, strings.Repeat("é", 129)), edgews.ErrTagTooLong)
		require.ErrorIs(t, st.AcceptWebSocket(server, strings.Split("0123456789x", "")...), edgews.ErrTooManyTags)
		assert.Empty(t, st.WebSockets())
		require.NoError(t, st.AcceptWebSocket(server), "it is as it was")
		require.ErrorIs(t, st.AcceptWebSocket(server), edgews.ErrAccepted)
		require.ErrorIs(t, server.Accept(), edgews.ErrAccepted)
		_, err := server.Receive(t.Context())
		require.ErrorIs(t, err, edgews.ErrAccepted)
		require.NoError(t, client.Accept())
		require.ErrorIs(t, st.AcceptWebSocket(client), edgews.ErrAccepted)
		assert.Equal(t, []*edgews.Socket{server}, st.WebSockets())
	})
}

func TestEventTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n *rooms
		n = newRooms(t, nil, func(r *room) {
			r.message = func(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
				start := time.Now()
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
				n.notes("%s %v", m.Text(), time.Since(start))
				return ctx.Err()
			}
		})
		id := n.NewUniqueID()
		client, _, _ := n.joins(id)
		st := n.wake(id)
		require.Error(t, st.SetEventTimeout(7*24*time.Hour+1))
		require.Error(t, st.SetEventTimeout(-1))
		require.NoError(t, st.SetEventTimeout(300*time.Millisecond))
		require.NoError(t, n.Hibernate(t.Context(), id))
		client.Send("a")
		n.wants("a 300ms")
		st = n.wake(id)
		assert.Equal(t, 300*time.Millisecond, st.EventTimeout())
		require.NoError(t, st.SetEventTimeout(0))
		client.Send("b")
		n.wants("b 1s")
	})
}

// The close handler may say more, and answer as it likes; a Close that it does not answer is answered for it.
func TestWebSocketClose(t *testing.T) {
	cases := []struct {
		name    string
		handler func(s *edgews.Socket) error
		want    []string
	}{
		{"does nothing", func(*edgews.Socket) error { return nil }, []string{closed(1000, "bye", true)}},
		{"fails", func(*edgews.Socket) error { return io.EOF }, []string{closed(1000, "bye", true)}},
		{"panics", func(*edgews.Socket) error { panic("no") }, []string{closed(1000, "bye", true)}},
		{"sends", func(s *edgews.Socket) error { return s.Send("wait") }, []string{message("wait"), closed(1000, "bye", true)}},
		{"closes", func(s *edgews.Socket) error { return s.Close(4002, "reply") }, []string{closed(4002, "reply", true)}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := newRooms(t, nil, func(r *room) {
					r.close = func(_ context.Context, s *edgews.Socket, e edgews.CloseEvent) error {
						assert.Equal(t, edgews.Closing, s.ReadyState())
						assert.Len(t, r.st.WebSockets("tag"), 1)
						return c.handler(s)
					}
				})
				client, server, events := n.joins(n.NewUniqueID(), "tag")
				require.NoError(t, client.Close(1000, "bye"))
				events.wantsEnd(c.want...)
				waitDone(t, server)
			})
		})
	}
}

func TestObjectOverTheNetwork(t *testing.T) {
	for _, where := range []network{overPipe, overTCP} {
		where.run(t, func(t *testing.T, where network) {
			var n *rooms
			n = newRooms(t, nil, func(r *room) {
				r.serve = func(w http.ResponseWriter, req *http.Request) {
					s, err := edgews.Upgrade(w, req, nil)
					if assert.NoError(t, err) {
						assert.NoError(t, r.st.AcceptWebSocket(s))
					}
				}
				r.message = func(_ context.Context, s *edgews.Socket, m edgews.Message) error {
					n.notes("%s", messageOf(m))
					return s.Send("echo")
				}
				r.failed = func(_ context.Context, s *edgews.Socket, err error) error { n.notes("error"); return nil }
				r.close = func(_ context.Context, s *edgews.Socket, e edgews.CloseEvent) error {
					n.notes("%s", closed(int(e.Code), e.Reason, e.WasClean))
					return nil
				}
			})
			id := n.IDFromName("x")
			dial, _, _ := where.serve(t, n.Get(id).ServeHTTP)
			join := func() *peer {
				conn := dial()
				p := &peer{t, conn, bufio.NewReader(conn), true}
				p.upgrades()
				return p
			}
			p := join()
			p.sends(text("one"), ping("?"), part(text("tw"), false), continuation("o", true), text(strings.Repeat("x", 200_000)))
			n.wants(message("one"), message("two"), message(strings.Repeat("x", 200_000)))
			frames := []string{p.next().String(), p.next().String(), p.next().String(), p.next().String()}
			assert.ElementsMatch(t, []string{pong("?").String(), text("echo").String(), text("echo").String(), text("echo").String()}, frames)
			require.NoError(t, n.Hibernate(t.Context(), id))
			p.sends(closing(1000, "bye"))
			n.wants(closed(1000, "bye", true))
			p.expects(closing(1000, "bye"))
			p.expectsEOF()
			p.hangsUp()

			p = join()
			p.sends(text("last"), aFrame{bits: fin, opcode: 3})
			n.wants(message("last"), "error")
			assert.Contains(t, <-n.diary, "close 1002")
			p.hangsUp()

			p = join()
			p.hangsUp()
			n.wants(cut)
			eventually(t, func() bool { o, _ := n.info(id); return o.Sockets == 0 }, "the sockets have left")
		})
	}
}
