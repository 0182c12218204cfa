package edgews_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tests in this file check promises about memory. The race detector allocates memory itself, so most of them are skipped with it.

func TestMessagesAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	payload := strings.Repeat("x", 128)
	payload20, payload100 := strings.Repeat("x", 20_000), strings.Repeat("x", 100_000)
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
		{"echo 20 KB", listen(func(e edgews.MessageEvent) { e.Target.SendBytes(e.Data) }), []aFrame{binaryOf(payload20)}, binaryOf(payload20)},
		{"echo 100 KB", listen(func(e edgews.MessageEvent) { e.Target.SendBytes(e.Data) }), []aFrame{binaryOf(payload100)}, binaryOf(payload100)},
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
		for name, meter := range map[string]*edgews.Meter{c.name: nil, c.name + " with a meter": edgews.NewMeter(nil)} {
			t.Run(name, func(t *testing.T) {
				s, p := overTCP.serverAndPeer(t, edgews.Options{Meter: meter})
				c.accept(s)
				answersWithoutAllocating(t, p, p.encode(c.request...), c.answer)
			})
		}
		t.Run(c.name+" with an observer", func(t *testing.T) {
			var told atomic.Int64
			s, p := overTCP.serverAndPeer(t, edgews.Options{Observer: observerFunc(func(edgews.MessageObservation) { told.Add(1) })})
			c.accept(s)
			answersWithoutAllocating(t, p, p.encode(c.request...), c.answer)
			assert.Equal(t, c.name != "ping", told.Load() > 2000)
		})
	}
}

// answersWithoutAllocating checks that the process allocates no memory while p sends request and receives answer.
func answersWithoutAllocating(t *testing.T, p *peer, request []byte, answer aFrame) {
	want := answer.appendTo(nil, false)
	got := make([]byte, len(want))
	each := mallocs(2000, func() {
		if _, err := p.conn.Write(request); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(p.r, got); err != nil {
			t.Error(err)
		}
	})
	assert.Equal(t, want, got)
	t.Logf("%.4f allocations for each message", each)
	assert.Less(t, each, 0.05)
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
	for _, size := range []int{128, 8 << 10} { // a frame that is copied, and one that is shared
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

func TestCompressedEchoAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	event := func(i, words int) string {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		text := fmt.Sprintf(`{"type":"message","id":%d,"room":{"id":"r%d","members":%d},"text":"`, r.Uint32(), r.IntN(400), r.IntN(5000))
		for range words {
			text += strings.Fields("able behind client deploy error forest graph history")[r.IntN(8)] + " "
		}
		return text + `"}`
	}
	for _, offer := range []string{
		"permessage-deflate; client_max_window_bits",
		"permessage-deflate",
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover",
	} {
		for _, c := range []struct {
			name    string
			message func(i int) string
		}{
			{"events", func(i int) string { return event(i, 130) }},
			{"long events", func(i int) string { return event(i, 1500) }},
			{"the same event", func(int) string { return event(0, 300) }},
			{"repetitive", func(i int) string { return strings.Repeat(event(i, 1), 400) }},
			{"hardly compressible", func(i int) string {
				r := rand.New(rand.NewPCG(2, uint64(i)))
				p := make([]byte, 4000)
				for i := range p {
					p[i] = byte(r.Uint32()) & 0x7f
				}
				return string(p)
			}},
		} {
			t.Run(offer+"/"+c.name, func(t *testing.T) {
				s, p := overTCP.serverAndPeer(t, edgews.Options{}, offer)
				s.OnMessage(func(e edgews.MessageEvent) { s.Write(context.Background(), edgews.Text, e.Data) })
				require.NoError(t, s.Accept())
				var requests [64][]byte
				for i := range requests {
					requests[i] = p.encode(aFrame{bits: fin | rsv1, opcode: 1, payload: deflated(c.message(i))})
				}
				i, answers := 0, skipper{r: p.r}
				each := mallocs(3000, func() {
					if _, err := p.conn.Write(requests[i%len(requests)]); err != nil {
						t.Error(err)
					}
					if err := answers.skip(); err != nil {
						t.Error(err)
					}
					i++
				})
				t.Logf("%.4f allocations for each message, %d bytes of answer", each, answers.bytes/i)
				assert.Less(t, each, 0.05)
				assert.Equal(t, i, answers.compressed)
			})
		}
	}
}

// skipper reads the frames of a server and discards them.
type skipper struct {
	r                 *bufio.Reader
	bytes, compressed int
}

func (s *skipper) skip() error {
	head, err := s.r.Peek(2)
	if err != nil {
		return err
	}
	size := 2 + int(head[1])
	if head[0]&rsv1 != 0 {
		s.compressed++
	}
	switch head[1] {
	case 126:
		if head, err = s.r.Peek(4); err != nil {
			return err
		}
		size = 4 + int(binary.BigEndian.Uint16(head[2:]))
	case 127:
		if head, err = s.r.Peek(10); err != nil {
			return err
		}
		size = 10 + int(binary.BigEndian.Uint64(head[2:]))
	}
	s.bytes += size
	_, err = s.r.Discard(size)
	return err
}

// mallocs returns the number of objects that the whole process allocates per call of f, after some calls that fill the pools. Like
// testing.AllocsPerRun it uses one processor, because each processor has pools of its own.
func mallocs(n int, f func()) float64 {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a garbage collection empties the pools
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
	maxSocketSize = 72   // bytes, on 64 bits
	maxWireSize   = 96   // bytes, on 64 bits
	maxIdlePair   = 1000 // bytes of heap
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

// The memory of an idle connection depends on the runtime, so the test only logs it.
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
			p.upgrades()
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

// An Observer adds no allocation to an event of an object.
func TestObservedObjectsAllocateNoMore(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	perMessage := func(observer edgews.Observer) float64 {
		n := newRooms(t, &edgews.NamespaceOptions{Options: edgews.Options{Observer: observer}}, func(r *room) {
			r.message = func(_ context.Context, s *edgews.Socket, m edgews.Message) error { return s.SendBytes(m.Data) }
		})
		id := n.NewUniqueID()
		st := n.wake(id)
		client, server := edgews.NewPair()
		require.NoError(t, st.AcceptWebSocket(server))
		require.NoError(t, client.Accept())
		ctx := context.Background()
		return mallocs(2000, func() {
			if err := client.SendBytes(nil); err != nil {
				t.Error(err)
			}
			if _, err := client.Receive(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	without, with := perMessage(nil), perMessage(edgews.NopObserver{})
	t.Logf("%.4f allocations for each message without, %.4f with an Observer", without, with)
	assert.InDelta(t, without, with, 0.05)
}
