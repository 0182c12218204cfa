package edgews_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestShutdown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n *rooms
		n = newRooms(t, nil, func(r *room) {
			r.message = func(_ context.Context, s *edgews.Socket, m edgews.Message) error {
				time.Sleep(3 * time.Second)
				n.notes("handled")
				return nil
			}
			r.close = func(_ context.Context, s *edgews.Socket, e edgews.CloseEvent) error {
				n.notes("%s", closed(int(e.Code), e.Reason, e.WasClean))
				return nil
			}
		})
		id := n.NewUniqueID()
		client, _, events := n.joins(id)
		client.Send("work")
		n.wake(id).WaitUntil(func(context.Context) { time.Sleep(20 * time.Second); n.notes("background") })
		time.Sleep(15 * time.Second)
		second := make(chan error, 1)
		go func() {
			time.Sleep(time.Second)
			upgrade := httptest.NewRequest(http.MethodGet, "/", nil)
			upgrade.Header.Set("Upgrade", "websocket")
			w := httptest.NewRecorder()
			n.Get(id).ServeHTTP(w, upgrade)
			assert.Equal(t, http.StatusServiceUnavailable, w.Code)
			assert.ErrorIs(t, n.wake(id).AcceptWebSocket(client), edgews.ErrAccepted)
			_, late := edgews.NewPair()
			assert.ErrorIs(t, n.wake(id).AcceptWebSocket(late), edgews.ErrShutdown)
			second <- n.Shutdown(context.Background())
		}()
		start := time.Now()
		require.NoError(t, n.Shutdown(t.Context()))
		assert.GreaterOrEqual(t, time.Since(start), 5*time.Second)
		require.NoError(t, <-second)
		n.wants("handled", closed(1012, "service restart", true), "background")
		events.wantsEnd(closed(1012, "service restart", true))
		assert.Equal(t, http.StatusServiceUnavailable, n.get(id).Code)
		assert.ErrorIs(t, n.state.Do(t.Context(), func() error { return nil }), edgews.ErrShutdown)
	})
}

// Not all at once: the sockets close over a second.
func TestShutdownSpreads(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		for range 100 {
			n.joins(id)
		}
		go n.Shutdown(t.Context())
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		o, _ := n.info(id)
		assert.InDelta(t, 50, o.Sockets, 3)
		time.Sleep(time.Second)
		assert.Len(t, n.diary, 100)
	})
}

// What does not end in time is cut.
func TestShutdownCuts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newRooms(t, nil, func(r *room) {
			r.message = func(ctx context.Context, s *edgews.Socket, m edgews.Message) error { <-ctx.Done(); return nil }
		})
		id := n.NewUniqueID()
		client, server, _ := n.joins(id)
		client.Send("stuck")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		assert.ErrorIs(t, n.Shutdown(ctx), context.DeadlineExceeded)
		assert.Equal(t, 10*time.Second, time.Since(start))
		waitDone(t, server)
		waitDone(t, client)
	})
}

// A second Shutdown waits for the first no longer than its own ctx lasts, and cuts nothing.
func TestShutdownTwice(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		n.wake(id).WaitUntil(func(ctx context.Context) {
			time.Sleep(time.Minute)
			n.notes("%v", n.wake(id).Do(context.WithoutCancel(ctx), func() error { return nil }))
		})
		first := make(chan error, 1)
		go func() { first <- n.Shutdown(t.Context()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.Equal(t, context.DeadlineExceeded, n.Shutdown(ctx))
		assert.Empty(t, n.diary)
		require.NoError(t, n.Shutdown(t.Context()))
		n.wants("<nil>")
		require.NoError(t, <-first)
	})
}

// With a ctx that has ended everything is cut at once: a message that waits is not handled, and what runs is told.
func TestShutdownNow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n *rooms
		n = newRooms(t, nil, func(r *room) {
			r.close = func(context.Context, *edgews.Socket, edgews.CloseEvent) error {
				n.notes("closed")
				return nil
			}
			r.message = func(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
				n.notes("begins")
				<-ctx.Done()
				n.notes("%v", ctx.Err())
				return nil
			}
		})
		id := n.NewUniqueID()
		client, server, _ := n.joins(id)
		worked := make(chan error, 1)
		n.state.WaitUntil(func(ctx context.Context) { <-ctx.Done(); worked <- ctx.Err() })
		require.NoError(t, client.Send("one"))
		require.NoError(t, client.Send("two"))
		n.wants("begins")
		waits, served := make(chan error, 1), make(chan int, 1)
		go func() { waits <- n.state.Do(context.Background(), func() error { n.notes("do"); return nil }) }()
		go func() { served <- n.get(id).Code }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start := time.Now()
		assert.ErrorIs(t, n.Shutdown(ctx), context.Canceled)
		assert.Zero(t, time.Since(start))
		n.wants("context canceled", "closed")
		assert.ErrorIs(t, <-waits, edgews.ErrShutdown)
		assert.Equal(t, http.StatusServiceUnavailable, <-served)
		assert.ErrorIs(t, <-worked, context.Canceled)
		waitDone(t, server)
		waitDone(t, client)
		synctest.Wait()
		assert.Empty(t, n.diary, "no event begins any more")
		assert.NoError(t, n.Shutdown(t.Context()))
	})
}

// As the documentation has it: one line, with which a server over the network ends.
func TestShutdownWithServer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	n := newRooms(t, nil, nil)
	n.Namespace = edgews.NewNamespace("rooms", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return &room{st: st, serve: func(w http.ResponseWriter, r *http.Request) {
			s, err := edgews.Upgrade(w, r, nil)
			if err == nil {
				err = st.AcceptWebSocket(s)
			}
			if assert.NoError(t, err) {
				assert.NoError(t, s.Send("hello"))
			}
		}}, nil
	}, nil)
	server := httptest.NewServer(n.Get(n.NewUniqueID()))
	defer server.Close()
	server.Config.RegisterOnShutdown(func() { n.Shutdown(ctx) })
	client, _, err := edgews.Dial(ctx, "ws"+server.URL[len("http"):], nil)
	require.NoError(t, err)
	events := record(t, client)
	require.NoError(t, client.Accept())
	events.wants(message("hello")) // Dial may have returned before AcceptWebSocket is called
	require.NoError(t, server.Config.Shutdown(ctx))
	events.wantsEnd(closed(1012, "service restart", true))
	require.NoError(t, n.Shutdown(ctx))
}

// noObject is a constructor that fails.
func noObject(context.Context, *edgews.State) (edgews.Object, error) { return nil, io.EOF }

func TestShutdownOfNothing(t *testing.T) {
	n := edgews.NewNamespace("n", noObject, nil)
	server := &http.Server{}
	server.RegisterOnShutdown(func() { n.Shutdown(context.Background()) })
	require.NoError(t, n.Shutdown(t.Context()))
	require.NoError(t, n.Shutdown(t.Context()))
	require.NoError(t, server.Shutdown(t.Context()))
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
		assert.ErrorContains(t, err, "WaitUntil (object_shutdown_test.go:")
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

// A request to upgrade that was there before Shutdown, and comes to its upgrade after the sockets have been closed, is refused: its socket
// would keep the object awake until the time is over.
func TestShutdownRefusesLateUpgrades(t *testing.T) {
	for name, upgrade := range map[string]func(w http.ResponseWriter, r *http.Request) error{
		"Upgrade": func(w http.ResponseWriter, r *http.Request) error {
			s, err := edgews.Upgrade(w, r, nil)
			if err == nil {
				s.OnMessage(func(edgews.MessageEvent) {})
				err = s.Accept()
			}
			return err
		},
		"Respond": func(w http.ResponseWriter, r *http.Request) error {
			client, server := edgews.NewPair()
			server.OnMessage(func(edgews.MessageEvent) {})
			if err := server.Accept(); err != nil {
				return err
			}
			return edgews.Respond(w, r, client, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var late error
				n := newRooms(t, nil, func(r *room) {
					r.serve = func(w http.ResponseWriter, r *http.Request) {
						time.Sleep(3 * time.Second)
						late = upgrade(w, r)
					}
				})
				answer := make(chan *http.Response, 1)
				go func() { answer <- requestUpgrade(t, n.Get(n.NewUniqueID()).ServeHTTP) }()
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				require.NoError(t, n.Shutdown(ctx))
				assert.Less(t, time.Since(start), 5*time.Second)
				resp := <-answer
				assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
				assert.ErrorIs(t, late, edgews.ErrShutdown)
			})
		})
	}
}

// An object that takes another socket for each that ends, before and after Shutdown has closed all, does not hold it up. The last one is
// told too.
func TestShutdownOfReconnectingObjects(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newRooms(t, nil, nil)
		st := n.wake(n.NewUniqueID())
		var last []string
		var connect func()
		connect = func() {
			own, other := edgews.NewPair()
			st.Hold(own)
			own.OnMessage(func(edgews.MessageEvent) {})
			own.OnClose(func(edgews.CloseEvent) { connect() })
			other.OnClose(func(e edgews.CloseEvent) { last = append(last, closed(int(e.Code), e.Reason, e.WasClean)) })
			acceptBoth(t, own, other)
		}
		_ = st.Do(t.Context(), func() error { connect(); return nil })
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, n.Shutdown(ctx))
		assert.Less(t, time.Since(start), 2*time.Second)
		synctest.Wait()
		assert.Contains(t, last, closed(1012, "service restart", true))
	})
}

// What an object takes after Shutdown has cut keeps nothing awake: a socket that it holds only then is as any other, and one that it has
// held before and accepts only then is cut.
func TestShutdownIsTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		held, other := edgews.NewPair()
		late, theirs := edgews.NewPair()
		n := newRooms(t, nil, func(r *room) {
			r.close = func(ctx context.Context, _ *edgews.Socket, _ edgews.CloseEvent) error {
				<-ctx.Done() // Shutdown has cut
				r.st.Hold(late)
				return late.Accept()
			}
		})
		id := n.NewUniqueID()
		n.joins(id)
		n.state.Hold(held)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = n.Shutdown(ctx) // which cuts at once
		synctest.Wait()
		acceptBoth(t, held, other)
		waitDone(t, held)
		assert.ErrorContains(t, held.Err(), "1006")
		waitDone(t, other)
		require.NoError(t, theirs.Accept())
		assert.Equal(t, edgews.Open, late.ReadyState())
		synctest.Wait()
		o, _ := n.info(id)
		assert.Equal(t, edgews.ObjectHibernated, o.State, "%v", o.Pins)
		late.Close(1000, "")
		waitDone(t, theirs)
	})
}

// slowReads is a Store whose Get takes long.
type slowReads struct {
	edgews.Store
	reading atomic.Int32 // calls of Get
}

func (s *slowReads) Open(ctx context.Context, key edgews.ObjectKey, f edgews.Fence) (edgews.ObjectStore, error) {
	o, err := s.Store.Open(ctx, key, f)
	return &slowlyRead{o, s}, err
}

type slowlyRead struct {
	edgews.ObjectStore
	s *slowReads
}

func (o *slowlyRead) Get(ctx context.Context, key string) ([]byte, error) {
	o.s.reading.Add(1)
	defer o.s.reading.Add(-1)
	time.Sleep(20 * time.Millisecond)
	return o.ObjectStore.Get(ctx, key)
}

// A goroutine of the program reads all the time, and begins once more while Shutdown looks at the other objects.
func TestShutdownWaitsForReads(t *testing.T) {
	for range 8 {
		store := &slowReads{Store: edgews.NewMemoryStore()}
		n := newRooms(t, &edgews.NamespaceOptions{Store: store}, nil)
		s := n.wake(n.NewUniqueID()).Storage()
		for range 10_000 {
			n.wake(n.NewUniqueID())
		}
		done := make(chan error)
		go func() {
			_, err := s.Get(context.Background(), "k")
			for ; errors.Is(err, edgews.ErrKeyNotFound); _, err = s.Get(context.Background(), "k") {
				time.Sleep(time.Millisecond)
			}
			done <- err
		}()
		require.NoError(t, n.Shutdown(t.Context()))
		assert.Zero(t, store.reading.Load(), "the Store is not used any more")
		assert.ErrorIs(t, <-done, edgews.ErrShutdown)
	}
}
