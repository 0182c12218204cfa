package edgews_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// holds has the object hold one end of a pair, with listeners, and returns the other end and its recorder.
func (n *rooms) holds(st *edgews.State, heard func(string)) (peer *edgews.Socket, events *recorder) {
	n.t.Helper()
	held, peer := edgews.NewPair()
	st.Hold(held)
	held.OnMessage(func(e edgews.MessageEvent) { heard(e.Text()) })
	held.OnClose(func(e edgews.CloseEvent) { n.notes("held %s", closed(int(e.Code), e.Reason, e.WasClean)) })
	require.NoError(n.t, held.Accept())
	events = record(n.t, peer)
	require.NoError(n.t, peer.Accept())
	return peer, events
}

// Without an event for PinTimeout the object is evicted: nothing keeps it awake, and nothing is billed, any more.
func TestPinTimeout(t *testing.T) {
	meter := edgews.NewMeter(nil)
	opts := &edgews.NamespaceOptions{PinTimeout: 15 * time.Minute, Options: edgews.Options{Meter: meter}}
	inRooms(t, opts, func(t *testing.T, n *rooms, id edgews.ID) {
		client, _, events := n.joins(id)
		st := n.state
		peer, ends := n.holds(st, func(text string) { n.notes("%s", text) })
		causes := make(chan error, 1)
		st.WaitUntil(func(ctx context.Context) {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			time.Sleep(time.Hour)
			n.notes("background")
		})
		info, _ := n.info(id)
		assert.Equal(t, 15*time.Minute, time.Until(info.PinnedUntil))
		time.Sleep(10 * time.Minute)
		require.NoError(t, peer.Send("an event"))
		n.wants("an event")
		time.Sleep(15*time.Minute - 1)
		n.wantsState(id, edgews.ObjectActive, "WaitUntil", "held socket")
		for e := range n.Explain(edgews.DurableObjects) {
			assert.Contains(t, e.String(), "evicted in 0s unless an event comes")
			assert.Len(t, e.Reasons, 2)
		}
		time.Sleep(time.Nanosecond)
		err := <-causes
		assert.ErrorIs(t, err, edgews.ErrAborted)
		assert.ErrorContains(t, err, "object was evicted: it had no event for NamespaceOptions.PinTimeout")
		n.wants("held " + closed(1001, "object was evicted", false))
		ends.wantsEnd(closed(1001, "object was evicted", true))
		synctest.Wait()
		n.wantsState(id, edgews.ObjectHibernated)
		assert.ErrorIs(t, st.Do(t.Context(), func() error { return nil }), edgews.ErrAborted)
		time.Sleep(30 * time.Minute)
		assert.Equal(t, 25*time.Minute, meter.Usage().Active)
		for e := range n.Explain(edgews.DurableObjects) {
			assert.Empty(t, e.Reasons)
			assert.Zero(t, e.PinnedUntil)
		}

		require.NoError(t, client.Send("awake"))
		n.wants(message("awake"))
		events.wants(message("echo awake"))
		assert.EqualValues(t, 2, n.made.Load())
		time.Sleep(time.Minute)
		n.wantsState(id, edgews.ObjectHibernated)
		require.NoError(t, n.Shutdown(t.Context()))
		n.wants(closed(1012, "service restart", true), "background")
	})
}

// Every event gives the pins a new time, a Do by the WaitUntil function itself as well; a request that runs is no pin.
func TestPinTimeoutStartsAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newRooms(t, &edgews.NamespaceOptions{PinTimeout: time.Minute}, func(r *room) {
			r.serve = func(http.ResponseWriter, *http.Request) { time.Sleep(10 * time.Minute) }
		})
		id := n.IDFromName("lobby")
		st := n.wake(id)
		ended := make(chan time.Time, 1)
		st.WaitUntil(func(ctx context.Context) {
			for range 5 {
				time.Sleep(50 * time.Second)
				assert.NoError(t, st.Do(ctx, func() error { return nil }))
			}
			n.get(id)
			<-ctx.Done()
			ended <- time.Now()
		})
		start := time.Now()
		assert.Equal(t, 5*50*time.Second+10*time.Minute+time.Minute, (<-ended).Sub(start))
	})
}

// A pin of an object that has been idle for long has the whole time, also if no event has begun it.
func TestPinTimeoutOfIdleObject(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newRooms(t, &edgews.NamespaceOptions{PinTimeout: time.Minute, HibernateAfter: -1}, nil)
		st := n.wake(n.IDFromName("lobby"))
		time.Sleep(time.Hour)
		ended := make(chan time.Time, 1)
		start := time.Now()
		st.WaitUntil(func(ctx context.Context) { <-ctx.Done(); ended <- time.Now() })
		assert.Equal(t, time.Minute, (<-ended).Sub(start))
	})
}

// A socket whose value has panicked keeps the object awake no longer than others.
func TestPinTimeoutWithoutValue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n *rooms
		n = newRooms(t, &edgews.NamespaceOptions{PinTimeout: time.Minute}, func(r *room) {
			r.serve = func(_ http.ResponseWriter, req *http.Request) {
				if n.made.Load() > 0 && req.URL.Path == "/panic" {
					panic("a fault")
				}
			}
		})
		id := n.IDFromName("lobby")
		_, ends := n.holds(n.wake(id), func(string) {})
		r := newRequestIn(t.Context())
		r.URL.Path = "/panic"
		n.Get(id).ServeHTTP(discardResponse{}, r)
		n.wantsState(id, edgews.ObjectActive, "held socket")
		time.Sleep(time.Minute)
		ends.wantsEnd(closed(1001, "object was evicted", true))
		n.wants("held " + closed(1001, "object was evicted", false))
		synctest.Wait()
		n.wantsState(id, edgews.ObjectHibernated)
	})
}

// By default pins last.
func TestNoPinTimeout(t *testing.T) {
	for _, timeout := range []time.Duration{0, -1} {
		inRooms(t, &edgews.NamespaceOptions{PinTimeout: timeout}, func(t *testing.T, n *rooms, id edgews.ID) {
			peer, _ := n.holds(n.wake(id), func(text string) { n.notes("%s", text) })
			time.Sleep(24 * time.Hour)
			n.wantsState(id, edgews.ObjectActive, "held socket")
			info, _ := n.info(id)
			assert.Zero(t, info.PinnedUntil)
			require.NoError(t, peer.Send("still here"))
			n.wants("still here")
			require.NoError(t, peer.Close(1000, ""))
			n.wants("held " + closed(1000, "", true))
		})
	}
}

// evictedStyles are how an object may use a socket that keeps it awake. end gets why the socket has ended.
var evictedStyles = map[string]func(t *testing.T, st *edgews.State, s *edgews.Socket, end func(error)){
	"listeners": func(t *testing.T, _ *edgews.State, s *edgews.Socket, end func(error)) {
		s.OnMessage(func(edgews.MessageEvent) {})
		s.OnClose(func(e edgews.CloseEvent) { end(&edgews.CloseError{Code: e.Code, Reason: e.Reason}) })
		accept(t, s)
	},
	"Receive": func(_ *testing.T, st *edgews.State, s *edgews.Socket, end func(error)) {
		st.WaitUntil(func(context.Context) {
			_, err := s.Receive(context.Background())
			end(err)
		})
	},
	"NextReader": func(_ *testing.T, st *edgews.State, s *edgews.Socket, end func(error)) {
		st.WaitUntil(func(context.Context) {
			_, _, err := s.NextReader(context.Background())
			end(err)
		})
	},
}

// Sockets of all kinds end with 1001, in whichever style they are used, and the object hibernates.
func TestPinTimeoutOfSockets(t *testing.T) {
	for _, way := range pinningWays {
		for style, use := range evictedStyles {
			t.Run(way.name+" "+style, func(t *testing.T) {
				for _, where := range []network{overPipe, overTCP, overTLS} {
					if way.only != nil && !way.only(where) {
						continue
					}
					where.run(t, func(t *testing.T, where network) {
						g := newPinningObject(t, way, where, &edgews.NamespaceOptions{PinTimeout: 100 * time.Millisecond})
						ends := make(chan error, 1)
						_, other := g.connect(func(s *edgews.Socket) { use(t, g.state, s, func(err error) { ends <- err }) })
						outside := record(t, other)
						require.NoError(t, other.Accept())
						outside.wantsEnd(closed(1001, "object was evicted", true))
						err := <-ends
						if way.name != "NewWebSocket" { // it may have been evicted before it was open
							closing, ok := errors.AsType[*edgews.CloseError](err)
							assert.True(t, ok && closing.Code == edgews.StatusGoingAway, "%v", err)
						}
						eventually(t, func() bool {
							info, _ := g.info(g.id)
							return info.State == edgews.ObjectHibernated
						}, "hibernation")
					})
				}
			})
		}
	}
}

// Messages that come at the moment of the eviction either reach the listener while there is a value, or end with the socket: what the
// listener gets has no gaps, and nothing comes after Suspend.
func TestEvictionInterleavings(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var last *sleeper
		suspended := make(map[*sleeper]int)
		n := newSleepers(t, &edgews.NamespaceOptions{PinTimeout: 2 * time.Millisecond}, func(s *sleeper) {
			last = s
			s.suspend = func(_ context.Context, why edgews.SuspendReason) error {
				suspended[s]++
				assert.Equal(t, edgews.SuspendEviction, why)
				time.Sleep(time.Duration(rand.IntN(2)) * time.Millisecond)
				return nil
			}
		})
		evictedWith := make(map[bool]int)
		for range 200 {
			st := n.wake(n.NewUniqueID())
			value, got, ended := last, 0, false
			peer, _ := n.holds(st, func(text string) {
				assert.Equal(t, fmt.Sprint(got), text)
				assert.Zero(t, suspended[value])
				got++
			})
			peer.OnClose(func(edgews.CloseEvent) { ended = true })
			sent := 0
			for peer.Send(fmt.Sprint(sent)) == nil {
				sent++
				time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
			}
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			assert.True(t, ended)
			assert.Equal(t, 1, suspended[value])
			evictedWith[got < sent]++
			n.wantsState(st.ID(), edgews.ObjectHibernated)
		}
		assert.Len(t, evictedWith, 2, "some messages come too late, and some do not")
		assert.EqualValues(t, n.made.Load(), len(suspended))
	})
}
