package link_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/cluster/internal/link"
)

// cutConn closes the connection once it has written left bytes.
type cutConn struct {
	net.Conn
	left int
}

func (c *cutConn) Write(p []byte) (int, error) {
	if len(p) <= c.left {
		c.left -= len(p)
		return c.Conn.Write(p)
	}
	n, _ := c.Conn.Write(p[:c.left])
	c.left = 0
	c.Conn.Close()
	return n, io.ErrClosedPipe
}

// Each connection breaks one byte later than the one before it, from the first byte of the handshake on.
func TestBreakAtEachByte(t *testing.T) {
	for side, name := range []string{"dialling end", "accepting end"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				n.wrap = func(i int, dialed, accepted net.Conn) (net.Conn, net.Conn) {
					if side == 0 {
						return &cutConn{dialed, i}, accepted
					}
					return dialed, &cutConn{accepted, i}
				}
				a := startNode(t, n, "a", 1, nil)
				b := startNode(t, n, "b", 1, func(o *link.Options) { o.Self.Addr = "" }) // b does not dial a
				out := a.open(b, "hello")
				in := <-b.opened
				sent := 0
				for n.dials() < 2000 {
					out.send(t, []string{"to b"})
					in.send(t, []string{"to a"})
					sent++
					time.Sleep(20 * time.Millisecond)
				}
				require.NoError(t, out.End(nil))
				require.NoError(t, in.End(nil))
				require.NoError(t, out.failure())
				require.NoError(t, in.failure())
				checkSequence(t, in, sent)
				checkSequence(t, out, sent)
				assert.Greater(t, sent, 1000)
			})
		})
	}
}

// checkSequence checks that n messages have arrived, each once and in order.
func checkSequence(t *testing.T, r *recorder, n int) {
	require.Len(t, r.seqs, n)
	for i, seq := range r.seqs {
		require.Equal(t, uint64(i+1), seq)
	}
}

// frameConn changes the frames that are written after the handshake.
type frameConn struct {
	net.Conn
	change func(frames [][]byte) [][]byte
}

const (
	testHeaderLen = 28
	firstLater    = 16 // the first type of frame that is not of the handshake
)

func (c *frameConn) Write(p []byte) (int, error) {
	var frames [][]byte
	for rest := p; len(rest) > 0; {
		size := testHeaderLen + int(binary.BigEndian.Uint32(rest))
		frames = append(frames, rest[:size:size]) // each write is of whole frames
		rest = rest[size:]
	}
	if frames[0][5] >= firstLater {
		frames = c.change(frames)
	}
	for _, f := range frames {
		if _, err := c.Conn.Write(f); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// badNetworks change the frames of connections that seem to work.
var badNetworks = map[string]func(rnd *rand.Rand, frames [][]byte) [][]byte{
	"frames are lost": func(rnd *rand.Rand, frames [][]byte) (kept [][]byte) {
		for _, f := range frames {
			if rnd.IntN(4) > 0 {
				kept = append(kept, f)
			}
		}
		return kept
	},
	"acknowledgements are lost": func(rnd *rand.Rand, frames [][]byte) (kept [][]byte) {
		const ack, ask, nack = 19, 20, 21
		for _, f := range frames {
			if f[5] < ack || f[5] > nack || rnd.IntN(2) > 0 {
				kept = append(kept, f)
			}
		}
		return kept
	},
	"frames are doubled": func(rnd *rand.Rand, frames [][]byte) (all [][]byte) {
		for _, f := range frames {
			all = append(all, f)
			if rnd.IntN(2) > 0 {
				all = append(all, f)
			}
		}
		return all
	},
	"frames change places": func(rnd *rand.Rand, frames [][]byte) [][]byte {
		for i := 1; i < len(frames); i++ {
			if rnd.IntN(3) == 0 {
				frames[i], frames[i-1] = frames[i-1], frames[i]
			}
		}
		return frames
	},
}

// Whatever a network does with whole frames, each message arrives once and in order, and the channels come to their end.
func TestBadNetworks(t *testing.T) {
	for name, change := range badNetworks {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(5) {
				synctest.Test(t, func(t *testing.T) { runBadNetwork(t, seed, change) })
			}
		})
	}
}

func runBadNetwork(t *testing.T, seed uint64, change func(*rand.Rand, [][]byte) [][]byte) {
	n := newNetwork()
	n.wrap = func(i int, dialed, accepted net.Conn) (net.Conn, net.Conn) {
		bad := func(c net.Conn, stream uint64) net.Conn {
			rnd := rand.New(rand.NewPCG(seed, stream))
			return &frameConn{c, func(frames [][]byte) [][]byte { return change(rnd, frames) }}
		}
		return bad(dialed, uint64(2*i)), bad(accepted, uint64(2*i+1))
	}
	a, b := startNode(t, n, "a", 1, nil), startNode(t, n, "b", 1, nil)
	const channels, messages = 5, 300
	var wg sync.WaitGroup
	for range channels {
		out := a.open(b, "hello")
		wg.Go(func() {
			for range messages {
				_, err := out.Send(context.Background(), []byte("from a"))
				assert.NoError(t, err)
				time.Sleep(time.Millisecond)
			}
			assert.NoError(t, out.End(nil))
			assert.NoError(t, out.failure())
			checkSequence(t, out, messages)
		})
		wg.Go(func() {
			in := <-b.opened
			for range messages {
				_, err := in.Send(context.Background(), []byte("from b"))
				assert.NoError(t, err)
				time.Sleep(time.Millisecond)
			}
			assert.NoError(t, in.End(nil))
			assert.NoError(t, in.failure())
			checkSequence(t, in, messages)
		})
	}
	wg.Wait()
}

// silentConn loses everything, in both directions, once it is silent: a machine that has lost its power.
type silentConn struct {
	net.Conn
	silent *atomic.Bool
}

func (c *silentConn) Write(p []byte) (int, error) {
	if c.silent.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func TestHalfOpenPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		var silent atomic.Bool
		n.wrap = func(i int, dialed, accepted net.Conn) (net.Conn, net.Conn) {
			if i > 0 {
				return dialed, accepted
			}
			return &silentConn{dialed, &silent}, &silentConn{accepted, &silent}
		}
		a := startNode(t, n, "a", 1, nil)
		b := startNode(t, n, "b", 1, func(o *link.Options) { o.Self.Addr = "" })
		out := a.open(b, "")
		in := <-b.opened
		assert.True(t, (<-a.events).Up)
		assert.True(t, (<-b.events).Up)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Empty(t, a.events, "an idle link stays up")

		silent.Store(true)
		start := time.Now()
		out.send(t, []string{"while nothing arrives"})
		down := <-a.events
		assert.False(t, down.Up)
		assert.False(t, down.Refused)
		assert.LessOrEqual(t, time.Since(start), 6*time.Second, "three heartbeats")
		assert.True(t, (<-a.events).Up, "the next connection works")
		assert.Equal(t, []string{"while nothing arrives"}, in.received(1))
	})
}

// The peer dies: its address refuses connections. Both ends learn of it, the accepting one by dialling.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a, b, c := startNode(t, n, "a", 1, nil), startNode(t, n, "b", 1, nil), startNode(t, n, "c", 1, nil)
		toB := a.open(b, "")
		fromC := c.open(b, "")
		<-b.opened
		<-b.opened
		toB.send(t, []string{"before"})
		assert.True(t, (<-a.events).Up)
		synctest.Wait()
		start := time.Now()
		n.hide("b")
		b.Close()
		for _, peer := range []*node{a, c} {
			for e := range peer.events {
				assert.Equal(t, "b", e.Peer.ID)
				assert.Equal(t, uint64(1), e.Peer.Incarnation)
				if e.Refused {
					assert.False(t, e.Up)
					require.Error(t, e.Err)
					break
				}
			}
		}
		assert.Less(t, time.Since(start), 100*time.Millisecond)
		time.Sleep(time.Minute)
		assert.Empty(t, a.events, "told once")

		toB.send(t, []string{"to a dead peer"})
		a.Remove("b", 1)
		require.ErrorIs(t, toB.failure(), link.ErrRemoved)
		c.Remove("b", 2)
		synctest.Wait()
		assert.False(t, fromC.closed, "another incarnation was removed")
	})
}

// An accepting end whose peer dies learns from the peer's address that it is dead.
func TestAcceptingEndDialsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a, b := startNode(t, n, "a", 1, nil), startNode(t, n, "b", 1, nil)
		a.open(b, "")
		<-b.opened
		assert.True(t, (<-b.events).Up)
		n.hide("a")
		a.Close()
		e := <-b.events
		assert.False(t, e.Up || e.Refused)
		e = <-b.events
		assert.True(t, e.Refused)
		assert.Equal(t, "a", e.Peer.ID)
	})
}

// A restarted process is another member, though it has the same name and the same address.
func TestReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a, b := startNode(t, n, "a", 1, nil), startNode(t, n, "b", 1, nil)
		out := a.open(b, "")
		(<-b.opened).send(t, []string{"ready"})
		out.received(1)
		out.send(t, []string{"lost"})
		b2 := startNode(t, n, "b", 2, nil)
		b.Close()
		require.ErrorIs(t, out.failure(), link.ErrReplaced)
		for {
			if e := <-a.events; e.Refused {
				assert.Equal(t, uint64(1), e.Peer.Incarnation)
				require.ErrorIs(t, e.Err, link.ErrReplaced)
				break
			}
		}
		again := a.open(b2, "")
		(<-b2.opened).send(t, []string{"ready"})
		again.received(1)
	})
}

func TestSessionLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a := startNode(t, n, "a", 1, nil)
		b := startNode(t, n, "b", 1, func(o *link.Options) { o.Self.Addr, o.ResumeWithin = "", time.Minute })
		out := a.open(b, "")
		in := <-b.opened

		// A short interruption ends nothing.
		listener := n.hide("b")
		n.breakAll()
		time.Sleep(50 * time.Second)
		n.show(listener)
		out.send(t, []string{"after the interruption"})
		in.received(1)
		synctest.Wait()

		n.hide("b")
		n.breakAll()
		require.ErrorIs(t, in.failure(), link.ErrSessionLost)
		unsent := a.open(b, "")
		n.show(listener)
		out.send(t, []string{"to the lost session"})
		require.ErrorIs(t, out.failure(), link.ErrSessionLost)
		var left []string
		for _, p := range out.Unconsumed() {
			left = append(left, string(p))
		}
		assert.Equal(t, []string{"to the lost session"}, left)
		assert.True(t, out.Sent(), "the peer has got messages of it in the session that is lost")
		require.ErrorIs(t, unsent.failure(), link.ErrSessionLost)
		assert.False(t, unsent.Sent())

		again := a.open(b, "")
		(<-b.opened).send(t, []string{"ready"})
		again.received(1)
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a, b := startNode(t, n, "a", 1, nil), startNode(t, n, "b", 1, nil)
		out := a.open(b, "")
		in := <-b.opened
		waiting := make(chan error)
		go func() {
			for {
				if _, err := out.Send(context.Background(), make([]byte, 10000)); err != nil {
					waiting <- err
					return
				}
			}
		}()
		require.NoError(t, a.Close())
		require.ErrorIs(t, out.failure(), link.ErrClosed)
		require.ErrorIs(t, <-waiting, link.ErrEnded)
		require.ErrorIs(t, <-a.serve, link.ErrClosed)
		_, err := a.Open(b.self, nil, 0, newRecorder(true))
		require.ErrorIs(t, err, link.ErrClosed)
		require.ErrorIs(t, a.Connect(b.self), link.ErrClosed)
		require.NoError(t, a.Close(), "twice")
		require.NoError(t, b.Close())
		require.ErrorIs(t, in.failure(), link.ErrClosed)
	})
}

// A channel whose receiver is stuck fills its window; the others go on.
func TestStuckReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a := startNode(t, n, "a", 1, nil)
		b := startNode(t, n, "b", 1, nil)
		stuck := a.open(b, "stuck")
		in := <-b.opened
		sent := fill(t, stuck)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Zero(t, stuck.writable)
		assert.Equal(t, sent+1, 1+len(in.messages))
		assert.LessOrEqual(t, sent*(1000+64), 64<<10)
		assert.Greater(t, (sent+1)*(1000+64), 64<<10)

		free := a.open(b, "free")
		all := numbered(1000)
		free.send(t, all)
		assert.Equal(t, all, (<-b.opened).received(1000))

		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := stuck.Send(ctx, make([]byte, 1000))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		cancel()

		done := make(chan error)
		go func() {
			_, err := stuck.Send(context.Background(), make([]byte, 1000))
			done <- err
		}()
		synctest.Wait()
		in.Consume(1)
		require.NoError(t, <-done)
		stuck.wait(func() bool { return stuck.writable == 1 })
		in.Consume(99999)
		in.Consume(1)
		synctest.Wait()
		_, err = stuck.TrySend(make([]byte, 1000))
		require.ErrorIs(t, err, link.ErrWindowFull, "what has not been received cannot be consumed")
		in.Consume(uint64(sent + 1))
		stuck.wait(func() bool { return stuck.writable == 2 })
		assert.Equal(t, sent+1, len(in.messages))
	})
}

// A channel that has filled the link's window holds up large messages of the others until it is consumed, or reset.
func TestLinkWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a := startNode(t, n, "a", 1, nil)
		b := startNode(t, n, "b", 1, func(o *link.Options) {
			o.MaxMessage, o.LinkWindow = 1<<20, 1<<20+64
		})
		var out, in []*recorder
		for range 3 {
			out = append(out, a.open(b, "stuck"))
			in = append(in, <-b.opened)
		}
		synctest.Wait()
		large := make([]byte, 1<<20)
		sent := make(chan error, 3)
		for _, r := range out {
			go func() {
				_, err := r.Send(context.Background(), large)
				sent <- err
			}()
			synctest.Wait()
		}
		require.NoError(t, <-sent)
		assert.Empty(t, sent)
		links := a.Links()
		require.Len(t, links, 1)
		assert.Equal(t, []int{3, 1<<20 + 64 - 4<<10}, []int{links[0].Channels, links[0].Unconsumed})
		_, err := out[2].TrySend([]byte("small messages have their reserve"))
		require.NoError(t, err)
		in[0].Consume(1)
		require.NoError(t, <-sent)
		synctest.Wait()
		assert.Empty(t, sent)
		out[1].Reset(300, nil)
		in[2].Consume(1)
		require.NoError(t, <-sent)
		in[2].received(2)
	})
}

// fill sends messages of 1000 bytes until the window is full and returns how many.
func fill(t *testing.T, r *recorder) (sent int) {
	for {
		_, err := r.TrySend(make([]byte, 1000))
		if err != nil {
			require.ErrorIs(t, err, link.ErrWindowFull)
			return sent
		}
		sent++
	}
}

// Ten thousand channels are stuck: what is queued at the two ends stays within the window of the link and the reserve of each channel, and
// another channel goes on.
func TestManyStuckReceivers(t *testing.T) {
	const channels, linkWindow, reserve = 10000, 8 << 20, 4 << 10
	received := newRecorder(false)
	limit := func(o *link.Options) { o.LinkWindow, o.MaxMessage = linkWindow, 1<<20 }
	a := startTCPNode(t, "a", limit)
	b := startTCPNode(t, "b", func(o *link.Options) {
		limit(o)
		accept := o.Accept
		o.Accept = func(from link.Peer, ch *link.Channel, greeting []byte) link.Receiver {
			if string(greeting) == "stuck" {
				return &stuckReceiver{received}
			}
			return accept(from, ch, greeting)
		}
	})
	ready := a.open(b, "free") // the limits of b are known once it is open
	(<-b.opened).send(t, []string{"ready"})
	ready.received(1)
	var sent int64
	for range channels {
		sent += int64(fill(t, a.open(b, "stuck")))
	}
	assert.LessOrEqual(t, sent*(1000+64), int64(linkWindow+channels*reserve))
	assert.Greater(t, sent*(1000+64), int64(linkWindow+channels*(reserve-1064)))

	all := numbered(1000)
	out := a.open(b, "free")
	go out.send(t, all)
	assert.Equal(t, all, (<-b.opened).received(1000))
	received.wait(func() bool { return int64(received.count) == sent })
}

// stuckReceiver consumes nothing. It counts what all of them receive.
type stuckReceiver struct{ received *recorder }

func (s *stuckReceiver) Message(uint64, []byte) bool {
	s.received.note(func() { s.received.count++ })
	return false
}
func (s *stuckReceiver) Ended([]byte) {}
func (s *stuckReceiver) Writable()    {}
func (s *stuckReceiver) Closed(error) {}

var errNoDial = errors.New("no network")

// Channels can be opened and used before there is a connection.
func TestBeforeTheFirstConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		var up atomic.Bool
		a := startNode(t, n, "a", 1, func(o *link.Options) {
			o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
				if !up.Load() {
					return nil, errNoDial
				}
				return n.dial(ctx, addr)
			}
		})
		b := startNode(t, n, "b", 1, nil)
		out := a.open(b, "early")
		sent := fill(t, out)
		assert.Equal(t, 3, sent, "what every peer takes")
		time.Sleep(time.Minute)
		up.Store(true)
		out.wait(func() bool { return out.writable == 1 })
		out.send(t, []string{"later"})
		in := <-b.opened
		assert.Equal(t, "later", in.received(sent + 1)[sent])
	})
}

// TestLateDial: a link is removed while it is being dialled, and there is a new one when that succeeds. The peer must not take the session of the
// first one for a later one.
func TestLateDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		first, reached := true, make(chan struct{})
		a := startNode(t, n, "a", 1, func(o *link.Options) {
			o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
				if first {
					first = false
					<-reached
				}
				return n.dial(ctx, addr)
			}
		})
		b := startNode(t, n, "b", 1, nil)
		a.open(b, "")
		synctest.Wait()
		a.Remove("b", 1)
		out := a.open(b, "")
		in := <-b.opened
		close(reached)
		synctest.Wait()
		out.send(t, []string{"x"})
		in.received(1)
		synctest.Wait()
		assert.Equal(t, 1, b.Channels())
		out.send(t, []string{"y"})
		assert.Equal(t, []string{"x", "y"}, in.received(2))
	})
}
