package edgews_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/edgews/edgews"
)

// countingRoom answers every message, and keeps how many there were if it is told to.
type countingRoom struct {
	echoRoom
	keeps bool
}

func (o *countingRoom) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	if o.keeps {
		if err := o.st.Storage().Put(ctx, "last", m.Data); err != nil {
			return err
		}
	}
	return s.SendBytes(m.Data)
}

// BenchmarkEventWithPut compares an event that puts its message into a store in memory with one that does not: what
// edgews adds to what an engine takes.
func BenchmarkEventWithPut(b *testing.B) {
	for name, keeps := range map[string]bool{"without": false, "with": true} {
		b.Run(name, func(b *testing.B) {
			states := make(chan *edgews.State, 1)
			n := edgews.NewNamespace("bench", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
				select {
				case states <- st:
				default:
				}
				return &countingRoom{echoRoom{st}, keeps}, nil
			}, nil)
			b.Cleanup(func() { shutdownNow(n) })
			client, server := overTCP.connect(b, edgews.Options{})
			acceptIn(b, n, n.NewUniqueID(), states, server)
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
		})
	}
}

func shutdownNow(n *edgews.Namespace) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_ = n.Shutdown(ctx)
}

// BenchmarkPut is a Put alone, and with a socket that has something to say during each.
func BenchmarkPut(b *testing.B) {
	n, states := echoRooms(b)
	n.Get(n.NewUniqueID()).ServeHTTP(nil, httpRequest)
	st := <-states
	st.WaitUntil(func(ctx context.Context) { <-ctx.Done() })
	ctx, value := context.Background(), make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if err := st.Storage().Put(ctx, "key", value); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAlarms is an alarm that is set in one of a hundred thousand objects, is due at once, goes off, and is removed.
func BenchmarkAlarms(b *testing.B) {
	rang := make(chan struct{}, 1<<20)
	n := edgews.NewNamespace("bench", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return &ringer{st, rang}, nil
	}, nil)
	b.Cleanup(func() { shutdownNow(n) })
	ids := make([]edgews.ID, 100_000)
	for i := range ids {
		ids[i] = n.NewUniqueID()
	}
	b.ReportAllocs()
	count := 0
	for b.Loop() {
		n.Get(ids[count%len(ids)]).ServeHTTP(nil, httpRequest)
		count++
	}
	for range count {
		<-rang
	}
}

type ringer struct {
	st   *edgews.State
	rang chan struct{}
}

func (r *ringer) ServeHTTP(_ http.ResponseWriter, req *http.Request) {
	if err := r.st.Storage().SetAlarm(req.Context(), time.UnixMilli(0)); err != nil {
		panic(err)
	}
}

func (r *ringer) Alarm(context.Context) error {
	r.rang <- struct{}{}
	return nil
}
