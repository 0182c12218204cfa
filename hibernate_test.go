package edgews_test

import (
	"context"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHibernation(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		client, server, events := n.joins(id, "red", "blue")
		require.NoError(t, server.SetAttachment(map[string]int{"score": 7}))
		time.Sleep(9 * time.Second)
		n.wantsState(id, edgews.ObjectIdle)
		time.Sleep(time.Second)
		synctest.Wait()
		n.wantsState(id, edgews.ObjectHibernated)
		o, _ := n.info(id)
		assert.Equal(t, 1, o.Sockets)
		assert.Equal(t, time.Duration(0), time.Since(o.Since))
		time.Sleep(time.Hour)

		client.Send("one")
		client.Send("two")
		n.wants(message("one"), message("two"))
		events.wants(message("echo one"), message("echo two"))
		assert.EqualValues(t, 2, n.made.Load(), "constructed again, once")
		var score struct{ Score int }
		require.NoError(t, server.Attachment(&score))
		assert.Equal(t, 7, score.Score)
		assert.Equal(t, []*edgews.Socket{server}, n.wake(id).WebSockets("blue", "red"))

		time.Sleep(time.Hour)
		require.NoError(t, client.Close(1000, "bye"))
		n.wants(closed(1000, "bye", true))
		events.wantsEnd(closed(1000, "bye", true))
		assert.EqualValues(t, 3, n.made.Load())
		time.Sleep(9 * time.Second)
		n.wantsState(id, edgews.ObjectIdle)
		time.Sleep(2 * time.Minute)
		_, ok := n.info(id)
		assert.False(t, ok, "nothing is left of it")
	})
}

// Each event starts the time anew, exactly.
func TestHibernationIsPostponed(t *testing.T) {
	inRooms(t, &edgews.NamespaceOptions{HibernateAfter: time.Minute}, func(t *testing.T, n *rooms, id edgews.ID) {
		for range 5 {
			n.get(id)
			time.Sleep(59 * time.Second)
		}
		n.wantsState(id, edgews.ObjectIdle)
		time.Sleep(time.Second)
		synctest.Wait()
		n.wantsState(id, edgews.ObjectHibernated)
		assert.EqualValues(t, 1, n.made.Load())
	})
}

func TestHibernationNever(t *testing.T) {
	inRooms(t, &edgews.NamespaceOptions{HibernateAfter: -1}, func(t *testing.T, n *rooms, id edgews.ID) {
		n.get(id)
		time.Sleep(24 * time.Hour)
		n.wantsState(id, edgews.ObjectIdle)
		require.NoError(t, n.Hibernate(t.Context(), id))
		n.wantsState(id, edgews.ObjectHibernated)
	})
}

// What the object said before it hibernated still counts: after our Close nothing can be sent.
func TestHibernationAfterClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client, server := edgews.NewPair()
		var n *rooms
		n = newRooms(t, nil, func(r *room) {
			r.close = func(_ context.Context, s *edgews.Socket, e edgews.CloseEvent) error {
				n.notes("%v %s", s.ReadyState(), closed(int(e.Code), e.Reason, e.WasClean))
				return nil
			}
			r.message = func(_ context.Context, s *edgews.Socket, m edgews.Message) error {
				n.notes("%v %v", s.ReadyState(), s.Send("x"))
				return nil
			}
		})
		id := n.NewUniqueID()
		require.NoError(t, n.wake(id).AcceptWebSocket(server))
		require.NoError(t, client.AcceptHalfOpen())
		require.NoError(t, server.Close(4001, "enough"))
		require.NoError(t, n.Hibernate(t.Context(), id))
		require.NoError(t, client.Send("late"))
		n.wants("CLOSING edgews: socket is closed")
		require.NoError(t, client.Close(4002, "fine"))
		n.wants("CLOSED " + closed(4002, "fine", true))
	})
}

// Until it ends, each of these keeps the object awake, and the time counts from there.
func TestPins(t *testing.T) {
	type held struct {
		n  *rooms
		st *edgews.State
		w  http.ResponseWriter
		r  *http.Request
	}
	cases := []struct {
		name string
		pin  string
		hold func(t *testing.T, h held) (release func())
	}{
		{"event", "event", func(t *testing.T, h held) func() {
			free := make(chan struct{})
			go h.st.Do(context.Background(), func() error { <-free; return nil })
			return func() { close(free) }
		}},
		{"WaitUntil", "WaitUntil", func(t *testing.T, h held) func() {
			free := make(chan struct{})
			h.st.WaitUntil(func(context.Context) { <-free })
			return func() { close(free) }
		}},
		{"a socket of its own", "held socket", func(t *testing.T, h held) func() {
			client, server := edgews.NewPair()
			h.st.Hold(client)
			client.Accept()
			server.Accept()
			return func() { server.Close(1000, "") }
		}},
		{"an outbound socket", "outbound socket", func(t *testing.T, h held) func() {
			sockets := make(chan *edgews.Socket, 1)
			_, url, httpClient := overPipe.serve(t, upgradeInto(t, sockets, edgews.Options{}))
			s, _, err := edgews.Dial(h.r.Context(), url, &edgews.DialOptions{HTTPClient: httpClient})
			require.NoError(t, err)
			require.NoError(t, s.Accept())
			server := <-sockets
			require.NoError(t, server.Accept())
			return func() { server.Close(1000, "") }
		}},
		{"an upgraded socket", "accepted socket", func(t *testing.T, h held) func() {
			s, err := edgews.Upgrade(h.w, h.r, nil)
			require.NoError(t, err)
			require.NoError(t, s.Accept())
			return func() { s.Close(1000, "") }
		}},
		{"a pair's end", "accepted socket", func(t *testing.T, h held) func() {
			client, s := edgews.NewPair()
			require.NoError(t, s.Accept())
			require.NoError(t, edgews.Respond(h.w, h.r, client, nil))
			return func() { s.Close(1000, "") }
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var release func()
				var n *rooms
				n = newRooms(t, nil, func(r *room) {
					r.serve = func(w http.ResponseWriter, req *http.Request) { release = c.hold(t, held{n, r.st, w, req}) }
				})
				id := n.NewUniqueID()
				_, url, httpClient := overPipe.serve(t, n.Get(id).ServeHTTP)
				go func() {
					if client, _, err := edgews.Dial(context.Background(), url, &edgews.DialOptions{HTTPClient: httpClient}); err == nil {
						client.Accept()
					}
				}()
				time.Sleep(time.Minute)
				n.wantsState(id, edgews.ObjectActive, c.pin)
				release()
				time.Sleep(9 * time.Second)
				n.wantsState(id, edgews.ObjectIdle)
				time.Sleep(2 * time.Second)
				n.wantsState(id, edgews.ObjectHibernated)
				httpClient.CloseIdleConnections()
			})
		})
	}
}

func TestHibernateRefusesWhatIsPinned(t *testing.T) {
	inRooms(t, nil, func(t *testing.T, n *rooms, id edgews.ID) {
		free := make(chan struct{})
		n.wake(id).WaitUntil(func(context.Context) { <-free })
		err := n.Hibernate(t.Context(), id)
		assert.ErrorIs(t, err, edgews.ErrPinned)
		assert.ErrorContains(t, err, "WaitUntil")
		close(free)
		synctest.Wait()
		require.NoError(t, n.Hibernate(t.Context(), id))
		n.wantsState(id, edgews.ObjectHibernated)
		require.NoError(t, n.Hibernate(t.Context(), id), "it is asleep already")
		require.NoError(t, n.Hibernate(t.Context(), n.NewUniqueID()), "it never was")
		assert.EqualValues(t, 1, n.made.Load())
	})
}

// A hibernated value is garbage.
func TestHibernationFreesTheValue(t *testing.T) {
	var freed atomic.Int32
	n := newRooms(t, nil, func(r *room) {
		runtime.AddCleanup(r, func(freed *atomic.Int32) { freed.Add(1) }, &freed)
	})
	id := n.NewUniqueID()
	_, server, _ := n.joins(id)
	require.NoError(t, n.Hibernate(t.Context(), id))
	eventually(t, func() bool {
		runtime.GC()
		return freed.Load() == 1
	}, "the value is collected")
	assert.Equal(t, edgews.Open, server.ReadyState())
	n.mu.Lock()
	defer n.mu.Unlock()
	assert.NotNil(t, n.state)
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
