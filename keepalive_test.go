package edgews_test

import (
	"context"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// passTime lets d pass while the peer sends nothing.
func passTime(d time.Duration) { time.Sleep(d) }

func TestKeepAlivePingsAnIdlePeer(t *testing.T) {
	overAPipe(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		events := record(t, s)
		require.NoError(t, s.Accept())
		start := time.Now()
		for range 5 {
			p.conn.SetReadDeadline(time.Time{})
			f, err := readFrame(p.r)
			require.NoError(t, err)
			assert.Equal(t, ping("").String(), f.String())
			start = start.Add(30 * time.Second)
			assert.Equal(t, start, time.Now())
			p.sends(pong(""))
		}
		p.closesCleanly(1000, "")
		events.wantsEnd(closed(1000, "", true))
	})
}

func TestNoPong(t *testing.T) {
	overAPipe(t, edgews.Options{KeepAlive: time.Minute, KeepAliveTimeout: 7 * time.Second}, func(t *testing.T, s *edgews.Socket, p *peer) {
		ends := make(chan edgews.CloseEvent, 1)
		errs := make(chan error, 1)
		s.OnError(func(e edgews.ErrorEvent) { errs <- e.Err })
		s.OnClose(func(e edgews.CloseEvent) { ends <- e })
		require.NoError(t, s.Accept())
		p.ignores()
		start := time.Now()
		end := <-ends
		assert.Equal(t, 67*time.Second, time.Since(start))
		assert.ErrorIs(t, <-errs, edgews.ErrNoPong)
		assert.Equal(t, cut, closed(int(end.Code), end.Reason, end.WasClean))
		_, err := s.Receive(t.Context())
		assert.ErrorIs(t, err, edgews.ErrNoPong)
		assert.ErrorContains(t, err, "7s")
	})
}

func TestAnyByteResetsKeepAlive(t *testing.T) {
	overAPipe(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		events := record(t, s)
		require.NoError(t, s.Accept())
		p.ignores()
		for _, b := range p.encode(text("very slowly")) {
			passTime(29 * time.Second)
			p.sendsBytes([]byte{b})
		}
		p.hangsUp()
		events.wantsEnd(message("very slowly"), cut)
	})
}

func TestKeepAliveAfterHalfAFrame(t *testing.T) {
	overAPipe(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		require.NoError(t, s.Accept())
		b := p.encode(text("never finished"))
		p.sendsBytes(b[:8])
		p.ignores()
		<-s.Done()
		_, err := s.Receive(t.Context())
		assert.ErrorIs(t, err, edgews.ErrNoPong)
	})
}

func TestKeepAliveOff(t *testing.T) {
	overAPipe(t, edgews.Options{KeepAlive: -1}, func(t *testing.T, s *edgews.Socket, p *peer) {
		events := record(t, s)
		require.NoError(t, s.Accept())
		passTime(1000 * time.Hour)
		p.sends(text("still there"))
		events.wants(message("still there"))
		p.closesCleanly(1000, "")
	})
}

// A write that has to wait sets the timer, too. Keep-alive must stay off when it fires.
func TestKeepAliveOffWhileAWriteWaits(t *testing.T) {
	const timeout = 100 * time.Millisecond
	for writeTimeout := timeout; ; writeTimeout *= 4 { // on a busy machine, even this peer may take nothing for some time
		s, p := overTCP.serverAndPeer(t, edgews.Options{KeepAlive: -1, KeepAliveTimeout: timeout, WriteTimeout: writeTimeout})
		require.NoError(t, s.Accept())
		require.NoError(t, s.SendBytes(make([]byte, 32<<20)))
		p.conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := readFrame(p.r); err != nil && writeTimeout < patience {
			continue
		}
		<-time.After(writeTimeout + 2*timeout)
		require.NoError(t, s.Send("still open, and not pinged"))
		p.expects(text("still open, and not pinged"))
		return
	}
}

// KeepAlive and KeepAliveTimeout do not count the time in which a listener blocks and the socket is not read.
func TestKeepAliveIgnoresABlockedListener(t *testing.T) {
	overAPipe(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		p.ignores()
		s.OnMessage(func(edgews.MessageEvent) { time.Sleep(10 * time.Minute) })
		events := record(t, s)
		require.NoError(t, s.Accept())
		p.sends(text("1"))
		select {
		case <-s.Done():
			t.Error("the socket is gone:", s.Err())
		case <-time.After(10*time.Minute + 30*time.Second):
		}
		events.wants(message("1"))
		p.hangsUp()
	})
}

func TestKeepAliveIgnoresAFullInbox(t *testing.T) {
	overAPipe(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.Receive(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, s.Accept())
		ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err = s.Receive(ctx) // messages wait in the inbox from now on
		require.ErrorIs(t, err, context.DeadlineExceeded)
		p.ignores()
		big := string(make([]byte, 60_000))
		go p.writesAll(p.encode(binaryOf(big), binaryOf(big), binaryOf(big), text("end")))
		passTime(time.Hour)
		for range 3 {
			m, err := s.Receive(t.Context())
			require.NoError(t, err)
			require.Len(t, m.Data, len(big))
		}
		m, err := s.Receive(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "end", m.Text())
		p.hangsUp()
	})
}

func TestPing(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		acceptBoth(t, a, b)
		for range 3 {
			rtt, err := a.Ping(within(t))
			require.NoError(t, err)
			assert.GreaterOrEqual(t, rtt, time.Duration(0))
		}
	})
}

func TestPingMeasuresTheRoundTrip(t *testing.T) {
	overAPipe(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		go func() {
			f := p.next()
			time.Sleep(250 * time.Millisecond)
			p.sends(pong("not an answer"), pong("8 bytes."), pong(f.payload))
		}()
		rtt, err := s.Ping(t.Context()) // Ping accepts the socket
		require.NoError(t, err)
		assert.Equal(t, 250*time.Millisecond, rtt)
		p.hangsUp()
	})
}

func TestPingIsCancelled(t *testing.T) {
	overAPipe(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		p.ignores()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.Ping(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = s.Ping(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, s.Send("usable"))
		p.hangsUp()
	})
}

func TestPingEndsWithTheSocket(t *testing.T) {
	withPeer(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		go func() {
			p.next()
			p.hangsUp()
		}()
		_, err := s.Ping(within(t))
		require.ErrorIs(t, err, edgews.ErrClosed)
	})
}

func TestPingWaitsForThePairsOtherEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := edgews.NewPair()
		time.AfterFunc(time.Second, func() { b.Accept() })
		rtt, err := a.Ping(t.Context())
		require.NoError(t, err)
		assert.Equal(t, time.Second, rtt)
	})
}

func TestPongWithoutAReceiver(t *testing.T) {
	withPeer(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		received := make(chan error)
		go func() {
			_, err := s.Receive(ctx)
			received <- err
		}()
		p.sends(text("1"))
		require.NoError(t, <-received)
		p.sends(text("2"), ping("hello?"))
		p.expects(pong("hello?"))
		p.closesCleanly(1000, "")
		m, err := s.Receive(ctx)
		require.NoError(t, err)
		assert.Equal(t, "2", m.Text())
	})
}
