package edgews_test

import (
	"bytes"
	"compress/flate"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bombOf returns one compressed frame that inflates to n zero bytes, about a thousand times its size.
func bombOf(n int) aFrame {
	return aFrame{bits: fin | rsv1, opcode: 2, payload: deflated(strings.Repeat("\x00", n))}
}

// peak runs f and returns the largest growth of the heap meanwhile, in bytes, measured every millisecond.
func peak(f func()) int {
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	done, highest := make(chan struct{}), uint64(0)
	var sampler sync.WaitGroup
	sampler.Go(func() {
		for {
			runtime.ReadMemStats(&now)
			highest = max(highest, now.HeapAlloc)
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	f()
	close(done)
	sampler.Wait()
	return int(highest) - int(before.HeapAlloc)
}

// settled waits until the size of the heap is stable and returns it, in bytes.
func settled() int {
	var m runtime.MemStats
	last, same := 0, 0
	for deadline := time.Now().Add(patience); same < 5 && time.Now().Before(deadline); {
		<-time.After(20 * time.Millisecond)
		runtime.GC()
		runtime.ReadMemStats(&m)
		if now := int(m.HeapAlloc); now-last < 64<<10 && last-now < 64<<10 {
			same++
		} else {
			same = 0
		}
		last = int(m.HeapAlloc)
	}
	return last
}

// Of the messages for a socket from which no message is taken, 64 KiB and some buffers wait in the process, compressed or not.
func TestUntakenMessagesTakeLittleMemory(t *testing.T) {
	sockets := 20
	if testing.Short() || raceEnabled { // which makes receiving slow
		sockets = 8
	}
	plain := aFrame{bits: fin, opcode: 2, payload: strings.Repeat("\x00", 30<<20)}
	messages := map[string]aFrame{"plain": plain, "compressed": bombOf(30 << 20)}
	idle := map[string]func(t *testing.T) func(where network) *peer{
		"receiver that stopped": func(t *testing.T) func(network) *peer {
			return func(where network) *peer {
				s, p := where.serverAndPeer(t, edgews.Options{KeepAlive: -1, CloseTimeout: 50 * time.Millisecond}, "permessage-deflate")
				_, err := receiveFor(s, time.Microsecond)
				require.Error(t, err)
				return p
			}
		},
		"no listener": func(t *testing.T) func(network) *peer {
			return func(where network) *peer {
				s, p := where.serverAndPeer(t, edgews.Options{KeepAlive: -1, CloseTimeout: 50 * time.Millisecond}, "permessage-deflate")
				require.NoError(t, s.Accept())
				return p
			}
		},
		"busy object": func(t *testing.T) func(network) *peer {
			busy := make(chan struct{})
			n := newRooms(t, nil, func(r *room) {
				r.serve = joinsObject(t, r)
				r.message = func(context.Context, *edgews.Socket, edgews.Message) error { <-busy; return nil }
			})
			t.Cleanup(func() { close(busy) })
			first := overTCP.rawClient(t, n.Get(n.IDFromName("x")).ServeHTTP)
			serve := n.Get(n.IDFromName("x")).ServeHTTP
			peers := make(chan *peer, sockets)
			for range sockets {
				peers <- overTCP.rawClient(t, serve, "permessage-deflate")
			}
			first.sends(text("be busy"))
			eventually(t, func() bool { o, _ := n.info(n.IDFromName("x")); return len(o.Pins) > 0 }, "busy")
			return func(network) *peer { return <-peers }
		},
	}
	for style, join := range idle {
		for kind, message := range messages {
			if style == "no listener" && kind == "plain" {
				continue // the message is received and dropped as a whole
			}
			t.Run(style+"/"+kind, func(t *testing.T) {
				next := join(t)
				var peers []*peer
				for range sockets {
					peers = append(peers, next(overTCP))
				}
				frame := peers[0].encode(message)
				before := settled()
				for _, p := range peers {
					go p.writesAll(frame)
				}
				assert.Less(t, settled()-before, sockets*400<<10)
			})
		}
	}
}

func joinsObject(t *testing.T, r *room) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, req *http.Request) {
		s, err := edgews.Upgrade(w, req, nil)
		if assert.NoError(t, err) {
			assert.NoError(t, r.st.AcceptWebSocket(s))
		}
	}
}

// A large compressed message that has had to wait is delivered in every style.
func TestLargeCompressedMessageInEveryStyle(t *testing.T) {
	size := 20 << 20
	if testing.Short() || raceEnabled { // which makes inflating slow
		size = 4 << 20
	}
	want := strings.Repeat("0123456789abcdef", size/16)
	frame := aFrame{bits: fin | rsv1, opcode: 2, payload: deflated(want)}
	for _, style := range styleNames() {
		for _, where := range []network{overTCP, overTLS, overWrapped} {
			t.Run(style+"/"+where.name, func(t *testing.T) {
				p := where.rawClient(t, echoing(t, style, edgews.Options{SendBuffer: 64 << 20}), "permessage-deflate; server_no_context_takeover")
				for range 2 {
					p.sends(text("before"), frame, text("behind"))
					p.expectsInflated("before")
					p.expectsInflated(want)
					p.expectsInflated("behind")
				}
				p.hangsUp()
			})
		}
	}
}

// expectsInflated expects a message that may be compressed, without context takeover.
func (p *peer) expectsInflated(want string) {
	p.t.Helper()
	f := p.next()
	compressed := f.bits&rsv1 != 0
	for f.bits&fin == 0 {
		next := p.next()
		f.payload, f.bits = f.payload+next.payload, next.bits
	}
	if compressed {
		plain, err := io.ReadAll(flate.NewReader(strings.NewReader(f.payload + "\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
		require.NoError(p.t, err)
		f.payload = string(plain)
	}
	require.True(p.t, want == f.payload, "got %d bytes, want %d", len(f.payload), len(want))
}

// A compressed message and the messages behind it wait for a receiver.
func TestCompressedMessageWaitsForAReceiver(t *testing.T) {
	for _, where := range []network{overPipe, overTCP} {
		where.run(t, func(t *testing.T, where network) {
			s, p := where.serverAndPeer(t, edgews.Options{}, "permessage-deflate")
			_, err := receiveFor(s, time.Microsecond)
			require.Error(t, err)
			go p.writesAll(p.encode(text("first"), bombOf(20<<20), text("last"), closing(1000, "")))
			for _, want := range []int{5, 20 << 20, 4} {
				m, err := s.Receive(within(t))
				require.NoError(t, err)
				require.Len(t, m.Data, want)
			}
			_, err = s.Receive(within(t))
			require.ErrorContains(t, err, "1000")
			p.expects(closing(1000, ""))
			p.hangsUp()
		})
	}
}

// Forty messages at once that inflate to more than MaxMessageSize use no more memory than one message of that size.
func TestFortyBombs(t *testing.T) {
	bomb := bombOf(40 << 20)
	for _, style := range styleNames() {
		t.Run(style, func(t *testing.T) {
			handler := echoing(t, style, edgews.Options{})
			var peers []*peer
			for range 40 {
				peers = append(peers, overTCP.rawClient(t, handler, "permessage-deflate"))
			}
			frame := peers[0].encode(bomb)
			var highest int
			_, allocated := spent(func() {
				highest = peak(func() {
					for _, p := range peers {
						go p.writesAll(bytes.Clone(frame))
					}
					for _, p := range peers {
						assert.Contains(t, p.expectsClose(1009), "inflates to more than")
					}
				})
			})
			assert.Less(t, highest, 48<<20)
			assert.Less(t, allocated, 64<<20)
			for _, p := range peers {
				p.hangsUp()
			}
		})
	}
}

// Large messages of many sockets are inflated one or two at a time, and all are delivered.
func TestManyLargeCompressedMessages(t *testing.T) {
	const size, sockets = 30 << 20, 16
	got := make(chan int, sockets)
	handler := func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, nil)
		if assert.NoError(t, err) {
			s.OnMessage(func(e edgews.MessageEvent) { got <- len(e.Data) })
			assert.NoError(t, s.Accept())
		}
	}
	var peers []*peer
	for range sockets {
		peers = append(peers, overTCP.rawClient(t, handler, "permessage-deflate"))
	}
	frame := peers[0].encode(bombOf(size))
	for _, p := range peers {
		go p.writesAll(bytes.Clone(frame))
	}
	for range sockets {
		select {
		case n := <-got:
			require.Equal(t, size, n)
		case <-time.After(patience):
			require.FailNow(t, "a message has not been delivered")
		}
	}
	for _, p := range peers {
		p.hangsUp()
	}
}

// A message that is skipped still belongs to the history of the next one.
func TestSkippedMessageStaysInTheHistory(t *testing.T) {
	overAPipe := func(f func(t *testing.T, s *edgews.Socket, p *peer)) {
		bubble(t, func(t *testing.T) {
			s, p := overPipe.serverAndPeer(t, edgews.Options{}, "permessage-deflate")
			f(t, s, p)
		})
	}
	overAPipe(func(t *testing.T, s *edgews.Socket, p *peer) {
		require.NoError(t, s.Accept())
		time.Sleep(time.Second) // listenerGrace is over: messages without a listener are skipped
		var b bytes.Buffer
		z, _ := flate.NewWriter(&b, flate.BestCompression)
		next := func(message string) aFrame {
			b.Reset()
			fmt.Fprint(z, message)
			z.Flush()
			return aFrame{bits: fin | rsv1, opcode: 1, payload: strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")}
		}
		tail := strings.Repeat("something to refer to ", 30)
		p.sends(next(strings.Repeat("x", 1<<20)+tail), ping("?"))
		p.expects(pong("?"))
		events := record(t, s)
		p.sends(next(tail))
		events.wants(message(tail))
		p.closesCleanly(1000, "")
	})
	t.Run("text that is not UTF-8", func(t *testing.T) {
		overAPipe(func(t *testing.T, s *edgews.Socket, p *peer) {
			require.NoError(t, s.Accept())
			time.Sleep(time.Second)
			p.sends(aFrame{bits: fin | rsv1, opcode: 1, payload: deflated(strings.Repeat("x", 1<<20) + "\xff")})
			p.expectsClose(1007)
			p.hangsUp()
		})
	})
}
