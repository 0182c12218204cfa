package inspect_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/inspect"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// openPairs returns sockets that i has been told of.
func openPairs(tb testing.TB, i *inspect.Inspector, n int) []*edgews.Socket {
	sockets := make([]*edgews.Socket, n)
	for k := range sockets {
		_, s := edgews.NewPair()
		require.NoError(tb, s.Accept())
		i.ObserveSocket(edgews.SocketObservation{Socket: s, Event: edgews.SocketOpened})
		sockets[k] = s
	}
	return sockets
}

func BenchmarkObserveMessage(b *testing.B) {
	i := inspect.New(nil)
	sockets := openPairs(b, i, 1000)
	b.ReportAllocs()
	for k := 0; b.Loop(); k++ {
		i.ObserveMessage(edgews.MessageObservation{Socket: sockets[k%len(sockets)], Direction: edgews.Inbound, Bytes: 10, WireBytes: 16, Latency: time.Microsecond})
	}
}

// handledBy returns the observations of handlers of n objects that i has been told of.
func handledBy(tb testing.TB, i *inspect.Inspector, n int) []edgews.ObjectObservation {
	rooms := edgews.NewNamespace("rooms", newRoom, nil)
	tb.Cleanup(func() { require.NoError(tb, rooms.Shutdown(context.Background())) })
	all := make([]edgews.ObjectObservation, n)
	for k := range all {
		o := edgews.ObjectObservation{Namespace: rooms, ID: rooms.IDFromName(fmt.Sprint(k)), Event: edgews.EventConstructed}
		i.ObserveObject(o)
		o.Event, o.Trigger, o.Duration = edgews.EventHandled, edgews.TriggerMessage, time.Microsecond
		all[k] = o
	}
	return all
}

func BenchmarkObserveHandled(b *testing.B) {
	i := inspect.New(nil)
	handled := handledBy(b, i, 1000)
	b.ReportAllocs()
	for k := 0; b.Loop(); k++ {
		i.ObserveObject(handled[k%len(handled)])
	}
}

func TestObservingAllocatesNothing(t *testing.T) {
	i := inspect.New(nil)
	s := openPairs(t, i, 1)[0]
	m := edgews.MessageObservation{Socket: s, Direction: edgews.Outbound, Bytes: 10, WireBytes: 16}
	assert.Zero(t, testing.AllocsPerRun(1000, func() { i.ObserveMessage(m) }))
	o := handledBy(t, i, 1)[0]
	assert.Zero(t, testing.AllocsPerRun(1000, func() { i.ObserveObject(o) }))
}

// TestManySockets pages through 10,000 sockets, in the order of a simple model.
func TestManySockets(t *testing.T) {
	i := inspect.New(&inspect.Options{Authorize: anyone})
	sockets := openPairs(t, i, 10_000)
	for k, s := range sockets {
		for range k % 3 {
			i.ObserveMessage(edgews.MessageObservation{Socket: s, Direction: edgews.Inbound, Bytes: 1})
		}
	}
	c := dial(t, i)
	var got, want []uint64
	for offset := 0; offset < 10_000; offset += 500 {
		list := call[inspect.SocketList](t, c, inspect.CallSockets, inspect.SocketsQuery{Sort: "messages", Desc: true, Offset: offset, Limit: 5000})
		require.Len(t, list.Sockets, 500)
		require.Equal(t, 10_000, list.Selected)
		for _, row := range list.Sockets {
			got = append(got, row.Socket)
		}
	}
	for messages := 2; messages >= 0; messages-- {
		for k, s := range sockets {
			if k%3 == messages {
				want = append(want, s.ID())
			}
		}
	}
	assert.Equal(t, want, got)
}

// BenchmarkSampleSockets samples 10,000 sockets.
func BenchmarkSampleSockets(b *testing.B) {
	i := inspect.New(nil)
	openPairs(b, i, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		i.Sample()
	}
}

// BenchmarkSampleObjects counts, and samples, 100,000 objects.
func BenchmarkSampleObjects(b *testing.B) {
	i := inspect.New(nil)
	n := edgews.NewNamespace("rooms", newRoom, &edgews.NamespaceOptions{HibernateAfter: time.Hour, Options: edgews.Options{Observer: i}})
	b.Cleanup(func() { require.NoError(b, n.Shutdown(context.Background())) })
	for k := range 100_000 {
		require.NoError(b, n.ByName(fmt.Sprint(k)).Do(b.Context(), func(context.Context, edgews.Object) error { return nil }))
	}
	for name, sample := range map[string]func(){"count": i.CountObjects, "sample": i.SampleObjects} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sample()
			}
		})
	}
}
