package edgews_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stateOf returns the State of the object's value, which it constructs if need be.
func (n *rooms) stateOf(id edgews.ID) (st *edgews.State) {
	n.t.Helper()
	require.NoError(n.t, n.Get(id).Do(context.Background(), func(_ context.Context, o edgews.Object) error {
		st = o.(*room).st
		return nil
	}))
	return st
}

// subscriber is a socket of the object of that name, and the recorder of its other end.
type subscriber struct {
	st             *edgews.State
	client, server *edgews.Socket
	events         *recorder
}

// subscribed gives the object of that name one end of a pair, which it subscribes to topics.
func (n *rooms) subscribed(name string, topics ...string) *subscriber {
	n.t.Helper()
	client, server := edgews.NewPair()
	return n.subscribes(name, client, server, topics...)
}

// subscribes is subscribed with the two ends of any connection.
func (n *rooms) subscribes(name string, client, server *edgews.Socket, topics ...string) *subscriber {
	n.t.Helper()
	s := &subscriber{n.stateOf(n.IDFromName(name)), client, server, record(n.t, client)}
	require.NoError(n.t, s.st.AcceptWebSocket(server))
	require.NoError(n.t, client.Accept())
	for _, topic := range topics {
		require.NoError(n.t, s.st.Subscribe(topic, server))
	}
	return s
}

// hears waits until the client has what was sent to it, and checks that this is all.
func (s *subscriber) hears(t *testing.T, messages ...string) {
	t.Helper()
	for _, m := range messages {
		s.events.wants(message(m))
	}
	_, err := s.client.Ping(t.Context())
	require.NoError(t, err)
	assert.Empty(t, s.events.Rest())
}

func (n *rooms) publishes(topic, text string) {
	n.t.Helper()
	require.NoError(n.t, n.Publish(context.Background(), topic, edgews.Prepare(edgews.Text, []byte(text))))
}

// topicsOf returns what Namespace.Topics does.
func topicsOf(n *edgews.Namespace) map[string]int {
	all := make(map[string]int)
	for topic, subscribers := range n.Topics() {
		all[topic] = subscribers
	}
	return all
}

// What is published goes to the sockets of all objects that have subscribed to the topic, whatever links them.
func TestTopicsAcrossObjects(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, client, server *edgews.Socket) {
		n := newRooms(t, nil, nil)
		a := n.subscribes("a", client, server, "news", "sports")
		b := n.subscribed("b", "news")
		other := n.subscribed("b")
		n.publishes("news", "one")
		n.publishes("sports", "two")
		n.publishes("weather", "nobody hears it")
		long := strings.Repeat("compressible ", 1000)
		n.publishes("news", long)
		a.events.wants(message("one"), message("two"), messageOf(edgews.Message{Kind: edgews.Text, Data: []byte(long)}))
		b.events.wants(message("one"), messageOf(edgews.Message{Kind: edgews.Text, Data: []byte(long)}))
		a.hears(t)
		b.hears(t)
		other.hears(t)
		assert.Equal(t, map[string]int{"news": 2, "sports": 1}, topicsOf(n.Namespace))

		require.NoError(t, a.st.Unsubscribe("news", a.server))
		n.publishes("news", "three")
		n.publishes("sports", "four")
		a.hears(t, "four")
		b.hears(t, "three")
		require.NoError(t, n.Publish(t.Context(), "sports", edgews.Prepare(edgews.Binary, []byte{1, 2})))
		a.events.wants(bytesMessage("\x01\x02"))
	})
}

func TestTopicsOfASocket(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newRooms(t, nil, nil)
		a := n.subscribed("a", "x", "y", "z", "y")
		again := n.subscribed("a")
		topics := func(s *subscriber) string {
			all, err := s.st.Topics(s.server)
			require.NoError(t, err)
			return strings.Join(all, " ")
		}
		assert.Equal(t, "x y z", topics(a))
		assert.Empty(t, topics(again))
		require.NoError(t, a.st.Unsubscribe("y", a.server, a.server, again.server))
		require.NoError(t, a.st.Unsubscribe("unknown", a.server))
		require.NoError(t, a.st.Subscribe("w", again.server, a.server, again.server))
		require.NoError(t, a.st.Subscribe("nobody"))
		require.NoError(t, a.st.Unsubscribe("z"))
		assert.Equal(t, "x z w", topics(a))
		assert.Equal(t, "w", topics(again))
		assert.Equal(t, []string{"x", "z", "w"}, a.server.Info().Topics)
		assert.Empty(t, a.client.Info().Topics)
		assert.Equal(t, map[string]int{"x": 1, "z": 1, "w": 2}, topicsOf(n.Namespace))
		assert.Equal(t, []int{1, 2, 0}, []int{n.Subscribers("x"), n.Subscribers("w"), n.Subscribers("y")})
		n.publishes("w", "once")
		a.hears(t, "once")
		again.hears(t, "once")
		for range n.Topics() {
			require.NoError(t, a.st.Unsubscribe("x", a.server), "a loop may do anything")
			break
		}
		assert.Equal(t, "z w", topics(a))
	})
}

func TestTopicNames(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newRooms(t, nil, nil)
		a := n.subscribed("a")
		for _, c := range []struct{ name, topic, want string }{
			{"empty", "", "edgews: invalid topic: it is empty"},
			{"too long", strings.Repeat("x", 257), "edgews: invalid topic: it has 257 bytes; the limit is 256"},
			{"no UTF-8", "a\xff", `edgews: invalid topic: "a\xff" is not UTF-8`},
		} {
			m := edgews.Prepare(edgews.Text, []byte("x"))
			for _, err := range []error{n.Publish(t.Context(), c.topic, m), a.st.Subscribe(c.topic, a.server), a.st.Unsubscribe(c.topic, a.server)} {
				assert.ErrorIs(t, err, edgews.ErrTopicName, c.name)
				assert.EqualError(t, err, c.want, c.name)
			}
		}
		long := strings.Repeat("ä", 128)
		require.NoError(t, a.st.Subscribe(long, a.server))
		n.publishes(long, "as long as it may be")
		a.hears(t, "as long as it may be")
		assert.Equal(t, map[string]int{long: 1}, topicsOf(n.Namespace))
	})
}

// Only sockets that the object has accepted with AcceptWebSocket, and whose end has not been delivered, can be subscribed. One that cannot
// keeps all others from it.
func TestTopicsOfOtherSockets(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newRooms(t, nil, nil)
		a, b := n.subscribed("a", "old"), n.subscribed("b")
		open := func() *edgews.Socket {
			s, other := edgews.NewPair()
			require.NoError(t, other.Accept())
			t.Cleanup(func() { other.Close(1000, "") })
			return s
		}
		accepted, held, ended := open(), open(), n.subscribed("a")
		require.NoError(t, accepted.Accept())
		a.st.Hold(held)
		require.NoError(t, held.Accept())
		require.NoError(t, ended.client.Close(1000, ""))
		waitDone(t, ended.server)
		for name, s := range map[string]*edgews.Socket{
			"nil": nil, "not accepted": open(), "accepted": accepted, "held": held, "of another object": b.server, "ended": ended.server,
		} {
			assert.ErrorIs(t, a.st.Subscribe("new", a.server, s), edgews.ErrNotOwned, name)
			assert.ErrorIs(t, a.st.Unsubscribe("old", a.server, s), edgews.ErrNotOwned, name)
			_, err := a.st.Topics(s)
			assert.ErrorIs(t, err, edgews.ErrNotOwned, name)
			assert.Equal(t, map[string]int{"old": 1}, topicsOf(n.Namespace), name)
		}
		held.Close(1000, "")
		accepted.Close(1000, "")
	})
}

func TestTopicsHaveALimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newRooms(t, nil, nil)
		a, b := n.subscribed("a"), n.subscribed("a")
		for i := range 1024 {
			require.NoError(t, a.st.Subscribe(fmt.Sprint(i), a.server))
		}
		err := a.st.Subscribe("another", b.server, a.server)
		assert.ErrorIs(t, err, edgews.ErrTooManyTopics)
		assert.EqualError(t, err, "edgews: socket has too many topics: it has 1024 topics, and the limit is 1024")
		assert.Zero(t, n.Subscribers("another"), "b is not subscribed either, and the topic is not kept")
		assert.Len(t, topicsOf(n.Namespace), 1024)
		require.NoError(t, a.st.Subscribe("17", a.server, b.server), "it has that one")
		require.NoError(t, a.st.Unsubscribe("18", a.server))
		require.NoError(t, a.st.Subscribe("another", b.server, a.server))
		assert.Equal(t, 2, n.Subscribers("another"))
		n.publishes("another", "hello")
		a.hears(t, "hello")
		require.NoError(t, a.client.Close(1000, ""))
		waitDone(t, a.server)
		assert.Equal(t, map[string]int{"17": 1, "another": 1}, topicsOf(n.Namespace))
	})
}

// Publishing neither wakes an object nor keeps it awake, and subscriptions survive hibernation.
func TestTopicsWhileObjectsHibernate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newRooms(t, nil, nil)
		a := n.subscribed("a", "news")
		id := n.IDFromName("a")
		require.NoError(t, n.Hibernate(t.Context(), id))
		made := n.made.Load()
		n.publishes("news", "to a hibernated object's socket")
		a.hears(t, "to a hibernated object's socket")
		n.wantsState(id, edgews.ObjectHibernated)
		assert.Equal(t, made, n.made.Load())
		assert.ErrorIs(t, a.st.Subscribe("late", a.server), edgews.ErrAborted, "the value has been dropped")
		assert.ErrorIs(t, a.st.Unsubscribe("news", a.server), edgews.ErrAborted)
		_, err := a.st.Topics(a.server)
		assert.ErrorIs(t, err, edgews.ErrAborted)

		next := n.stateOf(id)
		topics, err := next.Topics(a.server)
		require.NoError(t, err)
		assert.Equal(t, []string{"news"}, topics)
		require.NoError(t, next.Subscribe("news", next.WebSockets()...), "a value may subscribe its sockets each time")
		for range 5 { // every 4 s: it does not keep the object awake, which hibernates after 10 s
			time.Sleep(4 * time.Second)
			n.publishes("news", "tick")
		}
		n.wantsState(id, edgews.ObjectHibernated)
		a.hears(t, "tick", "tick", "tick", "tick", "tick")
	})
}

func TestTopicsWhenAnObjectFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := watch(t, edgews.NewMemoryStore())
		n := newRooms(t, &edgews.NamespaceOptions{Store: store}, nil)
		a, stays := n.subscribed("a", "news", "more"), n.subscribed("b", "news")
		id := n.IDFromName("a")
		assert.Error(t, n.Get(id).Do(t.Context(), func(context.Context, edgews.Object) error { panic("a fault of the program") }))
		n.publishes("news", "the socket has survived the panic")
		a.hears(t, "the socket has survived the panic")

		n.stateOf(id).Abort(io.ErrUnexpectedEOF)
		assert.Equal(t, map[string]int{"news": 1}, topicsOf(n.Namespace), "at once")
		waitDone(t, a.client)

		a = n.subscribed("a", "news", "more")
		store.interfere(func(context.Context, edgews.Batch) error { return io.ErrClosedPipe })
		assert.ErrorIs(t, a.st.Storage().Put(t.Context(), "key", nil), io.ErrClosedPipe)
		assert.Equal(t, map[string]int{"news": 1}, topicsOf(n.Namespace))
		n.publishes("news", "to those that are left")
		stays.hears(t, "the socket has survived the panic", "to those that are left")
		store.interfere(nil)
	})
}

// However a socket ends, its subscriptions have ended before Done is closed.
func TestTopicsWhenASocketEnds(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, s *subscriber){
		"peer closes":   func(t *testing.T, s *subscriber) { require.NoError(t, s.client.Close(1000, "")) },
		"object closes": func(t *testing.T, s *subscriber) { require.NoError(t, s.server.Close(4000, "")) },
		"lost":          func(t *testing.T, s *subscriber) { edgews.Lose(s.server) },
	} {
		t.Run(name, func(t *testing.T) {
			both(t, edgews.Options{}, func(t *testing.T, client, server *edgews.Socket) {
				n := newRooms(t, nil, nil)
				s, stays := n.subscribes("a", client, server, "x", "y"), n.subscribed("a", "y")
				end(t, s)
				waitDone(t, s.server)
				assert.Equal(t, map[string]int{"y": 1}, topicsOf(n.Namespace))
				assert.Empty(t, s.server.Info().Topics)
				n.publishes("x", "nobody")
				n.publishes("y", "hello")
				stays.hears(t, "hello")
			})
		})
	}
}

// A socket that is closing does not take what is published, and gets no second Close.
func TestTopicsWhileASocketCloses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		var n *rooms
		n = newRooms(t, nil, func(r *room) {
			r.close = func(_ context.Context, s *edgews.Socket, _ edgews.CloseEvent) error {
				n.publishes("x", "before the answer")
				require.NoError(t, s.Close(4001, "own answer"))
				n.publishes("x", "after it")
				require.NoError(t, r.st.Subscribe("y", s), "until WebSocketClose has returned it is the object's")
				<-release
				return nil
			}
		})
		a := n.subscribed("a", "x")
		require.NoError(t, a.client.Close(4000, "bye"))
		synctest.Wait()
		assert.Equal(t, map[string]int{"x": 1, "y": 1}, topicsOf(n.Namespace))
		close(release)
		waitDone(t, a.server)
		assert.Empty(t, topicsOf(n.Namespace))
		a.events.wantsEnd(message("before the answer"), closed(4001, "own answer", true))
	})
}

// A reader that does not read delays neither Publish nor the others; its Overflow decides what becomes of the message.
func TestTopicsAndSlowReaders(t *testing.T) {
	for overflow, closes := range map[edgews.Overflow]bool{
		edgews.OverflowError: false, edgews.OverflowDrop: false, edgews.OverflowDropOldest: false, edgews.OverflowClose: true,
	} {
		t.Run(fmt.Sprint(overflow), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				opts := edgews.Options{Overflow: overflow, SendBuffer: 4 << 10, WriteTimeout: -1, KeepAlive: -1}
				server, slow := overPipe.serverAndPeer(t, opts) // nothing reads the pipe
				n := newRooms(t, nil, nil)
				st := n.stateOf(n.IDFromName("slow"))
				require.NoError(t, st.AcceptWebSocket(server))
				require.NoError(t, st.Subscribe("x", server))
				quick := n.subscribed("quick", "x")
				began := time.Now()
				for i := range 100 {
					n.publishes("x", fmt.Sprint(i, strings.Repeat("x", 1000)))
					quick.events.Next()
				}
				assert.Equal(t, began, time.Now(), "nothing has waited")
				assert.LessOrEqual(t, server.BufferedAmount(), 8<<10)
				assert.Equal(t, closes, server.ReadyState() != edgews.Open)
				slow.hangsUp()
				waitDone(t, server)
				assert.Equal(t, 1, n.Subscribers("x"))
			})
		})
	}
}

func TestPublishErrors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newRooms(t, nil, nil)
		a := n.subscribed("a", "x")
		over, cancel := context.WithCancel(t.Context())
		cancel()
		good := edgews.Prepare(edgews.Text, []byte("hello"))
		for name, c := range map[string]struct {
			ctx  context.Context
			m    *edgews.Prepared
			want string
		}{
			"nil":         {t.Context(), nil, "edgews: nil *Prepared"},
			"kind":        {t.Context(), edgews.Prepare(0, nil), "edgews: cannot send a message of kind 0"},
			"no UTF-8":    {t.Context(), edgews.Prepare(edgews.Text, []byte("\xff")), edgews.ErrInvalidUTF8.Error()},
			"ctx is over": {over, good, context.Canceled.Error()},
		} {
			assert.ErrorContains(t, n.Publish(c.ctx, "x", c.m), c.want, name)
		}
		assert.NoError(t, n.Publish(t.Context(), "a topic without subscribers", good))
		a.hears(t)
		require.NoError(t, n.Shutdown(t.Context()))
		assert.Empty(t, topicsOf(n.Namespace), "no socket is left")
		assert.ErrorIs(t, n.Publish(t.Context(), "x", good), edgews.ErrShutdown)
		assert.Error(t, a.st.Subscribe("x", a.server))
	})
}

// What is published counts as messages of the sockets that get it, for the tenants of their objects, and as nothing else.
func TestTopicsAreMetered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		meter := edgews.NewMeter(nil)
		tenants := make(map[edgews.ID]string)
		n := newRooms(t, &edgews.NamespaceOptions{
			Options: edgews.Options{Meter: meter},
			Tenant:  func(id edgews.ID) string { return tenants[id] },
		}, nil)
		for _, name := range []string{"a", "b"} {
			tenants[n.IDFromName(name)] = "tenant of " + name
		}
		a, b := n.subscribed("a", "x"), []*subscriber{n.subscribed("b", "x"), n.subscribed("b", "x")}
		require.NoError(t, n.Hibernate(t.Context(), n.IDFromName("a")))
		require.NoError(t, n.Hibernate(t.Context(), n.IDFromName("b")))
		ofA, ofB := meter.Tenant("tenant of a").Usage(), meter.Tenant("tenant of b").Usage()
		for range 10 {
			n.publishes("x", "12345")
		}
		counted := func(now, was edgews.Usage) edgews.Usage {
			used := now.Sub(was)
			used.Connected = 0
			return used
		}
		assert.Equal(t, edgews.Usage{MessagesOut: 10, BytesOut: 50}, counted(meter.Tenant("tenant of a").Usage(), ofA))
		assert.Equal(t, edgews.Usage{MessagesOut: 20, BytesOut: 100}, counted(meter.Tenant("tenant of b").Usage(), ofB))
		for _, s := range append(b, a) {
			require.NoError(t, s.client.Close(1000, ""))
		}
	})
}

// Topics belong to a namespace.
func TestTopicsOfTwoNamespaces(t *testing.T) {
	bubble(t, func(t *testing.T) {
		one, other := newRooms(t, nil, nil), newRooms(t, nil, nil)
		a, b := one.subscribed("a", "x"), other.subscribed("a", "x")
		one.publishes("x", "hello")
		a.hears(t, "hello")
		b.hears(t)
	})
}

// Sockets that compress alike get the same compressed bytes; the others get the message as it is.
func TestTopicsAndCompression(t *testing.T) {
	n := newRooms(t, nil, nil)
	st := n.stateOf(n.NewUniqueID())
	data := strings.Repeat("compressible ", 1000)
	var frames []aFrame
	for _, offers := range [][]string{{"permessage-deflate"}, {"permessage-deflate"}, nil} {
		s, p := overTCP.serverAndPeer(t, edgews.Options{}, offers...)
		require.NoError(t, st.AcceptWebSocket(s))
		require.NoError(t, st.Subscribe("x", s))
		defer func() { require.NoError(t, st.Unsubscribe("x", s)) }()
		n.publishes("x", data)
		frames = append(frames, p.next())
	}
	for _, f := range frames[:2] {
		assert.NotZero(t, f.bits&rsv1)
		assert.Less(t, len(f.payload), len(data)/10)
		assert.Equal(t, frames[0].payload, f.payload)
	}
	assert.Equal(t, text(data).String(), frames[2].String())
}
