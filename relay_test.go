package edgews_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// relayed is a relay between a and b, whose other ends are left and right.
type relayed struct {
	left, a, b, right *edgews.Socket
	stop              context.CancelFunc
	ended             chan error // gets what Relay returns
}

func (r *relayed) start(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	r.stop, r.ended = stop, make(chan error, 1)
	go func() { r.ended <- edgews.Relay(ctx, r.a, r.b) }()
}

// endsBy checks which socket ended the relay, and how.
func (r *relayed) endsBy(t *testing.T, s *edgews.Socket, code edgews.StatusCode) {
	t.Helper()
	var err error
	select {
	case err = <-r.ended:
	case <-time.After(patience):
		require.FailNow(t, "the relay does not end")
	}
	var end *edgews.RelayError
	require.ErrorAs(t, err, &end)
	assert.Same(t, s, end.Ended, "%v", err)
	var closed *edgews.CloseError
	require.ErrorAs(t, err, &closed)
	assert.Equal(t, code, closed.Code)
	waitDone(t, r.a)
	waitDone(t, r.b)
}

// relays runs f for a relay over pairs, pipes, TCP and TLS, with servers and clients at both sides, and between a pair and a pipe.
func relays(t *testing.T, opts edgews.Options, f func(t *testing.T, r *relayed)) {
	t.Helper()
	both(t, opts, func(t *testing.T, left, a *edgews.Socket) {
		b, right := edgews.NewPair()
		r := &relayed{left: left, a: a, b: b, right: right}
		r.start(t)
		f(t, r)
	})
	for _, where := range []network{overPipe, overTCP, overTLS} {
		for _, clients := range []bool{false, true} {
			t.Run(fmt.Sprintf("clients=%t", clients), func(t *testing.T) {
				where.run(t, func(t *testing.T, where network) {
					r := new(relayed)
					if clients {
						r.a, r.left = where.connect(t, opts)
						r.b, r.right = where.connect(t, opts)
					} else {
						r.left, r.a = where.connect(t, opts)
						r.right, r.b = where.connect(t, opts)
					}
					r.start(t)
					f(t, r)
				})
			})
		}
	}
}

func TestRelayForwardsMessages(t *testing.T) {
	large := strings.Repeat("0123456789", 50_000)
	relays(t, edgews.Options{}, func(t *testing.T, r *relayed) {
		left, right := record(t, r.left), record(t, r.right)
		acceptBoth(t, r.left, r.right)
		for _, way := range []struct {
			from *edgews.Socket
			to   *recorder
		}{{r.left, right}, {r.right, left}} {
			require.NoError(t, way.from.Send("text"))
			require.NoError(t, way.from.SendBytes([]byte("bytes")))
			require.NoError(t, way.from.Send(""))
			require.NoError(t, way.from.SendBytes(nil))
			require.NoError(t, way.from.Send(large))
			w, err := way.from.NextWriter(within(t), edgews.Text)
			require.NoError(t, err)
			_, err = io.WriteString(w, "€ in ")
			require.NoError(t, err)
			_, err = io.WriteString(w, "pieces")
			require.NoError(t, err)
			require.NoError(t, w.Close())
			way.to.wants(message("text"), bytesMessage("bytes"), message(""), bytesMessage(""), message(large), message("€ in pieces"))
		}
		_, err := r.left.Ping(within(t))
		require.NoError(t, err)
		require.NoError(t, r.left.Close(4321, "bye"))
		right.wantsEnd(closed(4321, "bye", true))
		left.wantsEnd(closed(4321, "bye", true))
		r.endsBy(t, r.a, 4321)
	})
}

// The end of one side becomes a Close of the other, after the messages before it.
func TestRelayForwardsTheEnd(t *testing.T) {
	lost := closed(1011, "the other side of the relay was lost", true)
	cases := []struct {
		name string
		end  func(t *testing.T, p *peer)
		code edgews.StatusCode
		want string
	}{
		{"1000", func(t *testing.T, p *peer) { p.sends(closing(1000, "done")) }, 1000, closed(1000, "done", true)},
		{"4999", func(t *testing.T, p *peer) { p.sends(closing(4999, "")) }, 4999, closed(4999, "", true)},
		{"no code", func(t *testing.T, p *peer) { p.sends(closing(0, "")) }, 1005, closed(1005, "", true)},
		{"lost", func(t *testing.T, p *peer) { p.hangsUp() }, 1006, lost},
		{"protocol error", func(t *testing.T, p *peer) { p.sends(aFrame{bits: 0x80, opcode: 3}) }, 1002, lost},
		{"lost in a message", func(t *testing.T, p *peer) {
			p.sends(part(binaryOf(strings.Repeat("x", 100_000)), false))
			p.hangsUp()
		}, 1006, lost},
	}
	for _, c := range cases {
		for _, second := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/second=%t", c.name, second), func(t *testing.T) {
				withPeer(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
					p.ignores()
					pairEnd, right := edgews.NewPair()
					r := &relayed{a: s, b: pairEnd, right: right}
					if second {
						r.a, r.b = r.b, r.a
					}
					r.start(t)
					events := record(t, right)
					require.NoError(t, right.Accept())
					p.sends(text("last"))
					events.wants(message("last"))
					c.end(t, p)
					events.wantsEnd(c.want)
					r.endsBy(t, s, c.code)
				})
			})
		}
	}
}

func TestRelayWhoseContextEnds(t *testing.T) {
	relays(t, edgews.Options{}, func(t *testing.T, r *relayed) {
		left, right := record(t, r.left), record(t, r.right)
		acceptBoth(t, r.left, r.right)
		require.NoError(t, r.left.Send("x"))
		right.wants(message("x"))
		r.stop()
		left.wantsEnd(closed(1001, "", true))
		right.wantsEnd(closed(1001, "", true))
		err := <-r.ended
		require.ErrorIs(t, err, context.Canceled)
		var end *edgews.RelayError
		require.ErrorAs(t, err, &end)
		assert.Nil(t, end.Ended)
	})
}

func TestRelayThatTheProgramCloses(t *testing.T) {
	relays(t, edgews.Options{}, func(t *testing.T, r *relayed) {
		left, right := record(t, r.left), record(t, r.right)
		acceptBoth(t, r.left, r.right)
		require.NoError(t, r.left.Send("x"))
		right.wants(message("x"))
		require.NoError(t, r.b.Close(4000, "enough"))
		_ = r.left.Send("to a closed side") // which the relay may have closed already
		right.wantsEnd(closed(4000, "enough", true))
		left.wantsEnd(closed(4000, "enough", true))
		r.endsBy(t, r.b, 4000)
	})
}

func TestRelayWhoseSidesTheProgramCloses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		left, a := edgews.NewPair()
		right, b := edgews.NewPair()
		r := &relayed{left: left, a: a, b: b, right: right}
		r.start(t)
		acceptBoth(t, left, right)
		synctest.Wait()
		require.NoError(t, a.Close(1000, ""))
		_ = b.Close(1000, "")
		_ = left.Send("x") // the others may have been closed already
		_ = right.Send("y")
		<-r.ended
		for _, s := range []*edgews.Socket{left, a, b, right} {
			waitDone(t, s)
		}
	})
}

// A half-open socket is closed too.
func TestRelayOfAHalfOpenSocket(t *testing.T) {
	withPeer(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		pairEnd, right := edgews.NewPair()
		require.NoError(t, s.AcceptHalfOpen())
		r := &relayed{a: s, b: pairEnd, right: right}
		r.start(t)
		events := record(t, right)
		require.NoError(t, right.Accept())
		p.sends(closing(4000, "bye"))
		p.expects(closing(4000, "bye"))
		events.wantsEnd(closed(4000, "bye", true))
		r.endsBy(t, s, 4000)
	})
}

// While one side takes nothing, little is read from the other, and the other direction goes on.
func TestRelayWithAStalledSide(t *testing.T) {
	const size, count = 10_000, 1000
	overAPipe(t, edgews.Options{KeepAlive: -1, WriteTimeout: -1}, func(t *testing.T, s *edgews.Socket, stalled *peer) {
		left, a := edgews.NewPair()
		r := &relayed{left: left, a: a, b: s}
		r.start(t)
		events := record(t, left)
		require.NoError(t, left.Accept())
		stalled.sends(text("the other direction"))
		events.wants(message("the other direction"))
		sent := 0
		for range count {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := left.Write(ctx, edgews.Binary, make([]byte, size))
			cancel()
			if err != nil {
				require.ErrorIs(t, err, context.DeadlineExceeded)
				break
			}
			sent++
		}
		require.Less(t, sent*size, 3<<20, "bytes that wait: the buffers of two sockets, and 64 KiB")
		stalled.sends(text("it still does"))
		events.wants(message("it still does"))
		for range sent {
			require.Len(t, stalled.next().payload, size)
		}
		require.NoError(t, left.Send("last"))
		stalled.expects(text("last"))
		stalled.hangsUp()
		events.wantsEnd(closed(1011, "the other side of the relay was lost", true))
		r.endsBy(t, s, 1006)
	})
}

// A message that is larger than all buffers arrives while it is still being sent.
func TestRelayStreams(t *testing.T) {
	overAPipe(t, edgews.Options{MaxMessageSize: 100 << 20}, func(t *testing.T, s *edgews.Socket, p *peer) {
		b, right := edgews.NewPair()
		r := &relayed{a: s, b: b, right: right}
		r.start(t)
		piece := strings.Repeat("x", 100_000)
		p.sends(part(binaryOf(piece), false))
		_, in, err := right.NextReader(within(t))
		require.NoError(t, err)
		got := make([]byte, 1)
		_, err = io.ReadFull(in, got)
		require.NoError(t, err, "the beginning is there before the end")
		go func() {
			for range 500 {
				p.sends(continuation(piece, false))
			}
			p.sends(continuation("end", true))
		}()
		rest, err := io.Copy(io.Discard, in)
		require.NoError(t, err)
		assert.EqualValues(t, 501*len(piece)+len("end")-1, rest)
		r.stop()
		<-r.ended
	})
}

func TestRelayRefuses(t *testing.T) {
	a, b := edgews.NewPair()
	used, other := edgews.NewPair()
	receiving, _ := edgews.NewPair()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	bubble(t, func(t *testing.T) {})
	go receiving.Receive(ctx)
	eventually(t, func() bool {
		_, err := receiveFor(receiving, 0)
		return err == edgews.ErrReceiving
	}, "the other goroutine receives")
	n := newRooms(t, nil, nil)
	require.NoError(t, n.wake(n.NewUniqueID()).AcceptWebSocket(used))
	cases := []struct {
		name string
		a, b *edgews.Socket
		want string
	}{
		{"nil", a, nil, "two sockets"},
		{"the same", a, a, "two sockets"},
		{"an object's", a, used, edgews.ErrAccepted.Error()},
		{"received from", receiving, b, edgews.ErrReceiving.Error()},
	}
	for _, c := range cases {
		assert.ErrorContains(t, edgews.Relay(t.Context(), c.a, c.b), c.want, c.name)
	}
	for _, s := range []*edgews.Socket{a, b, other, receiving} {
		assert.Equal(t, edgews.Open, s.ReadyState())
	}
}

func TestRelayLeavesNothing(t *testing.T) {
	noGoroutinesLeft(t)
	for range 20 {
		left, a := overTCP.connect(t, edgews.Options{})
		b, right := edgews.NewPair()
		r := &relayed{left: left, a: a, b: b, right: right}
		r.start(t)
		acceptBoth(t, left, right)
		require.NoError(t, left.Close(1000, ""))
		r.endsBy(t, a, 1000)
	}
}
