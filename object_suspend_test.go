package edgews_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sleeper is a room that is a Suspender.
type sleeper struct {
	room
	suspend func(ctx context.Context, why edgews.SuspendReason) error
}

func (s *sleeper) Suspend(ctx context.Context, why edgews.SuspendReason) error {
	if s.suspend == nil {
		return nil
	}
	return s.suspend(ctx, why)
}

// newSleepers is newRooms for sleepers.
func newSleepers(t testing.TB, opts *edgews.NamespaceOptions, design func(*sleeper)) *rooms {
	n := &rooms{t: t, diary: make(chan string, 1<<12)}
	if opts == nil {
		opts = &edgews.NamespaceOptions{}
	}
	if opts.Logger == nil {
		opts.Logger = quiet
	}
	n.Namespace = edgews.NewNamespace("sleepers", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		n.made.Add(1)
		n.mu.Lock()
		n.state = st
		n.mu.Unlock()
		s := &sleeper{room: room{st: st}}
		design(s)
		return s, nil
	}, opts)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		n.Shutdown(ctx)
	})
	return n
}

// lastState returns the State of the value that was constructed last.
func (n *rooms) lastState() *edgews.State {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state
}

// inSleepers runs f in a bubble with a namespace of sleepers that note why they are suspended.
func inSleepers(t *testing.T, opts *edgews.NamespaceOptions, f func(t *testing.T, n *rooms, id edgews.ID)) {
	t.Helper()
	bubble(t, func(t *testing.T) {
		var n *rooms
		n = newSleepers(t, opts, func(s *sleeper) {
			s.suspend = func(ctx context.Context, why edgews.SuspendReason) error { n.notes("suspend: %v", why); return nil }
		})
		f(t, n, n.IDFromName("lobby"))
	})
}

func TestSuspendReasons(t *testing.T) {
	assert.Equal(t, "hibernation", edgews.SuspendHibernation.String())
	assert.Equal(t, "eviction", edgews.SuspendEviction.String())
	assert.Equal(t, "shutdown", edgews.SuspendShutdown.String())
	assert.Equal(t, "SuspendReason(9)", edgews.SuspendReason(9).String())
}

func TestSuspend(t *testing.T) {
	for _, c := range []struct {
		name   string
		ends   func(t *testing.T, n *rooms, id edgews.ID)
		reason string
	}{
		{"idle", func(t *testing.T, n *rooms, id edgews.ID) { time.Sleep(10 * time.Second) }, "hibernation"},
		{"Hibernate", func(t *testing.T, n *rooms, id edgews.ID) { require.NoError(t, n.Hibernate(t.Context(), id)) }, "hibernation"},
		{"Shutdown", func(t *testing.T, n *rooms, id edgews.ID) { require.NoError(t, n.Shutdown(t.Context())) }, "shutdown"},
		{"PinTimeout", func(t *testing.T, n *rooms, id edgews.ID) {
			n.wake(id).WaitUntil(func(ctx context.Context) { <-ctx.Done() })
			time.Sleep(time.Hour)
		}, "eviction"},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := &edgews.NamespaceOptions{PinTimeout: time.Hour}
			inSleepers(t, opts, func(t *testing.T, n *rooms, id edgews.ID) {
				n.wake(id)
				c.ends(t, n, id)
				n.wants("suspend: " + c.reason)
				synctest.Wait()
				n.wantsState(id, edgews.ObjectHibernated)
				time.Sleep(time.Minute)
				require.NoError(t, n.Shutdown(t.Context()))
				assert.Empty(t, n.diary, "once")
				assert.EqualValues(t, 1, n.made.Load())
			})
		})
	}
}

// Storage works in Suspend, what it sends leaves, and it costs its own time only.
func TestSuspendSavesAndSends(t *testing.T) {
	bubble(t, func(t *testing.T) {
		meter := edgews.NewMeter(nil)
		opts := &edgews.NamespaceOptions{Options: edgews.Options{Meter: meter}}
		n := newSleepers(t, opts, func(s *sleeper) {
			s.suspend = func(ctx context.Context, why edgews.SuspendReason) error {
				time.Sleep(3 * time.Second)
				for _, socket := range s.st.WebSockets() {
					require.NoError(t, socket.Send("good night"))
				}
				return s.st.Storage().Put(ctx, "k", []byte("v"))
			}
		})
		id := n.IDFromName("lobby")
		_, _, events := n.joins(id)
		time.Sleep(time.Hour)
		events.wants(message("good night"))
		n.wantsState(id, edgews.ObjectHibernated)
		assert.Equal(t, 3*time.Second, meter.Usage().Active)
		assert.Equal(t, 3*time.Second, meter.Usage().Busy)
		got, err := n.wake(id).Storage().Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, "v", string(got))
		assert.EqualValues(t, 2, n.made.Load())
	})
}

// Whatever Suspend does, the value is dropped, once, and the object works on.
func TestSuspendFails(t *testing.T) {
	for name, fail := range map[string]func(s *sleeper) error{
		"error":  func(*sleeper) error { return io.ErrShortWrite },
		"panic":  func(*sleeper) error { panic("a fault") },
		"Goexit": func(*sleeper) error { runtime.Goexit(); return nil },
		"Abort":  func(s *sleeper) error { s.st.Abort(io.ErrShortWrite); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var log logBuffer
				var n *rooms
				n = newSleepers(t, &edgews.NamespaceOptions{Options: edgews.Options{Logger: log.logger()}}, func(s *sleeper) {
					s.suspend = func(context.Context, edgews.SuspendReason) error { n.notes("suspend"); return fail(s) }
				})
				id := n.IDFromName("lobby")
				client, _, events := n.joins(id)
				time.Sleep(10 * time.Second)
				n.wants("suspend")
				synctest.Wait()
				n.wantsState(id, edgews.ObjectHibernated)
				assert.NotEmpty(t, log.String())
				assert.Equal(t, http.StatusOK, n.get(id).Code)
				assert.EqualValues(t, 2, n.made.Load())
				if name == "Abort" {
					events.wantsEnd(closed(1011, io.ErrShortWrite.Error(), true))
				} else {
					require.NoError(t, client.Send("the socket stays"))
				}
				require.NoError(t, n.Hibernate(t.Context(), id))
				n.wants("suspend")
				assert.Empty(t, n.diary)
			})
		})
	}
}

// A value that is dropped because it cannot be trusted, or has lost its storage, is not asked.
func TestNoSuspendAfterFaults(t *testing.T) {
	for name, fault := range map[string]func(r *room, store *watchedStore){
		"panic": func(*room, *watchedStore) { panic("a fault") },
		"Abort": func(r *room, _ *watchedStore) { r.st.Abort(nil) },
		"commit": func(r *room, store *watchedStore) {
			store.interfere(func(context.Context, edgews.Batch) error { return io.ErrNoProgress })
			r.st.Storage().Put(context.Background(), "k", nil)
		},
		"fence": func(r *room, store *watchedStore) {
			store.interfere(func(context.Context, edgews.Batch) error { return edgews.ErrFenced })
			r.st.Storage().Put(context.Background(), "k", nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := watch(t, edgews.NewMemoryStore())
				var n *rooms
				n = newSleepers(t, &edgews.NamespaceOptions{Store: store}, func(s *sleeper) {
					s.serve = func(http.ResponseWriter, *http.Request) { fault(&s.room, store) }
					s.suspend = func(context.Context, edgews.SuspendReason) error { n.notes("suspend"); return nil }
				})
				n.get(n.IDFromName("lobby"))
				time.Sleep(time.Minute)
				require.NoError(t, n.Shutdown(t.Context()))
				assert.Empty(t, n.diary)
			})
		})
	}
}

// Events that arrive during Suspend wait for it, and construct another value. Only calls of Do for the old value fail.
func TestEventsDuringSuspend(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n *rooms
		n = newSleepers(t, nil, func(s *sleeper) {
			made := n.made.Load()
			s.serve = func(http.ResponseWriter, *http.Request) { n.notes("request to %d", made) }
			s.message = func(_ context.Context, _ *edgews.Socket, m edgews.Message) error {
				n.notes("%s to %d", m.Text(), made)
				return nil
			}
			s.suspend = func(context.Context, edgews.SuspendReason) error {
				n.notes("begin %d", made)
				time.Sleep(5 * time.Second)
				n.notes("end %d", made)
				return nil
			}
		})
		id := n.IDFromName("lobby")
		client, _, _ := n.joins(id)
		n.wants("request to 1")
		st := n.state
		time.Sleep(12 * time.Second)
		synctest.Wait()
		n.wants("begin 1")
		n.wantsState(id, edgews.ObjectActive, "event")
		failed := make(chan error, 1)
		go func() { failed <- st.Do(t.Context(), func() error { n.notes("do"); return nil }) }()
		require.NoError(t, client.Send("message"))
		synctest.Wait()
		n.get(id)
		n.wants("end 1", "message to 2", "request to 2")
		assert.ErrorIs(t, <-failed, edgews.ErrAborted)
	})
}

// What Suspend begins and does not finish ends with the value.
func TestSuspendLeavesPins(t *testing.T) {
	bubble(t, func(t *testing.T) {
		meter := edgews.NewMeter(nil)
		opts := &edgews.NamespaceOptions{Options: edgews.Options{Meter: meter}}
		causes := make(chan error, 1)
		ends := make(chan string, 1)
		n := newSleepers(t, opts, func(s *sleeper) {
			s.suspend = func(context.Context, edgews.SuspendReason) error {
				s.st.WaitUntil(func(ctx context.Context) {
					<-ctx.Done()
					causes <- context.Cause(ctx)
					time.Sleep(time.Hour)
				})
				a, b := edgews.NewPair()
				s.st.Hold(a)
				a.OnClose(func(e edgews.CloseEvent) { ends <- e.Reason })
				b.OnClose(func(edgews.CloseEvent) {})
				return errors.Join(a.Accept(), b.Accept())
			}
		})
		id := n.IDFromName("lobby")
		n.wake(id)
		require.NoError(t, n.Hibernate(t.Context(), id))
		assert.ErrorIs(t, <-causes, edgews.ErrAborted)
		assert.Equal(t, "object was evicted", <-ends)
		synctest.Wait()
		n.wantsState(id, edgews.ObjectHibernated)
		time.Sleep(time.Minute)
		assert.Zero(t, meter.Usage().Active)
	})
}

// An event, and the Suspend after it, are billed both when Hibernate has waited for the event.
func TestHibernateBillsEventAndSuspend(t *testing.T) {
	bubble(t, func(t *testing.T) {
		meter := edgews.NewMeter(nil)
		n := newSleepers(t, &edgews.NamespaceOptions{Options: edgews.Options{Meter: meter}}, func(s *sleeper) {
			s.suspend = func(context.Context, edgews.SuspendReason) error { time.Sleep(4 * time.Second); return nil }
			s.serve = func(http.ResponseWriter, *http.Request) { time.Sleep(3 * time.Second) }
		})
		id := n.NewUniqueID()
		go n.get(id)
		synctest.Wait()
		require.NoError(t, n.Hibernate(t.Context(), id))
		n.wantsState(id, edgews.ObjectHibernated)
		assert.Equal(t, 7*time.Second, meter.Usage().Active)
	})
}

func TestSuspendTimeout(t *testing.T) {
	for _, c := range []struct {
		setting time.Duration
		want    string
	}{
		{0, "edgews: event timeout: Suspend has run for longer than 10s, the limit of Suspender without State.SetEventTimeout"},
		{time.Minute, "edgews: event timeout: Suspend has run for longer than 1m0s, the limit of State.SetEventTimeout"},
	} {
		bubble(t, func(t *testing.T) {
			var n *rooms
			n = newSleepers(t, nil, func(s *sleeper) {
				require.NoError(t, s.st.SetEventTimeout(c.setting))
				s.suspend = func(ctx context.Context, _ edgews.SuspendReason) error {
					<-ctx.Done()
					n.notes("%v", context.Cause(ctx))
					return nil
				}
			})
			n.wake(n.NewUniqueID())
			n.rings(c.want)
		})
	}
}

// At Shutdown Suspend is the last event: the sockets have closed, and WaitUntil has ended. Requests are refused from then on.
func TestSuspendAtShutdown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := edgews.NewMemoryStore()
		var n *rooms
		n = newSleepers(t, &edgews.NamespaceOptions{Store: store}, func(s *sleeper) {
			s.close = func(context.Context, *edgews.Socket, edgews.CloseEvent) error { n.notes("closed"); return nil }
			s.suspend = func(ctx context.Context, why edgews.SuspendReason) error {
				n.notes("%v, %d sockets", why, len(s.st.WebSockets()))
				w := n.get(n.IDFromName("outside"))
				n.notes("%d", w.Code)
				return s.st.Storage().Put(ctx, "k", nil)
			}
		})
		id := n.IDFromName("lobby")
		n.joins(id)
		n.wake(id).WaitUntil(func(ctx context.Context) { time.Sleep(5 * time.Second); n.notes("background") })
		require.NoError(t, n.Shutdown(t.Context()))
		n.wants("closed", "background", "shutdown, 0 sockets", "503")
		assert.Equal(t, 1, edgews.StoredObjects(store))
		assert.Equal(t, http.StatusServiceUnavailable, n.get(id).Code)
	})
}

// Objects may call each other in Suspend, which constructs those again that have been suspended before.
func TestSuspendCallsAtShutdown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n *rooms
		var left, suspended atomic.Int32
		n = newSleepers(t, nil, func(s *sleeper) {
			s.serve = func(_ http.ResponseWriter, r *http.Request) { left.Add(int32(len(r.Header))) }
			s.suspend = func(ctx context.Context, _ edgews.SuspendReason) error {
				suspended.Add(1)
				if s.st.ID() != n.IDFromName("registry") {
					r := newRequestIn(ctx)
					r.Header.Set("Leave", "1")
					n.ByName("registry").ServeHTTP(discardResponse{}, r)
				}
				return nil
			}
		})
		n.wake(n.IDFromName("registry"))
		for range 50 {
			n.wake(n.NewUniqueID())
		}
		require.NoError(t, n.Shutdown(t.Context()))
		assert.EqualValues(t, 50, left.Load())
		assert.Equal(t, n.made.Load(), suspended.Load(), "each value once")
	})
}

// Objects that construct each other in Suspend do not keep Shutdown from its end.
func TestSuspendsEachOtherAtShutdown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n *rooms
		n = newSleepers(t, nil, func(s *sleeper) {
			s.suspend = func(ctx context.Context, _ edgews.SuspendReason) error {
				other := map[string]string{"a": "b", "b": "a"}[s.st.ID().Name()]
				return n.ByName(other).Do(ctx, func(context.Context, edgews.Object) error { return nil })
			}
		})
		n.wake(n.IDFromName("a"))
		err := n.Shutdown(context.Background())
		assert.ErrorContains(t, err, `edgews: namespace "sleepers" was shut down although 1 values have not been suspended, such as that of object `)
		assert.ErrorContains(t, err, "Suspend of other objects has constructed them, for the 100th time")
		n.wantsState(n.IDFromName("a"), edgews.ObjectHibernated)
		n.wantsState(n.IDFromName("b"), edgews.ObjectHibernated)
	})
}

// A Suspend that runs when Shutdown begins is waited for, and is not called again; when the ctx of Shutdown ends it is cut.
func TestShutdownDuringSuspend(t *testing.T) {
	for _, within := range []time.Duration{time.Second, time.Minute} {
		bubble(t, func(t *testing.T) {
			var n *rooms
			n = newSleepers(t, nil, func(s *sleeper) {
				require.NoError(t, s.st.SetEventTimeout(time.Hour))
				s.suspend = func(ctx context.Context, why edgews.SuspendReason) error {
					select {
					case <-ctx.Done():
					case <-time.After(10 * time.Second):
					}
					n.notes("%v %v", why, context.Cause(ctx))
					return nil
				}
			})
			n.wake(n.IDFromName("lobby"))
			time.Sleep(11 * time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			err := n.Shutdown(ctx)
			if within == time.Minute {
				require.NoError(t, err)
				n.wants("hibernation <nil>")
			} else {
				require.ErrorIs(t, err, context.DeadlineExceeded)
				assert.ErrorContains(t, err, "has event (Suspend)")
				n.wants("hibernation " + edgews.ErrShutdown.Error())
			}
			time.Sleep(time.Minute)
			assert.Empty(t, n.diary)
			n.wantsState(n.IDFromName("lobby"), edgews.ObjectHibernated)
		})
	}
}

// Shutdown returns when its ctx ends, even if Suspend does not.
func TestShutdownLeavesSuspend(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newSleepers(t, nil, func(s *sleeper) {
			s.suspend = func(context.Context, edgews.SuspendReason) error { time.Sleep(time.Hour); return nil }
		})
		n.wake(n.IDFromName("lobby"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.ErrorIs(t, n.Shutdown(ctx), context.DeadlineExceeded)
	})
}

// interleaving counts what happens to the values of objects while events, hibernation and faults come at random moments.
type interleaving struct {
	t                         *testing.T
	messages, requests, calls atomic.Int64
	calm                      atomic.Bool // nothing fails yet

	mu      sync.Mutex
	values  map[*sleeper]string // why each is not in use any more; "": it is
	current map[edgews.ID]*sleeper
}

// begins notes a value. The one before must have been dropped.
func (v *interleaving) begins(s *sleeper) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if was := v.current[s.st.ID()]; was != nil {
		assert.NotEmpty(v.t, v.values[was], "two values at a time")
	}
	v.current[s.st.ID()], v.values[s] = s, ""
}

// ends notes why a value is dropped.
func (v *interleaving) ends(s *sleeper, why string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	assert.Empty(v.t, v.values[s], "ended twice")
	v.values[s] = why
}

// uses is called by each event.
func (v *interleaving) uses(s *sleeper) {
	v.mu.Lock()
	defer v.mu.Unlock()
	assert.Empty(v.t, v.values[s], "an event of a value that has been dropped")
	assert.Same(v.t, s, v.current[s.st.ID()])
}

// pause lets others run, for a random time.
func pause() {
	time.Sleep(time.Duration(rand.IntN(3)) * time.Duration(rand.IntN(1000)) * time.Microsecond)
}

func (v *interleaving) design(s *sleeper) {
	v.begins(s)
	s.message = func(context.Context, *edgews.Socket, edgews.Message) error {
		v.uses(s)
		v.messages.Add(1)
		pause()
		return nil
	}
	s.serve = func(_ http.ResponseWriter, r *http.Request) {
		v.uses(s)
		if v.requests.Add(1); v.calm.Load() {
			return
		}
		pause()
		switch rand.IntN(20) {
		case 0:
			v.ends(s, "panic")
			panic("a fault")
		case 1:
			s.st.WaitUntil(func(context.Context) { pause() })
		}
	}
	s.alarm = func(context.Context) error { v.uses(s); pause(); return nil }
	s.suspend = func(context.Context, edgews.SuspendReason) error {
		v.uses(s)
		pause()
		v.uses(s)
		v.ends(s, "suspended")
		if rand.IntN(10) == 0 {
			panic("a fault in Suspend")
		}
		return nil
	}
}

// call is an event for a caller, which sets an alarm.
func (v *interleaving) call(ctx context.Context, o edgews.Object) error {
	s := o.(*sleeper)
	v.uses(s)
	v.calls.Add(1)
	return s.st.Storage().SetAlarm(ctx, time.Now().Add(time.Duration(rand.IntN(3000))*time.Microsecond))
}

// No event is lost, there is one value at a time, and each is suspended once, unless it has panicked, when events arrive while values are
// suspended.
func TestSuspendInterleavings(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := &interleaving{t: t, values: make(map[*sleeper]string), current: make(map[edgews.ID]*sleeper)}
		n := newSleepers(t, &edgews.NamespaceOptions{HibernateAfter: time.Millisecond, PinTimeout: 2 * time.Millisecond}, v.design)
		const workers, rounds = 6, 150
		var wg sync.WaitGroup
		var requests, messages, calls atomic.Int64
		v.calm.Store(true)
		clients := make([]*edgews.Socket, workers)
		for w := range workers {
			clients[w], _, _ = n.joins(n.IDFromName(fmt.Sprint(w % 2)))
			requests.Add(1)
		}
		v.calm.Store(false)
		for w, client := range clients {
			id := n.IDFromName(fmt.Sprint(w % 2))
			wg.Go(func() {
				for range rounds {
					switch pause(); rand.IntN(7) {
					case 0, 1:
						requests.Add(1)
						n.Get(id).ServeHTTP(discardResponse{}, newRequestIn(context.Background()))
					case 2, 3:
						messages.Add(1)
						assert.NoError(t, client.Send("m"))
					case 4:
						calls.Add(1)
						assert.NoError(t, n.Get(id).Do(context.Background(), v.call))
					case 5:
						ran := false
						err := n.lastState().Do(context.Background(), func() error { ran = true; return nil })
						assert.True(t, ran && err == nil || !ran && errors.Is(err, edgews.ErrAborted))
					default:
						if err := n.Hibernate(context.Background(), id); err != nil {
							assert.ErrorIs(t, err, edgews.ErrPinned)
						}
					}
				}
			})
		}
		wg.Wait()
		for w := range workers { // others call until Shutdown refuses them
			wg.Go(func() {
				for err := error(nil); err == nil; pause() {
					if err = n.ByName(fmt.Sprint(w%2)).Do(context.Background(), v.call); err == nil {
						calls.Add(1)
					} else {
						assert.Equal(t, edgews.ErrShutdown, err)
					}
				}
			})
		}
		time.Sleep(50 * time.Millisecond)
		require.NoError(t, n.Shutdown(context.Background()))
		wg.Wait()
		assert.Equal(t, requests.Load(), v.requests.Load())
		assert.Equal(t, calls.Load(), v.calls.Load())
		assert.Equal(t, messages.Load(), v.messages.Load())
		counts := make(map[string]int)
		for _, why := range v.values {
			counts[why]++
		}
		assert.Zero(t, counts[""], "every value has ended")
		assert.EqualValues(t, n.made.Load(), len(v.values))
		assert.Greater(t, counts["suspended"], 20)
	})
}

// discardResponse is a ResponseWriter for answers that nothing reads.
type discardResponse struct{}

func (discardResponse) Header() http.Header         { return make(http.Header) }
func (discardResponse) Write(p []byte) (int, error) { return len(p), nil }
func (discardResponse) WriteHeader(int)             {}
