package edgews_test

import (
	"context"
	"fmt"
	"io"
	"iter"
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

// BenchmarkScan reads ten entries of ten and of a million in memory, in both orders, in a transaction that has written little too.
func BenchmarkScan(b *testing.B) {
	for _, size := range []int{10, 1_000_000} {
		s := keptState(keepers(b)).Storage()
		putNumbered(b, s, size)
		middle := edgews.Range{Start: numberedKey(size/2 - 5), Limit: 10}
		backwards := edgews.Range{End: numberedKey(size/2 + 5), Limit: 10, Reverse: true}
		ctx := context.Background()
		stored := func(r edgews.Range) iter.Seq2[edgews.Entry, error] { return s.Scan(ctx, r) }
		b.Run(fmt.Sprint("forward/stored=", size), func(b *testing.B) { benchmarkScan(b, stored, middle) })
		b.Run(fmt.Sprint("reverse/stored=", size), func(b *testing.B) { benchmarkScan(b, stored, backwards) })
		_ = s.Update(ctx, func(tx *edgews.Tx) error {
			for i := range 5 {
				_ = tx.Put(numberedKey(size/2+i)+"+", []byte("new"))
				_ = tx.Delete(numberedKey(size/2 - i))
			}
			b.Run(fmt.Sprint("tx/stored=", size), func(b *testing.B) { benchmarkScan(b, tx.Scan, middle) })
			b.Run(fmt.Sprint("txreverse/stored=", size), func(b *testing.B) { benchmarkScan(b, tx.Scan, backwards) })
			return io.EOF
		})
	}
}

func benchmarkScan(b *testing.B, scan scanner, r edgews.Range) {
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range scan(r) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n < 5 || n > 10 {
			b.Fatal(n)
		}
	}
}

// BenchmarkUpdate is a transaction of several Puts, without the commit.
func BenchmarkUpdate(b *testing.B) {
	for _, puts := range []int{4, 1000} {
		b.Run(fmt.Sprint("puts=", puts), func(b *testing.B) {
			s, value := keptState(keepers(b)).Storage(), make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				_ = s.Update(context.Background(), func(tx *edgews.Tx) error {
					for i := range puts {
						_ = tx.Put(numberedKey(i*7919%puts), value)
					}
					return io.EOF
				})
			}
		})
	}
}

// BenchmarkGetMany gets ten values of an engine that has it, and of one that gets each alone.
func BenchmarkGetMany(b *testing.B) {
	keys := make([]string, 10)
	for i := range keys {
		keys[i] = numberedKey(i)
	}
	for name, wrap := range map[string]func(edgews.ObjectStore) edgews.ObjectStore{
		"together": func(s edgews.ObjectStore) edgews.ObjectStore { return s },
		"each":     func(s edgews.ObjectStore) edgews.ObjectStore { return &countedObject{ObjectStore: s} },
	} {
		b.Run(name, func(b *testing.B) {
			s := wrappedState(b, wrap).Storage()
			putNumbered(b, s, len(keys))
			b.ReportAllocs()
			for b.Loop() {
				if values, err := s.GetMany(context.Background(), keys...); err != nil || len(values) != len(keys) {
					b.Fatal(len(values), err)
				}
			}
		})
	}
}
