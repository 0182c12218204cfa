package edgews_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Queues are bounded by the memory that they hold: whatever the size of the messages, it is at most 1.5 times the bound, and a
// little for what there is once.

// heldBy runs f and returns by how much the heap has grown at the end. What pools have is not counted: they give it up when the
// collector has run twice.
func heldBy(f func()) int {
	before := heapInUse()
	f()
	return heapInUse() - before
}

func heapInUse() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// heldSizes are sizes of messages at which buffers are used well and badly.
var heldSizes = []int{0, 1, 16, 17, 65, 129, 513, 1 << 10, 1<<10 + 1, 4<<10 + 1, 16<<10 + 1, 32<<10 + 1, 40_000, 64<<10 + 1, 128<<10 + 1, 512<<10 + 1}

// few returns some of the sizes under the race detector, where all would take minutes.
func few(sizes ...int) (some []int) {
	if !raceEnabled {
		return sizes
	}
	for i := 4; i < len(sizes); i += 5 {
		some = append(some, sizes[i])
	}
	return some
}

func TestSendQueueHoldsWhatItCounts(t *testing.T) {
	const room, slack = 1 << 20, 256 << 10
	opts := edgews.Options{SendBuffer: room, WriteTimeout: -1, KeepAlive: -1, CloseTimeout: time.Second}
	one := make([]byte, 512<<10+1)
	r := rand.NewChaCha8([32]byte{})
	r.Read(one) // nothing to compress
	send := func(s *edgews.Socket, n int) error { return s.SendBytes(one[:n]) }
	prepared := func(s *edgews.Socket, n int) error {
		return s.SendPrepared(edgews.Prepare(edgews.Binary, one[:n]))
	}
	links := []struct {
		name string
		open func(t *testing.T) (s *edgews.Socket, end func())
		send func(s *edgews.Socket, n int) error
	}{
		{"pair", pairOf, send},
		{"pair, behind a NextWriter", func(t *testing.T) (*edgews.Socket, func()) {
			a, end := pairOf(t)
			begin(t, a)
			return a, end
		}, send},
		{"server", func(t *testing.T) (*edgews.Socket, func()) { return overStuckPipe(t, opts) }, send},
		{"server, prepared", func(t *testing.T) (*edgews.Socket, func()) { return overStuckPipe(t, opts) }, prepared},
		{"server, compressed", func(t *testing.T) (*edgews.Socket, func()) {
			return overStuckPipe(t, opts, "permessage-deflate")
		}, send},
		{"server, behind a NextWriter", func(t *testing.T) (*edgews.Socket, func()) {
			s, end := overStuckPipe(t, opts)
			begin(t, s)
			return s, end
		}, send},
		{"client", func(t *testing.T) (*edgews.Socket, func()) {
			s, p := clientAndPeer(t, opts)
			require.NoError(t, s.Accept())
			return s, p.hangsUp
		}, send},
	}
	for _, link := range links {
		for _, n := range few(heldSizes...) {
			t.Run(fmt.Sprintf("%s/%d", link.name, n), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					s, end := link.open(t)
					sent := 0
					held := heldBy(func() {
						for link.send(s, n) == nil {
							sent++
						}
					})
					assert.LessOrEqual(t, held, room*3/2+slack+n, "held by %d messages", sent)
					assert.GreaterOrEqual(t, (sent+1)*(n+200), room, "counted too much")
					runtime.KeepAlive(s)
					end()
				})
			})
		}
	}
}

func pairOf(t *testing.T) (a *edgews.Socket, end func()) {
	a, b := edgews.NewPair()
	require.NoError(t, a.Accept())
	return a, func() { runtime.KeepAlive(b) }
}

func overStuckPipe(t *testing.T, opts edgews.Options, offers ...string) (*edgews.Socket, func()) {
	s, p := overPipe.serverAndPeer(t, opts, offers...)
	require.NoError(t, s.Accept())
	return s, p.hangsUp
}

// begin starts a message that is not ended.
func begin(t *testing.T, s *edgews.Socket) {
	_, err := s.NextWriter(t.Context(), edgews.Text)
	require.NoError(t, err)
}

// What waits to be received holds no more than what doc.go says: 64 KiB, or one message that is larger, and 64 KiB that were read
// with it.
func TestStalledReceiverHoldsWhatItCounts(t *testing.T) {
	const sockets, limit = 16, 64 << 10
	stop := []struct {
		name  string
		stop  func(t *testing.T, s *edgews.Socket)
		slack int // what the connection has read, or has to read with
	}{
		{"receiver that stopped", func(t *testing.T, s *edgews.Socket) {
			_, err := receiveFor(s, time.Microsecond)
			require.Error(t, err)
		}, 12<<10 + 64<<10},
		{"nobody", func(t *testing.T, s *edgews.Socket) { require.NoError(t, s.Accept()) }, 12<<10 + 64<<10},
	}
	for _, stopped := range stop {
		for _, offers := range [][]string{nil, {"permessage-deflate"}} {
			slack := stopped.slack
			if offers != nil {
				slack += 36 << 10 // the history for inflating
			}
			for _, n := range few(0, 1, 16, 129, 600, 5000, 20_000, 40_000) {
				t.Run(fmt.Sprintf("%s/%v/%d", stopped.name, offers, n), func(t *testing.T) {
					bubble(t, func(t *testing.T) {
						var ends []*edgews.Socket
						var peers []*peer
						for range sockets {
							s, p := overPipe.serverAndPeer(t, edgews.Options{KeepAlive: -1}, offers...)
							stopped.stop(t, s)
							ends, peers = append(ends, s), append(peers, p)
						}
						flood := floodOf(peers[0], n, offers != nil)
						for _, p := range peers { // so that there is what a connection has once
							p.sends(ping(""))
							p.expects(pong(""))
						}
						held := heldBy(func() {
							for _, p := range peers {
								go p.pours(flood)
							}
							synctest.Wait()
							time.Sleep(time.Minute)
						})
						assert.LessOrEqual(t, held/sockets, limit*3/2+slack+n*3/2)
						runtime.KeepAlive(ends)
						for _, p := range peers {
							p.hangsUp()
						}
					})
				})
			}
		}
	}
}

// floodOf is 300 KB of messages of n bytes.
func floodOf(p *peer, n int, compressed bool) (flood []byte) {
	f := binaryOf(string(make([]byte, n)))
	if compressed {
		r := rand.NewChaCha8([32]byte{1})
		data := make([]byte, n)
		io.ReadFull(r, data)
		f = aFrame{bits: fin | rsv1, opcode: 2, payload: deflated(string(data))}
	}
	for len(flood) < 300<<10 {
		flood = append(flood, p.encode(f)...)
	}
	return flood
}
