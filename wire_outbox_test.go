package edgews_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// withUnreadMessage runs f with an accepted socket that has sent a message of n bytes, of which the peer has read nothing.
func withUnreadMessage(t *testing.T, opts edgews.Options, n int, f func(t *testing.T, s *edgews.Socket, p *peer)) {
	t.Helper()
	overAPipe(t, opts, func(t *testing.T, s *edgews.Socket, p *peer) {
		require.NoError(t, s.Accept())
		require.NoError(t, s.SendBytes(make([]byte, n)))
		f(t, s, p)
	})
}

func TestSendBufferIsFull(t *testing.T) {
	withUnreadMessage(t, edgews.Options{SendBuffer: 1000, WriteTimeout: -1}, 600, func(t *testing.T, s *edgews.Socket, p *peer) {
		require.NoError(t, s.SendBytes(make([]byte, 392)), "exactly full, with two headers")
		err := s.SendBytes(make([]byte, 1))
		require.ErrorIs(t, err, edgews.ErrBufferFull)
		assert.ErrorContains(t, err, "1000 bytes wait, the message has 1, the limit is 1000")
		assert.Equal(t, 992, s.BufferedAmount())
		require.Len(t, p.next().payload, 600)
		require.NoError(t, s.Write(within(t), edgews.Text, []byte("room")))
		require.Len(t, p.next().payload, 392)
		p.expects(text("room"))
		require.NoError(t, s.Flush(within(t)))
		assert.Zero(t, s.BufferedAmount())
		p.hangsUp()
	})
}

func TestEmptyQueueTakesAnySize(t *testing.T) {
	both(t, edgews.Options{SendBuffer: 10}, func(t *testing.T, a, b *edgews.Socket) {
		events := record(t, b)
		acceptBoth(t, a, b)
		require.NoError(t, a.SendBytes(make([]byte, 3<<20)))
		events.wants("binary of 3145728 bytes")
	})
}

func TestEmptyMessagesCannotFillTheMemory(t *testing.T) {
	withUnreadMessage(t, edgews.Options{SendBuffer: 1 << 10}, 1, func(t *testing.T, s *edgews.Socket, p *peer) {
		refused := 0
		for range 1000 {
			if s.Send("") != nil {
				refused++
			}
		}
		assert.Greater(t, refused, 450, "a frame has at least 2 bytes")
		p.hangsUp()
	})
}

func TestPairQueueIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := edgews.NewPair()
		require.NoError(t, a.Accept())
		chunk := strings.Repeat("x", 100<<10)
		sent := 0
		for ; a.Send(chunk) == nil; sent++ {
		}
		assert.Equal(t, 10, sent)
		assert.Equal(t, 10*len(chunk), a.BufferedAmount())
		for range sent {
			_, err := b.Receive(t.Context())
			require.NoError(t, err)
		}
		require.NoError(t, a.Flush(t.Context()))
	})
}

func TestOverflowDrop(t *testing.T) {
	withUnreadMessage(t, edgews.Options{SendBuffer: 100, Overflow: edgews.OverflowDrop}, 90, func(t *testing.T, s *edgews.Socket, p *peer) {
		require.NoError(t, s.Send("too long by a bit"))
		require.NoError(t, s.Send("fits"))
		p.next()
		p.expects(text("fits"))
		require.NoError(t, s.Flush(within(t)))
		require.NoError(t, s.Send("later"))
		p.expects(text("later"))
		p.hangsUp()
	})
}

func TestOverflowClose(t *testing.T) {
	withUnreadMessage(t, edgews.Options{SendBuffer: 100, Overflow: edgews.OverflowClose}, 90, func(t *testing.T, s *edgews.Socket, p *peer) {
		events := record(t, s)
		require.NoError(t, s.SendBytes(make([]byte, 6)), "discarded later")
		assert.ErrorIs(t, s.SendBytes(make([]byte, 11)), edgews.ErrBufferFull)
		assert.ErrorIs(t, s.SendBytes(nil), edgews.ErrClosed)
		assert.Equal(t, edgews.Closing, s.ReadyState())
		require.Len(t, p.next().payload, 90, "was on its way")
		p.expects(closing(1013, "receiver is too slow"))
		p.sends(closing(1013, "receiver is too slow"))
		events.wantsEnd(closed(1013, "receiver is too slow", true))
		assert.ErrorIs(t, s.Flush(t.Context()), edgews.ErrClosed, "not everything arrived")
	})
}

func TestWriteTimeout(t *testing.T) {
	withUnreadMessage(t, edgews.Options{WriteTimeout: 4 * time.Second, KeepAlive: -1}, 100, func(t *testing.T, s *edgews.Socket, p *peer) {
		events := record(t, s)
		flushed := make(chan error)
		go func() { flushed <- s.Flush(t.Context()) }()
		start := time.Now()
		assert.ErrorIs(t, <-flushed, edgews.ErrClosed)
		assert.Equal(t, 4*time.Second, time.Since(start))
		events.wantsEnd(failed("takes no data for 4s"), cut)
		_, err := s.Receive(t.Context())
		assert.ErrorIs(t, err, edgews.ErrWriteTimeout)
		p.expectsEOF()
	})
}

func TestWriteTimeoutOfASlowReader(t *testing.T) {
	withUnreadMessage(t, edgews.Options{WriteTimeout: 4 * time.Second, KeepAlive: -1}, 50_000, func(t *testing.T, s *edgews.Socket, p *peer) {
		p.conn.SetReadDeadline(time.Time{})
		for left := 50_000 + 4; left > 0; {
			time.Sleep(3 * time.Second)
			n, err := p.r.Discard(min(left, 4<<10))
			require.NoError(t, err)
			left -= n
		}
		require.NoError(t, s.Flush(t.Context()))
		p.hangsUp()
	})
}

// The write deadline of a large message must not apply to a small message much later.
func TestSendingAgainAfterTheWriteTimeout(t *testing.T) {
	// The test needs real time. On a busy machine, even this peer may take nothing for some time.
	for timeout := 50 * time.Millisecond; ; timeout *= 4 {
		s, p := overTCP.serverAndPeer(t, edgews.Options{WriteTimeout: timeout})
		require.NoError(t, s.Accept())
		require.NoError(t, s.SendBytes(make([]byte, 32<<20)))
		p.conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := readFrame(p.r); err != nil && timeout < patience {
			continue
		}
		require.NoError(t, s.Flush(within(t)))
		<-time.After(2 * timeout)
		require.NoError(t, s.Send("still open"))
		p.expects(text("still open"))
		return
	}
}

func TestWriteFails(t *testing.T) {
	overAPipe(t, edgews.Options{KeepAlive: -1}, func(t *testing.T, s *edgews.Socket, p *peer) {
		_, err := receiveFor(s, time.Millisecond) // reading pauses when the inbox is full
		require.ErrorIs(t, err, context.DeadlineExceeded)
		big := string(make([]byte, 70_000))
		p.sends(binaryOf(big))
		go p.writesAll(p.encode(binaryOf(big)))
		time.Sleep(time.Second)
		require.NoError(t, s.Send("not received"))
		p.hangsUp()
		assert.ErrorIs(t, s.Flush(t.Context()), edgews.ErrClosed)
		assert.ErrorIs(t, s.Send("again"), edgews.ErrClosed)
		waitDone(t, s) // also without a receiver
		m, err := s.Receive(t.Context())
		require.NoError(t, err)
		assert.Len(t, m.Data, len(big))
	})
}

func receiveFor(s *edgews.Socket, d time.Duration) (edgews.Message, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return s.Receive(ctx)
}

func TestWriteWaitsForRoom(t *testing.T) {
	withUnreadMessage(t, edgews.Options{SendBuffer: 100, WriteTimeout: -1, KeepAlive: -1}, 100, func(t *testing.T, s *edgews.Socket, p *peer) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		assert.ErrorIs(t, s.Write(ctx, edgews.Text, []byte("cancelled")), context.DeadlineExceeded)
		assert.ErrorIs(t, s.Flush(ctx), context.DeadlineExceeded)
		assert.ErrorIs(t, s.Write(ctx, edgews.Text, []byte("cancelled before")), context.DeadlineExceeded)
		written := make(chan error)
		go func() { written <- s.Write(t.Context(), edgews.Text, []byte("patient")) }()
		p.next()
		require.NoError(t, <-written)
		p.expects(text("patient"))
		require.NoError(t, s.Flush(t.Context()))
		require.NoError(t, s.SendBytes(make([]byte, 100)))
		go func() { written <- s.Write(t.Context(), edgews.Text, []byte("too late")) }()
		time.Sleep(time.Second)
		require.NoError(t, s.Close(1000, ""))
		assert.ErrorIs(t, <-written, edgews.ErrClosed)
		p.hangsUp()
	})
}

func TestFlushOfAPairWhoseOtherEndFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		captureDefaultLog(t)
		a, b := edgews.NewPair()
		b.OnMessage(func(edgews.MessageEvent) { panic("at the first") })
		require.NoError(t, a.Accept())
		for range 3 {
			require.NoError(t, a.Send("x"))
		}
		require.NoError(t, b.Accept())
		assert.ErrorIs(t, a.Flush(t.Context()), edgews.ErrClosed)
	})
}

func TestControlFramesOvertakeData(t *testing.T) {
	withUnreadMessage(t, edgews.Options{}, 100, func(t *testing.T, s *edgews.Socket, p *peer) {
		require.NoError(t, s.Send("waits"))
		p.sends(ping("first"))
		synctest.Wait()
		require.Len(t, p.next().payload, 100)
		p.expects(pong("first"), text("waits"))
		p.hangsUp()
	})
}

func TestSharedFramesStayWhole(t *testing.T) {
	big := edgews.Prepare(edgews.Binary, bytes.Repeat([]byte("0123456789"), 1000))
	overAPipe(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		require.NoError(t, s.Accept())
		for range 2 {
			require.NoError(t, s.Send("before"))
			require.NoError(t, s.SendPrepared(big))
			require.NoError(t, s.Send("after"))
			p.expects(text("before"))
			require.Equal(t, strings.Repeat("0123456789", 1000), p.next().payload)
			p.expects(text("after"))
		}
		p.hangsUp()
	})
}
