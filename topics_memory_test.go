package edgews_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// subscribers returns sockets of as many objects as they need, with at most so many sockets each, and the State of the object of each. They end
// with the test, at once.
func subscribers(t testing.TB, n *rooms, count, perObject int, connect func() *edgews.Socket) (all []*edgews.Socket, of []*edgews.State) {
	var st *edgews.State
	for i := range count {
		if i%perObject == 0 {
			st = n.stateOf(n.NewUniqueID())
			t.Cleanup(func() { st.Abort(nil) })
		}
		s := connect()
		require.NoError(t, st.AcceptWebSocket(s))
		all, of = append(all, s), append(of, st)
	}
	return all, of
}

func onePairEnd() *edgews.Socket {
	_, server := edgews.NewPair()
	return server
}

// TestTopicMemory measures what subscriptions need.
func TestTopicMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const sockets = 100_000
	topicNames := make([]string, sockets)
	for i := range topicNames {
		topicNames[i] = fmt.Sprintf("topic %06d", i)
	}
	n := newRooms(t, &edgews.NamespaceOptions{HibernateAfter: -1}, nil)
	all, of := subscribers(t, n, sockets, 1000, onePairEnd)
	for _, c := range []struct {
		name          string
		topics, each  int // topics in all, and of each socket
		most, topical int // bytes for each subscription and for each topic
	}{
		{"one topic", 1, 1, 40, 0},
		{"100 topics, 4 of each socket", 100, 4, 40, 0},
		{"a topic of its own", sockets, 1, 40, 220},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := heapInUse()
			for i, s := range all {
				for k := range c.each {
					require.NoError(t, of[i].Subscribe(topicNames[(i+k)%c.topics], s))
				}
			}
			grown, subscriptions := heapInUse()-before, sockets*c.each
			t.Logf("%.1f bytes for each of %d subscriptions to %d topics", float64(grown)/float64(subscriptions), subscriptions, c.topics)
			assert.LessOrEqual(t, grown, c.most*subscriptions+c.topical*c.topics)
			for i, s := range all {
				for k := range c.each {
					require.NoError(t, of[i].Unsubscribe(topicNames[(i+k)%c.topics], s))
				}
			}
			left := heapInUse() - before
			t.Logf("%d bytes are left without subscriptions", left)
			assert.Empty(t, topicsOf(n.Namespace))
		})
	}
	runtime.KeepAlive(all)
}

// Sockets without subscriptions need nothing for topics: what an object knows of a socket is as large as it was without them, since the
// allocator gives 80 bytes for 72.
func TestTopicsCostOtherSocketsNothing(t *testing.T) {
	t.Logf("an objectSocket has %d bytes", edgews.ObjectSocketSize)
	if unsafe.Sizeof(uintptr(0)) == 8 {
		assert.LessOrEqual(t, int(edgews.ObjectSocketSize), 80)
	}
}

func TestPublishAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const members = 20
	n := newRooms(t, &edgews.NamespaceOptions{HibernateAfter: -1}, nil)
	var peers []*peer
	sockets, of := subscribers(t, n, members, 5, func() *edgews.Socket {
		s, p := overTCP.serverAndPeer(t, edgews.Options{})
		peers = append(peers, p)
		return s
	})
	for i, s := range sockets {
		require.NoError(t, of[i].Subscribe("x", s))
	}
	m := edgews.Prepare(edgews.Binary, make([]byte, 128))
	answer := make([]byte, len(binaryOf(string(make([]byte, 128))).appendTo(nil, false)))
	each := mallocs(200, func() {
		if err := n.Publish(context.Background(), "x", m); err != nil {
			t.Error(err)
		}
		for _, p := range peers {
			if _, err := io.ReadFull(p.r, answer); err != nil {
				t.Error(err)
			}
		}
	})
	t.Logf("%.4f allocations for each Publish", each)
	assert.Less(t, each, 0.5)
}

// BenchmarkPublish sends a message to 10 000 connections of 10 objects, and to the same ones in a loop. The connections take at once what is
// written to them.
func BenchmarkPublish(b *testing.B) {
	const count = 10_000
	m := edgews.Prepare(edgews.Text, slices.Repeat([]byte("x"), 100))
	n := newRooms(b, &edgews.NamespaceOptions{HibernateAfter: -1}, nil)
	sockets, of := subscribers(b, n, count, count/10, func() *edgews.Socket { return upgradeToSink(b, nil) })
	for i, s := range sockets {
		require.NoError(b, of[i].Subscribe("all", s))
		require.NoError(b, of[i].Subscribe(fmt.Sprint("tenth ", i%10), s))
	}
	publish := func(topic string) func(b *testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := n.Publish(context.Background(), topic, m); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.Run("publish", publish("all"))
	b.Run("loop", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, s := range sockets {
				if err := s.SendPrepared(m); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("publish/tenth", publish("tenth 3"))
	b.Run("publish/nobody", publish("nobody"))
}

// BenchmarkSubscribe subscribes one of 100 000 sockets to a topic and ends the subscription.
func BenchmarkSubscribe(b *testing.B) {
	const count = 100_000
	n := newRooms(b, &edgews.NamespaceOptions{HibernateAfter: -1}, nil)
	sockets, of := subscribers(b, n, count, 1000, onePairEnd)
	for i, s := range sockets {
		require.NoError(b, of[i].Subscribe("all", s))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i = (i + 7919) % count {
		if err := of[i].Unsubscribe("all", sockets[i]); err != nil {
			b.Fatal(err)
		}
		if err := of[i].Subscribe("all", sockets[i]); err != nil {
			b.Fatal(err)
		}
	}
}
