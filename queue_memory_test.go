package edgews_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The memory of a queue is at most 1.5 times its bound for every size of message, and a constant for each connection.

// heapGrowth runs f and returns by how many bytes the heap has grown. It does not count memory in pools, which two runs of the garbage
// collector free.
func heapGrowth(f func()) int {
	before := heapInUse()
	f()
	return heapInUse() - before
}

// heapInUse returns the bytes of reachable objects.
func heapInUse() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// memoryTestSizes are sizes of messages at which buffers are used well and badly.
var memoryTestSizes = []int{0, 1, 16, 17, 65, 129, 513, 1 << 10, 1<<10 + 1, 4<<10 + 1, 16<<10 + 1, 32<<10 + 1, 40_000, 64<<10 + 1, 128<<10 + 1, 512<<10 + 1}

// someUnderRace returns every fifth size under the race detector, where all of them would take minutes, and otherwise all.
func someUnderRace(sizes ...int) (some []int) {
	if !raceEnabled {
		return sizes
	}
	for i := 4; i < len(sizes); i += 5 {
		some = append(some, sizes[i])
	}
	return some
}

func TestSendQueueMemoryIsBounded(t *testing.T) {
	const room, slack = 1 << 20, 256 << 10
	opts := edgews.Options{SendBuffer: room, WriteTimeout: -1, KeepAlive: -1, CloseTimeout: time.Second}
	one := make([]byte, 512<<10+1)
	r := rand.NewChaCha8([32]byte{})
	r.Read(one) // random bytes, which compression does not make smaller
	send := func(s *edgews.Socket, n int) error { return s.SendBytes(one[:n]) }
	prepared := func(s *edgews.Socket, n int) error {
		return s.SendPrepared(edgews.Prepare(edgews.Binary, one[:n]))
	}
	key := 0
	latest := func(s *edgews.Socket, n int) error {
		key++
		return s.SendLatest(fmt.Sprint(key), edgews.Binary, one[:n])
	}
	links := []struct {
		name string
		open func(t *testing.T) (s *edgews.Socket, end func())
		send func(s *edgews.Socket, n int) error
	}{
		{"pair", acceptedPairEnd, send},
		{"pair, after a NextWriter", func(t *testing.T) (*edgews.Socket, func()) {
			a, end := acceptedPairEnd(t)
			startMessage(t, a)
			return a, end
		}, send},
		{"pair, keys", acceptedPairEnd, latest},
		{"server", func(t *testing.T) (*edgews.Socket, func()) { return overBlockedPipe(t, opts) }, send},
		{"server, keys", func(t *testing.T) (*edgews.Socket, func()) { return overBlockedPipe(t, opts) }, latest},
		{"server, prepared", func(t *testing.T) (*edgews.Socket, func()) { return overBlockedPipe(t, opts) }, prepared},
		{"server, compressed", func(t *testing.T) (*edgews.Socket, func()) {
			return overBlockedPipe(t, opts, "permessage-deflate")
		}, send},
		{"server, after a NextWriter", func(t *testing.T) (*edgews.Socket, func()) {
			s, end := overBlockedPipe(t, opts)
			startMessage(t, s)
			return s, end
		}, send},
		{"client", func(t *testing.T) (*edgews.Socket, func()) {
			s, p := clientAndPeer(t, opts)
			require.NoError(t, s.Accept())
			return s, p.hangsUp
		}, send},
	}
	for _, link := range links {
		for _, n := range someUnderRace(memoryTestSizes...) {
			t.Run(fmt.Sprintf("%s/%d", link.name, n), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					s, end := link.open(t)
					sent := 0
					growth := heapGrowth(func() {
						for link.send(s, n) == nil {
							sent++
						}
					})
					assert.LessOrEqual(t, growth, room*3/2+slack+n, "memory of %d messages", sent)
					assert.GreaterOrEqual(t, (sent+1)*(n+200), room, "messages count for too much")
					runtime.KeepAlive(s)
					end()
				})
			})
		}
	}
}

// acceptedPairEnd returns an accepted end of a pair whose other end is not accepted.
func acceptedPairEnd(t *testing.T) (a *edgews.Socket, end func()) {
	a, b := edgews.NewPair()
	require.NoError(t, a.Accept())
	return a, func() { runtime.KeepAlive(b) }
}

// overBlockedPipe returns an accepted server's socket whose peer does not read.
func overBlockedPipe(t *testing.T, opts edgews.Options, offers ...string) (*edgews.Socket, func()) {
	s, p := overPipe.serverAndPeer(t, opts, offers...)
	require.NoError(t, s.Accept())
	return s, p.hangsUp
}

// startMessage starts a message of NextWriter and does not end it.
func startMessage(t *testing.T, s *edgews.Socket) {
	_, err := s.NextWriter(t.Context(), edgews.Text)
	require.NoError(t, err)
}

// The memory of messages that wait to be received is bounded as doc.go says: 64 KiB, or one larger message, and at most 64 KiB that were
// read with it.
func TestStalledReceiverMemoryIsBounded(t *testing.T) {
	const sockets, limit = 16, 64 << 10
	receivers := []struct {
		name  string
		start func(t *testing.T, s *edgews.Socket)
		slack int // bytes that the connection has read, and its read buffer
	}{
		{"receiver that stopped", func(t *testing.T, s *edgews.Socket) {
			_, err := receiveFor(s, time.Microsecond)
			require.Error(t, err)
		}, 12<<10 + 64<<10},
		{"no receiver", func(t *testing.T, s *edgews.Socket) { require.NoError(t, s.Accept()) }, 12<<10 + 64<<10},
	}
	for _, receiver := range receivers {
		for _, offers := range [][]string{nil, {"permessage-deflate"}} {
			slack := receiver.slack
			if offers != nil {
				slack += 36 << 10 // the inflater's window
			}
			for _, n := range someUnderRace(0, 1, 16, 129, 600, 5000, 20_000, 40_000) {
				t.Run(fmt.Sprintf("%s/%v/%d", receiver.name, offers, n), func(t *testing.T) {
					bubble(t, func(t *testing.T) {
						var ends []*edgews.Socket
						var peers []*peer
						for range sockets {
							s, p := overPipe.serverAndPeer(t, edgews.Options{KeepAlive: -1}, offers...)
							receiver.start(t, s)
							ends, peers = append(ends, s), append(peers, p)
						}
						messages := messagesFor(peers[0], n, offers != nil)
						for _, p := range peers { // so that each connection has allocated what it needs only once
							p.sends(ping(""))
							p.expects(pong(""))
						}
						growth := heapGrowth(func() {
							for _, p := range peers {
								go p.writesAll(messages)
							}
							synctest.Wait()
							time.Sleep(time.Minute)
						})
						assert.LessOrEqual(t, growth/sockets, limit*3/2+slack+n*3/2)
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

// messagesFor returns at least 300 KiB of encoded messages from p, each of n bytes.
func messagesFor(p *peer, n int, compressed bool) (encoded []byte) {
	f := binaryOf(string(make([]byte, n)))
	if compressed {
		r := rand.NewChaCha8([32]byte{1})
		data := make([]byte, n)
		io.ReadFull(r, data)
		f = aFrame{bits: fin | rsv1, opcode: 2, payload: deflated(string(data))}
	}
	for len(encoded) < 300<<10 {
		encoded = append(encoded, p.encode(f)...)
	}
	return encoded
}

// A socket that has lost its connection keeps nothing of its queue, although the program still has the socket.
func TestLostSocketKeepsNoQueue(t *testing.T) {
	opts := edgews.Options{SendBuffer: 1 << 20, WriteTimeout: -1, KeepAlive: -1, Compression: &edgews.Compression{Disable: true}}
	links := []struct {
		name string
		open func(t *testing.T) (s *edgews.Socket, loses func())
	}{
		{"pipe", func(t *testing.T) (*edgews.Socket, func()) {
			s, p := overPipe.serverAndPeer(t, opts)
			return s, p.hangsUp
		}},
		{"pair that Respond refuses", func(t *testing.T) (*edgews.Socket, func()) {
			client, s := edgews.NewPair()
			return s, func() {
				assert.Error(t, edgews.Respond(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), client, nil))
			}
		}},
	}
	for _, link := range links {
		for name, c := range map[string]struct{ gated, writing bool }{
			"queued":              {},
			"behind a NextWriter": {writing: true},
			"during a commit":     {gated: true},
		} {
			t.Run(link.name+"/"+name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					s, loses := link.open(t)
					if c.gated {
						g := newGate(t, s, edgews.Options{}, nil)
						g.commits()
						defer g.committed(nil)
					} else {
						require.NoError(t, s.Accept())
					}
					if c.writing {
						startMessage(t, s)
					}
					growth := heapGrowth(func() {
						for s.SendBytes(make([]byte, 10_000)) == nil {
						}
						loses()
						waitDone(t, s)
						synctest.Wait()
					})
					assert.Less(t, growth, 256<<10)
					assert.NotZero(t, s.BufferedAmount())
					assert.ErrorIs(t, s.Flush(t.Context()), edgews.ErrClosed)
				})
			})
		}
	}
}

// A key that waits does not keep the string in memory that it was cut from.
func TestKeysOfSendLatestAreCopied(t *testing.T) {
	_, server := edgews.NewPair()
	require.NoError(t, server.Accept())
	grown := heapGrowth(func() {
		for i := range 32 {
			long := strconv.Itoa(i) + strings.Repeat("x", 1<<20)
			require.NoError(t, server.SendLatest(long[:3], edgews.Binary, nil))
		}
	})
	assert.Less(t, grown, 4<<20)
	runtime.KeepAlive(server)
}
