package edgews_test

import (
	"bufio"
	"context"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Promises about memory, pinned. The race detector allocates on its own, so it is not there when they are checked.

func TestEchoAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	cases := []struct {
		name   string
		frame  func(string) aFrame
		accept func(s *edgews.Socket)
	}{
		{"listener", binaryOf, func(s *edgews.Socket) {
			s.OnMessage(func(e edgews.MessageEvent) { s.SendBytes(e.Data) })
			s.Accept()
		}},
		{"receive", text, func(s *edgews.Socket) {
			go func() {
				for ctx := context.Background(); ; {
					m, err := s.Receive(ctx)
					if err != nil {
						return
					}
					s.Write(ctx, m.Kind, m.Data)
				}
			}()
		}},
		{"messages", text, func(s *edgews.Socket) {
			go func() {
				ctx := context.Background()
				for m, err := range s.Messages(ctx) {
					if err != nil {
						return
					}
					s.Write(ctx, m.Kind, m.Data)
				}
			}()
		}},
		{"prepared", text, func(s *edgews.Socket) {
			reply := edgews.Prepare(edgews.Text, []byte(strings.Repeat("x", 128)))
			s.OnMessage(func(e edgews.MessageEvent) { s.SendPrepared(reply) })
			s.Accept()
		}},
	}
	for _, c := range cases {
		for name, meter := range map[string]*edgews.Meter{c.name: nil, c.name + " with a meter": edgews.NewMeter(nil)} {
			t.Run(name, func(t *testing.T) { echoAllocatesNothing(t, meter, c.frame, c.accept) })
		}
	}
}

func echoAllocatesNothing(t *testing.T, meter *edgews.Meter, frame func(string) aFrame, accept func(s *edgews.Socket)) {
	s, p := overTCP.serverAndPeer(t, edgews.Options{Meter: meter})
	accept(s)
	request := p.encode(frame(strings.Repeat("x", 128)))
	answer := make([]byte, 4+128)
	each := mallocs(2000, func() {
		if _, err := p.conn.Write(request); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(p.r, answer); err != nil {
			t.Error(err)
		}
	})
	t.Logf("%.4f allocations for each message", each)
	assert.Less(t, each, 0.05)
}

// mallocs returns how many objects the whole process allocates for each call of f, once it is warm.
func mallocs(n int, f func()) float64 {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection empties the pools
	for range n / 10 {
		f()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		f()
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / float64(n)
}

const (
	maxSocketSize = 56
	maxWireSize   = 96
	maxIdlePair   = 1000
)

func TestSizes(t *testing.T) {
	t.Logf("a Socket has %d bytes, a wire %d more", edgews.SocketSize, edgews.WireSize)
	if runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64" {
		assert.LessOrEqual(t, int(edgews.SocketSize), maxSocketSize)
		assert.LessOrEqual(t, int(edgews.WireSize), maxWireSize)
	}
}

func TestIdlePairIsSmall(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const n = 10_000
	sockets := make([]*edgews.Socket, 0, 2*n)
	grown, _ := spent(func() {
		for range n {
			a, b := edgews.NewPair()
			acceptBoth(t, a, b)
			sockets = append(sockets, a, b)
		}
	})
	runtime.KeepAlive(sockets)
	t.Logf("%d bytes for each idle pair", grown/n)
	assert.Less(t, grown/n, maxIdlePair)
}

// What an idle connection costs depends on the runtime, so it is only told.
func TestIdleConnection(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("nothing is checked")
	}
	const n = 200
	sockets := make(chan *edgews.Socket, n)
	dial, _, _ := overTCP.serve(t, upgradeInto(t, sockets, edgews.Options{}))
	var before, after runtime.MemStats
	peers := make([]*peer, 0, n)
	open := func() {
		for range n / 2 {
			p := &peer{t: t, conn: dial(), client: true}
			p.r = bufio.NewReaderSize(p.conn, 512)
			p.shakesHands()
			s := <-sockets
			require.NoError(t, s.Accept())
			peers = append(peers, p)
			endWith(t, s, p.conn)
		}
		runtime.GC()
		runtime.GC()
	}
	open()
	goroutines := runtime.NumGoroutine()
	runtime.ReadMemStats(&before)
	open()
	runtime.ReadMemStats(&after)
	t.Logf("each idle connection, both ends: %d bytes of heap, %d bytes of stacks, %.1f goroutines",
		int(after.HeapAlloc-before.HeapAlloc)/(n/2), int(after.StackInuse-before.StackInuse)/(n/2), float64(runtime.NumGoroutine()-goroutines)/(n/2))
	runtime.KeepAlive(peers)
}
