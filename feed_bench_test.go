package edgews_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// benchFeed returns the feed of an object that has accepted n sockets, ends of pairs, and those sockets.
func benchFeed(t testing.TB, n int, opts edgews.FeedOptions, received func(edgews.MessageEvent)) (rooms *feedRooms, servers []*edgews.Socket) {
	rooms = newFeedRooms(t, &edgews.NamespaceOptions{HibernateAfter: -1}, opts)
	st := rooms.wake(rooms.id)
	for range n {
		client, server := edgews.NewPair()
		client.OnMessage(received)
		require.NoError(t, st.AcceptWebSocket(server))
		require.NoError(t, client.Accept())
		servers = append(servers, server)
	}
	return rooms, servers
}

// BenchmarkFeedPublish is a message of 100 bytes from Publish until all members have got it, over pairs; broadcast is the same with
// Storage.Put and State.Broadcast.
func BenchmarkFeedPublish(b *testing.B) {
	text, ctx := string(make([]byte, 100)), context.Background()
	for _, n := range []int{0, 1, 100, 10_000} {
		measure := func(b *testing.B, join bool, publish func(rooms *feedRooms, i int) error) {
			var got atomic.Int64
			rooms, servers := benchFeed(b, n, edgews.FeedOptions{}, func(edgews.MessageEvent) { got.Add(1) })
			want := int64(0)
			if join {
				want = int64(n)
				for _, s := range servers {
					require.NoError(b, rooms.awake().Join(ctx, s, "", 0))
				}
			}
			wait := func() {
				for got.Load() != want {
					time.Sleep(time.Microsecond)
				}
			}
			wait()
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; b.Loop(); i++ {
				if err := publish(rooms, i); err != nil {
					b.Fatal(err)
				}
				want += int64(n)
				wait()
			}
		}
		b.Run(fmt.Sprintf("feed/%d", n), func(b *testing.B) {
			measure(b, true, func(rooms *feedRooms, i int) error {
				_, err := rooms.feed.Publish(ctx, fmt.Sprint(i), text)
				return err
			})
		})
		b.Run(fmt.Sprintf("broadcast/%d", n), func(b *testing.B) {
			measure(b, false, func(rooms *feedRooms, i int) error {
				m := edgews.Prepare(edgews.Text, []byte(text))
				if err := rooms.state.Storage().Put(ctx, fmt.Sprint(i%1000), []byte(text)); err != nil {
					return err
				}
				rooms.state.Broadcast(m)
				return nil
			})
		})
	}
}

// BenchmarkFeedJoin is a client that has missed ten messages of a history of a thousand, or of a hundred thousand.
func BenchmarkFeedJoin(b *testing.B) {
	for _, kept := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(kept), func(b *testing.B) {
			var got atomic.Int64
			rooms, servers := benchFeed(b, 1, edgews.FeedOptions{Keep: kept}, func(edgews.MessageEvent) { got.Add(1) })
			for i := range kept {
				rooms.feed.Publish(b.Context(), "", i)
			}
			want := int64(0)
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				if err := rooms.feed.Join(context.Background(), servers[0], "", uint64(kept-10)); err != nil {
					b.Fatal(err)
				}
				for want += 11; got.Load() != want; {
					time.Sleep(time.Microsecond)
				}
			}
		})
	}
}

// BenchmarkNewFeed is what a feed costs in a constructor: one entry is read, however many there are.
func BenchmarkNewFeed(b *testing.B) {
	rooms, _ := benchFeed(b, 0, edgews.FeedOptions{Keep: 100_000}, nil)
	for i := range 100_000 {
		rooms.feed.Publish(b.Context(), "", i)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		require.NoError(b, rooms.Hibernate(b.Context(), rooms.id))
		b.StartTimer()
		rooms.get(rooms.id)
	}
}

// TestFeedMemory measures what a member takes beside its socket.
func TestFeedMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector needs memory of its own")
	}
	cases := []struct {
		name    string
		who     func(i int) string
		members int
		most    int // bytes
	}{
		{"without a name", func(int) string { return "" }, 10_000, 120},
		{"all the same one", func(int) string { return "ann" }, 10_000, 120},
		{"with names", func(i int) string { return fmt.Sprintf("somebody%d", i) }, 10_000, 350},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got atomic.Int64
			rooms, servers := benchFeed(t, c.members, edgews.FeedOptions{HidePresence: true}, func(edgews.MessageEvent) { got.Add(1) })
			for _, s := range servers { // so that the queues of the pairs are there
				require.NoError(t, s.Send("hello"))
			}
			eventually(t, func() bool { return got.Load() == int64(c.members) }, "all hellos")
			took := heapGrowth(func() {
				for i, s := range servers {
					require.NoError(t, rooms.feed.Join(t.Context(), s, c.who(i), 0))
				}
				eventually(t, func() bool { return got.Load() == 2*int64(c.members) }, "all cursors")
			})
			runtime.KeepAlive(servers)
			t.Logf("%d bytes for each of %d members", took/c.members, c.members)
			assert.Less(t, took/c.members, c.most)
		})
	}
}
