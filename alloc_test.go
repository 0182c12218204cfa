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

func TestMessagesAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	payload := strings.Repeat("x", 128)
	prepared := edgews.Prepare(edgews.Text, []byte(payload))
	listen := func(reply func(edgews.MessageEvent)) func(*edgews.Socket) {
		return func(s *edgews.Socket) {
			s.OnMessage(reply)
			s.Accept()
		}
	}
	nothing := func(edgews.MessageEvent) {}
	cases := []struct {
		name    string
		accept  func(s *edgews.Socket)
		request []aFrame
		answer  aFrame
	}{
		{"echo binary", listen(func(e edgews.MessageEvent) { e.Target.SendBytes(e.Data) }), []aFrame{binaryOf(payload)}, binaryOf(payload)},
		{"receive text", listen(nothing), []aFrame{text(payload), ping("!")}, pong("!")},
		{"receive binary", listen(nothing), []aFrame{binaryOf(payload), ping("!")}, pong("!")},
		{"receive fragments", listen(nothing), []aFrame{part(text(payload), false), continuation(payload, true), ping("!")}, pong("!")},
		{"Send", listen(func(e edgews.MessageEvent) { e.Target.Send(payload) }), []aFrame{text("?")}, text(payload)},
		{"SendBytes", listen(func(e edgews.MessageEvent) { e.Target.SendBytes(e.Data) }), []aFrame{text(payload)}, binaryOf(payload)},
		{"SendPrepared", listen(func(e edgews.MessageEvent) { e.Target.SendPrepared(prepared) }), []aFrame{text("?")}, text(payload)},
		{"Write", listen(func(e edgews.MessageEvent) { e.Target.Write(context.Background(), e.Kind, e.Data) }), []aFrame{text(payload)}, text(payload)},
		{"two listeners", func(s *edgews.Socket) {
			s.OnMessage(nothing)
			s.OnMessage(func(e edgews.MessageEvent) { s.SendBytes(e.Data) })
			s.Accept()
		}, []aFrame{binaryOf(payload)}, binaryOf(payload)},
		{"ping", listen(nothing), []aFrame{ping(payload[:100])}, pong(payload[:100])},
		{"Receive", func(s *edgews.Socket) {
			go func() {
				for ctx := context.Background(); ; {
					m, err := s.Receive(ctx)
					if err != nil {
						return
					}
					s.Write(ctx, m.Kind, m.Data)
				}
			}()
		}, []aFrame{text(payload)}, text(payload)},
		{"Messages", func(s *edgews.Socket) {
			go func() {
				ctx := context.Background()
				for m, err := range s.Messages(ctx) {
					if err != nil {
						return
					}
					s.Write(ctx, m.Kind, m.Data)
				}
			}()
		}, []aFrame{text(payload)}, text(payload)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, p := overTCP.serverAndPeer(t, edgews.Options{})
			c.accept(s)
			var request []byte
			for _, f := range c.request {
				request = append(request, p.encode(f)...)
			}
			want := c.answer.appendTo(nil, false)
			answer := make([]byte, len(want))
			each := mallocs(2000, func() {
				if _, err := p.conn.Write(request); err != nil {
					t.Error(err)
				}
				if _, err := io.ReadFull(p.r, answer); err != nil {
					t.Error(err)
				}
			})
			assert.Equal(t, want, answer)
			t.Logf("%.4f allocations for each message", each)
			assert.Less(t, each, 0.05)
		})
	}
}

func TestBroadcastAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const members = 20
	var sockets []*edgews.Socket
	var peers []*peer
	for range members {
		s, p := overTCP.serverAndPeer(t, edgews.Options{})
		require.NoError(t, s.Accept())
		sockets, peers = append(sockets, s), append(peers, p)
	}
	for _, size := range []int{128, 8 << 10} { // copied, and shared
		m := edgews.Prepare(edgews.Binary, make([]byte, size))
		want := binaryOf(string(make([]byte, size))).appendTo(nil, false)
		answer := make([]byte, len(want))
		each := mallocs(200, func() {
			for _, s := range sockets {
				if err := s.SendPrepared(m); err != nil {
					t.Error(err)
				}
			}
			for _, p := range peers {
				if _, err := io.ReadFull(p.r, answer); err != nil {
					t.Error(err)
				}
			}
		})
		assert.Equal(t, want, answer)
		t.Logf("%.4f allocations for each broadcast of %d bytes", each, size)
		assert.Less(t, each, 0.5)
	}
}

func TestPingAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	a, b := overTCP.connect(t, edgews.Options{})
	acceptBoth(t, a, b)
	ctx := context.Background()
	each := mallocs(1000, func() {
		if _, err := a.Ping(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Logf("%.4f allocations for each ping", each)
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
