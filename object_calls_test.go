package edgews_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// occupy makes the object busy until the returned function is called.
func (n *rooms) occupy(id edgews.ID) (free func()) {
	n.t.Helper()
	st, begun, end := n.wake(id), make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- st.Do(context.Background(), func() error { close(begun); <-end; return nil })
	}()
	<-begun
	return func() { close(end); assert.NoError(n.t, <-ended) }
}

// heap is the memory in use, in bytes.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A call that is abandoned while the object is busy leaves nothing in its queue.
func TestAbandonedCalls(t *testing.T) {
	const count = 20000
	for name, call := range map[string]func(ctx context.Context, n *rooms, st *edgews.State) error{
		"request": func(ctx context.Context, n *rooms, st *edgews.State) error {
			r := httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx)
			r.Header.Set("Cookie", strings.Repeat("x", 4<<10))
			n.Get(st.ID()).ServeHTTP(httptest.NewRecorder(), r)
			return ctx.Err()
		},
		"Do": func(ctx context.Context, _ *rooms, st *edgews.State) error {
			data := make([]byte, 4<<10)
			return st.Do(ctx, func() error { data[0] = 1; return nil })
		},
		"Hibernate": func(ctx context.Context, n *rooms, st *edgews.State) error {
			return n.Hibernate(ctx, st.ID())
		},
	} {
		t.Run(name, func(t *testing.T) {
			inRooms(t, &edgews.NamespaceOptions{MaxWaiting: -1}, func(t *testing.T, n *rooms, id edgews.ID) {
				free := n.occupy(id)
				// abandon returns how much memory is in use after many calls have waited, and given up.
				abandon := func() int {
					ctx, cancel := context.WithCancel(t.Context())
					var all sync.WaitGroup
					for range count {
						all.Go(func() { assert.ErrorIs(t, call(ctx, n, n.state), context.Canceled) })
					}
					synctest.Wait()
					cancel()
					all.Wait()
					return heap()
				}
				first := abandon() // the runtime keeps what goroutines were made of
				assert.Less(t, abandon()-first, 1<<20)
				free()
				assert.Equal(t, http.StatusOK, n.get(id).Code)
			})
		})
	}
}

// Those that stay keep their places while others leave.
func TestAbandonedCallsKeepTheOrder(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		client, _, _ := n.joins(id)
		free := n.occupy(id)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for _, name := range strings.Split("abcdefghij", "") {
			for range 3 {
				all.Go(func() {
					assert.Equal(t, context.Canceled, n.state.Do(ctx, func() error { n.notes("abandoned"); return nil }))
				})
			}
			all.Go(func() {
				assert.NoError(t, n.state.Do(t.Context(), func() error { n.notes("%s", name); return nil }))
			})
			synctest.Wait()
			if name == "e" {
				require.NoError(t, client.Send("hello"))
				synctest.Wait()
			}
		}
		cancel()
		synctest.Wait()
		free()
		n.wants("a", "b", "c", "d", "e", message("hello"), "f", "g", "h", "i", "j")
		all.Wait()
	})
}

// No more wait for an object than its namespace lets.
func TestMaxWaiting(t *testing.T) {
	for _, c := range []struct {
		option, limit int
		text          string
	}{
		{3, 3, "edgews: object is overloaded: 3 requests and calls wait for it already, and NamespaceOptions.MaxWaiting is 3"},
		{0, 4096, "edgews: object is overloaded: 4096 requests and calls wait for it already, and NamespaceOptions.MaxWaiting is 4096"},
	} {
		inRooms(t, &edgews.NamespaceOptions{MaxWaiting: c.option}, func(t *testing.T, n *rooms, id edgews.ID) {
			client, _, _ := n.joins(id)
			free := n.occupy(id)
			ctx, cancel := context.WithCancel(t.Context())
			var all sync.WaitGroup
			for range c.limit {
				all.Go(func() { _ = n.state.Do(ctx, func() error { return nil }) })
			}
			synctest.Wait()
			err := n.state.Do(t.Context(), func() error { return nil })
			assert.ErrorIs(t, err, edgews.ErrOverloaded)
			assert.EqualError(t, err, c.text)
			w := n.get(id)
			assert.Equal(t, http.StatusServiceUnavailable, w.Code)
			assert.Equal(t, "1", w.Header().Get("Retry-After"))
			assert.Equal(t, c.text+"\n", w.Body.String())
			require.NoError(t, client.Send("messages do not count"))
			cancel()
			all.Wait()
			all.Go(func() { assert.Equal(t, http.StatusOK, n.get(id).Code) })
			synctest.Wait()
			free()
			all.Wait()
			n.wants(message("messages do not count"))
		})
	}
}

// A request that finds the object overloaded has not reached it.
func TestOverloadedRequestsAreNotBilled(t *testing.T) {
	meter := edgews.NewMeter(nil)
	inRooms(t, &edgews.NamespaceOptions{MaxWaiting: 1, Options: edgews.Options{Meter: meter}}, func(t *testing.T, n *rooms, id edgews.ID) {
		free := n.occupy(id)
		var all sync.WaitGroup
		all.Go(func() { n.get(id) })
		synctest.Wait()
		n.get(id)
		free()
		all.Wait()
		assert.EqualValues(t, 2, meter.Usage().HTTPRequests, "the one that woke it and the one that waited")
	})
}

// logs is where a namespace's log goes in a test.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logs) options() *edgews.NamespaceOptions {
	return &edgews.NamespaceOptions{Options: edgews.Options{Logger: slog.New(slog.NewTextHandler(l, nil))}}
}

// An event that waits for another of its object is refused where its context tells, and else the log says what waits.
func TestReentrantCalls(t *testing.T) {
	log := new(logs)
	inRooms(t, log.options(), func(t *testing.T, n *rooms, id edgews.ID) {
		st := n.wake(id)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		assert.Equal(t, context.DeadlineExceeded, st.Do(t.Context(), func() error {
			return st.Do(ctx, func() error { return nil })
		}))
		assert.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
		for _, part := range []string{"namespace=rooms", "object=" + id.String(), "handler=Do", "waits=Do", "for=5s"} {
			assert.Contains(t, log.String(), part)
		}
	})
}

// A long queue of quick events is no reason to warn.
func TestNoWarningOfQuickEvents(t *testing.T) {
	log := new(logs)
	inRooms(t, log.options(), func(t *testing.T, n *rooms, id edgews.ID) {
		st := n.wake(id)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				assert.NoError(t, st.Do(t.Context(), func() error { time.Sleep(4 * time.Second); return nil }))
			})
		}
		all.Wait()
		assert.NotContains(t, log.String(), "level=WARN")
	})
}

// What writes inside Update is refused if its context tells, and else the log says what waits.
func TestWritesInsideUpdate(t *testing.T) {
	write := map[string]func(ctx context.Context, s *edgews.Storage) error{
		"Put":    func(ctx context.Context, s *edgews.Storage) error { return s.Put(ctx, "a", nil) },
		"Delete": func(ctx context.Context, s *edgews.Storage) error { return s.Delete(ctx, "a") },
		"Update": func(ctx context.Context, s *edgews.Storage) error {
			return s.Update(ctx, func(*edgews.Tx) error { return nil })
		},
		"SetAlarm":  func(ctx context.Context, s *edgews.Storage) error { return s.SetAlarm(ctx, time.Now().Add(time.Hour)) },
		"DeleteAll": func(ctx context.Context, s *edgews.Storage) error { return s.DeleteAll(ctx) },
	}
	for name, write := range write {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				results := make(chan error, 2)
				log := new(logs)
				opts := log.options()
				n := newRooms(t, opts, func(r *room) {
					nested := func(ctx context.Context) error {
						s := r.st.Storage()
						return s.Update(ctx, func(tx *edgews.Tx) error {
							if err := tx.Put("b", nil); err != nil {
								return err
							}
							_, err := s.Get(ctx, "b")
							assert.ErrorIs(t, err, edgews.ErrKeyNotFound, "reading does not wait")
							return write(context.WithValue(ctx, clientKey{}, 1), s)
						})
					}
					r.serve = func(_ http.ResponseWriter, req *http.Request) {
						results <- nested(req.Context())
						r.st.WaitUntil(func(ctx context.Context) { results <- nested(ctx) })
					}
				})
				id := n.NewUniqueID()
				start := time.Now()
				n.get(id)
				assert.ErrorIs(t, <-results, edgews.ErrReentrant, "in an event")
				assert.ErrorIs(t, <-results, edgews.ErrReentrant, "in WaitUntil")
				assert.Zero(t, time.Since(start))
				s := n.state.Storage()
				_, err := s.Get(t.Context(), "b")
				assert.ErrorIs(t, err, edgews.ErrKeyNotFound, "nothing is committed")

				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				assert.NotContains(t, log.String(), "level=WARN")
				assert.ErrorIs(t, s.Update(ctx, func(*edgews.Tx) error { return write(ctx, s) }), context.DeadlineExceeded)
				assert.Contains(t, log.String(), "level=WARN")
				assert.Contains(t, log.String(), "object="+id.String())
			})
		})
	}
}

// Two goroutines of one event may write at the same time; one write follows the other.
func TestWritesBesideUpdate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newRooms(t, nil, func(r *room) {
			r.serve = func(_ http.ResponseWriter, req *http.Request) {
				s, ctx := r.st.Storage(), req.Context()
				var all sync.WaitGroup
				for range 10 {
					all.Go(func() {
						assert.NoError(t, s.Update(ctx, func(tx *edgews.Tx) error { time.Sleep(time.Second); return tx.Put("a", nil) }))
					})
					all.Go(func() { assert.NoError(t, s.Put(ctx, "b", nil)) })
				}
				all.Wait()
			}
		})
		assert.Equal(t, http.StatusOK, n.get(n.NewUniqueID()).Code)
	})
}

// The log, and the error, say which handler of which object has panicked.
func TestPanicsAreNamed(t *testing.T) {
	boom := errors.New("boom")
	for handler, trigger := range map[string]func(n *rooms, id edgews.ID, client *edgews.Socket){
		"ServeHTTP": func(n *rooms, id edgews.ID, _ *edgews.Socket) {
			n.Get(id).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil))
		},
		"WebSocketMessage": func(_ *rooms, _ edgews.ID, client *edgews.Socket) { client.Send("x") },
		"WebSocketClose":   func(_ *rooms, _ edgews.ID, client *edgews.Socket) { client.Close(1000, "") },
		"WebSocketError": func(n *rooms, _ edgews.ID, _ *edgews.Socket) {
			s, p := overPipe.serverAndPeer(n.t.(*testing.T), edgews.Options{})
			assert.NoError(n.t, n.state.AcceptWebSocket(s))
			p.sends(aFrame{bits: fin, opcode: 3})
		},
		"Alarm": func(n *rooms, _ edgews.ID, _ *edgews.Socket) {
			assert.NoError(n.t, n.state.Storage().SetAlarm(context.Background(), time.Now()))
		},
		"Do": func(n *rooms, _ edgews.ID, _ *edgews.Socket) {
			err := n.state.Do(context.Background(), func() error { panic(boom) })
			assert.ErrorIs(n.t, err, boom)
		},
		"constructor": func(n *rooms, id edgews.ID, _ *edgews.Socket) {
			assert.NoError(n.t, n.Hibernate(context.Background(), id))
			n.get(id)
		},
	} {
		t.Run(handler, func(t *testing.T) {
			log := new(logs)
			bubble(t, func(t *testing.T) {
				fail := false
				n := newRooms(t, log.options(), func(r *room) {
					if fail {
						panic(boom)
					}
					fail = handler == "constructor"
					r.serve = func(_ http.ResponseWriter, r *http.Request) {
						if r.Method == http.MethodPost {
							panic(boom)
						}
					}
					r.message = func(context.Context, *edgews.Socket, edgews.Message) error { panic(boom) }
					r.close = func(context.Context, *edgews.Socket, edgews.CloseEvent) error {
						if handler == "WebSocketClose" {
							panic(boom)
						}
						return nil
					}
					r.failed = func(context.Context, *edgews.Socket, error) error { panic(boom) }
					r.alarm = func(context.Context) error { panic(boom) }
				})
				id := n.NewUniqueID()
				client, _, _ := n.joins(id)
				trigger(n, id, client)
				synctest.Wait()
				text := handler + " of object " + id.String() + ` in namespace \"rooms\" panicked: boom`
				assert.Contains(t, log.String(), text)
				assert.Contains(t, log.String(), "handler="+handler)
				assert.NotContains(t, log.String(), "listener")
			})
		})
	}
}

// When a request returns, its event is over, also for those who ask what keeps the object awake.
func TestEventIsOverWhenItsRequestReturns(t *testing.T) {
	n := newRooms(t, nil, nil)
	stub := n.Get(n.NewUniqueID())
	for range 2000 {
		stub.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
		for o := range n.Objects() {
			require.Empty(t, o.Pins)
			require.Equal(t, edgews.ObjectIdle, o.State)
		}
	}
}
