package edgews_test

import (
	"context"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/require"
)

// echoRoom answers every message.
type echoRoom struct{ st *edgews.State }

func (o *echoRoom) ServeHTTP(w http.ResponseWriter, r *http.Request) {}

func (o *echoRoom) WebSocketMessage(_ context.Context, s *edgews.Socket, m edgews.Message) error {
	return s.SendBytes(m.Data)
}

func echoRooms(b testing.TB) (*edgews.Namespace, chan *edgews.State) {
	states := make(chan *edgews.State, 1)
	n := edgews.NewNamespace("bench", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		select {
		case states <- st:
		default:
		}
		return &echoRoom{st}, nil
	}, nil)
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_ = n.Shutdown(ctx)
	})
	return n, states
}

// BenchmarkEvent compares a round trip through an object with one through a bare socket's listener.
func BenchmarkEvent(b *testing.B) {
	roundTrips := func(b *testing.B, client *edgews.Socket) {
		ctx, p := context.Background(), make([]byte, 64)
		b.ReportAllocs()
		for b.Loop() {
			if err := client.Write(ctx, edgews.Binary, p); err != nil {
				b.Fatal(err)
			}
			if _, err := client.Receive(ctx); err != nil {
				b.Fatal(err)
			}
		}
	}
	for _, where := range []network{overPipe, overTCP} {
		b.Run(where.name+"/socket", func(b *testing.B) {
			client, server := where.connect(b, edgews.Options{})
			server.OnMessage(func(e edgews.MessageEvent) { server.SendBytes(e.Data) })
			require.NoError(b, server.Accept())
			roundTrips(b, client)
		})
		b.Run(where.name+"/object", func(b *testing.B) {
			n, states := echoRooms(b)
			client, server := where.connect(b, edgews.Options{})
			acceptIn(b, n, n.NewUniqueID(), states, server)
			roundTrips(b, client)
		})
	}
}

// BenchmarkWake is a message to an object that hibernates, its answer, and hibernation.
func BenchmarkWake(b *testing.B) {
	n, states := echoRooms(b)
	client, server := edgews.NewPair()
	id := n.NewUniqueID()
	acceptIn(b, n, id, states, server)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if err := n.Hibernate(ctx, id); err != nil {
			b.Fatal(err)
		}
		client.Accept()
		client.SendBytes(nil)
		if _, err := client.Receive(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkObjectMemory reports what an object costs that is idle, and what a hibernated one adds to its socket.
func BenchmarkObjectMemory(b *testing.B) {
	const count = 100_000
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	b.Run("idle", func(b *testing.B) {
		for b.Loop() {
			n, _ := echoRooms(b)
			before, goroutines := heap(), runtime.NumGoroutine()
			for range count {
				n.Get(n.NewUniqueID()).ServeHTTP(nil, httpRequest)
			}
			b.ReportMetric((heap()-before)/count, "B/object")
			b.ReportMetric(float64(runtime.NumGoroutine()-goroutines), "goroutines")
			runtime.KeepAlive(n)
		}
	})
	b.Run("hibernated", func(b *testing.B) {
		for b.Loop() {
			n, states := echoRooms(b)
			sockets := make([]*edgews.Socket, 0, count)
			for range count {
				_, server := edgews.NewPair()
				sockets = append(sockets, server)
			}
			before := heap()
			for _, s := range sockets {
				id := n.NewUniqueID()
				acceptIn(b, n, id, states, s)
				_ = n.Hibernate(context.Background(), id)
			}
			b.ReportMetric((heap()-before)/count, "B/object+socket")
			runtime.KeepAlive(n)
			runtime.KeepAlive(sockets)
		}
	})
}
