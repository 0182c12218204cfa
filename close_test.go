package edgews_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCloseChecksItsArguments(t *testing.T) {
	cases := []struct {
		name   string
		code   edgews.StatusCode
		reason string
		err    error
		says   string
	}{
		{"code too small", 999, "", edgews.ErrInvalidClose, "status code 999"},
		{"code 1", 1, "", edgews.ErrInvalidClose, "status code 1"},
		{"code too large", 5000, "", edgews.ErrInvalidClose, "status code 5000"},
		{"1004", 1004, "", edgews.ErrInvalidClose, "1004"},
		{"1005", 1005, "", edgews.ErrInvalidClose, "1005"},
		{"1006", 1006, "", edgews.ErrInvalidClose, "1006"},
		{"1015", 1015, "", edgews.ErrInvalidClose, "1015"},
		{"code before reason", 1005, strings.Repeat("x", 124), edgews.ErrInvalidClose, "status code"},
		{"reason too long", 1000, strings.Repeat("x", 124), edgews.ErrInvalidClose, "124 bytes"},
		{"reason too long in bytes", 1000, strings.Repeat("€", 42), edgews.ErrInvalidClose, "126 bytes"},
		{"length before the missing code", 0, strings.Repeat("x", 124), edgews.ErrInvalidClose, "124 bytes"},
		{"reason without code", 0, "x", edgews.ErrInvalidClose, "needs a status code"},
		{"reason not UTF-8", 1000, "\xff", edgews.ErrInvalidUTF8, ""},
		{"arguments before the state", 1000, "", edgews.ErrNotAccepted, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, _ := edgews.NewPair()
			err := s.Close(c.code, c.reason)
			require.ErrorIs(t, err, c.err)
			assert.ErrorContains(t, err, c.says)
		})
	}
}

func TestCloseReachesThePeer(t *testing.T) {
	cases := []struct {
		name         string
		code         edgews.StatusCode
		reason       string
		seen, echoed string
	}{
		{"normal", 1000, "bye", closed(1000, "bye", true), closed(1000, "bye", true)},
		{"longest reason", 4999, strings.Repeat("x", 123), closed(4999, strings.Repeat("x", 123), true), closed(4999, strings.Repeat("x", 123), true)},
		{"no reason", 3000, "", closed(3000, "", true), closed(3000, "", true)},
		{"empty", 0, "", closed(1005, "", true), closed(1005, "", true)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
				at, bt := record(t, a), record(t, b)
				acceptBoth(t, a, b)
				require.NoError(t, a.Send("last words"))
				require.NoError(t, a.Close(c.code, c.reason))
				bt.wantsEnd(message("last words"), c.seen)
				at.wantsEnd(c.echoed)
				for _, s := range []*edgews.Socket{a, b} {
					assert.Equal(t, edgews.Closed, s.ReadyState())
					assert.ErrorIs(t, s.Close(c.code, c.reason), edgews.ErrClosed)
					assert.ErrorIs(t, s.Send("x"), edgews.ErrClosed)
					assert.ErrorIs(t, s.Write(within(t), edgews.Text, nil), edgews.ErrClosed)
					_, err := s.Ping(within(t))
					assert.ErrorIs(t, err, edgews.ErrClosed)
					assert.NoError(t, s.Accept(), "still a no-op")
				}
			})
		})
	}
}

func TestMessagesArriveAfterOwnClose(t *testing.T) {
	withPeer(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		events := record(t, s)
		require.NoError(t, s.Accept())
		require.NoError(t, s.Close(1000, "enough"))
		assert.Equal(t, edgews.Closing, s.ReadyState())
		assert.ErrorIs(t, s.Send("x"), edgews.ErrClosed)
		p.expects(closing(1000, "enough"))
		p.sends(text("wait"), ping("are you there?"), binaryOf("a moment"), closing(1001, "well then"))
		events.wantsEnd(message("wait"), bytesMessage("a moment"), closed(1001, "well then", true))
		p.expects(pong("are you there?")) // RFC 6455 §5.5.2: pings are answered until the peer's Close
		p.expectsEOF()
	})
}

func TestSimultaneousCloses(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		at, bt := record(t, a), record(t, b)
		acceptBoth(t, a, b)
		errA, errB := make(chan error), make(chan error)
		go func() { errA <- a.Close(4001, "from a") }()
		go func() { errB <- b.Close(4002, "from b") }()
		if first, second := <-errA, <-errB; first == nil && second == nil {
			at.wantsEnd(closed(4002, "from b", true))
			bt.wantsEnd(closed(4001, "from a", true))
		} else { // one Close arrived, and was answered, before the other call
			require.True(t, errors.Is(first, edgews.ErrClosed) != errors.Is(second, edgews.ErrClosed))
			waitDone(t, a)
			waitDone(t, b)
		}
	})
}

func TestFramesAfterTheCloseAreIgnored(t *testing.T) {
	withPeer(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		events := record(t, s)
		require.NoError(t, s.Accept())
		p.sends(text("1"), closing(1000, ""), text("2"), aFrame{bits: 0x70, opcode: 15})
		events.wantsEnd(message("1"), closed(1000, "", true))
		p.expects(closing(1000, ""))
		p.expectsEOF()
	})
}

func TestHalfOpen(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		at, bt := record(t, a), record(t, b)
		require.NoError(t, a.Accept())
		require.NoError(t, b.AcceptHalfOpen())
		require.NoError(t, a.Close(1000, "your turn"))
		bt.wantsEnd(closed(1000, "your turn", true))
		assert.Equal(t, edgews.Closing, b.ReadyState())
		require.NoError(t, b.Send("one more"))
		require.NoError(t, b.Write(within(t), edgews.Text, []byte("and another")))
		require.NoError(t, b.Flush(within(t)))
		at.wants(message("one more"), message("and another"))
		require.NoError(t, b.Close(1001, "done too"))
		at.wantsEnd(closed(1001, "done too", true))
		assert.Equal(t, edgews.Closed, b.ReadyState())
		assert.ErrorIs(t, b.Send("x"), edgews.ErrClosed)
	})
}

func TestHalfOpenPeerHangsUp(t *testing.T) {
	withPeer(t, edgews.Options{CloseTimeout: 100 * time.Millisecond}, func(t *testing.T, s *edgews.Socket, p *peer) {
		events := record(t, s)
		require.NoError(t, s.AcceptHalfOpen())
		p.sends(closing(1000, ""))
		events.wantsEnd(closed(1000, "", true))
		p.hangsUp()
		eventually(t, func() bool { return s.ReadyState() == edgews.Closed }, "closed")
		assert.ErrorIs(t, s.Close(1000, ""), edgews.ErrClosed)
	})
}

// The other end of a half-open pair ends after CloseTimeout. From then on Send returns ErrClosed.
func TestHalfOpenPairWhoseOtherEndTimedOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := edgews.NewPair()
		at := record(t, a)
		require.NoError(t, a.Accept())
		require.NoError(t, b.AcceptHalfOpen())
		require.NoError(t, a.Close(1000, ""))
		waitDone(t, b)
		at.wantsEnd(cut)
		assert.ErrorIs(t, b.Send("x"), edgews.ErrClosed)
	})
}

func TestCloseTimeout(t *testing.T) {
	overAPipe(t, edgews.Options{CloseTimeout: 3 * time.Second}, func(t *testing.T, s *edgews.Socket, p *peer) {
		events := record(t, s)
		require.NoError(t, s.Accept())
		start := time.Now()
		require.NoError(t, s.Close(1000, "no answer"))
		p.expects(closing(1000, "no answer"))
		events.wantsEnd(cut)
		assert.Equal(t, 3*time.Second, time.Since(start))
		assert.Equal(t, edgews.Closed, s.ReadyState())
		p.expectsEOF()
	})
}

func TestCloseTimeoutOfAPair(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := edgews.NewPair()
		events := record(t, a)
		require.NoError(t, a.Accept())
		start := time.Now()
		require.NoError(t, a.Close(1000, ""))
		events.wantsEnd(cut)
		assert.Equal(t, 5*time.Second, time.Since(start))
		bt := record(t, b)
		require.NoError(t, b.Accept())
		bt.wantsEnd(closed(1000, "", true))
	})
}

// CloseTimeout does not include the time that a slow peer needs for the messages before the Close.
func TestCloseTimeoutBeginsWhenTheCloseIsWritten(t *testing.T) {
	overAPipe(t, edgews.Options{CloseTimeout: time.Second}, func(t *testing.T, s *edgews.Socket, p *peer) {
		events := record(t, s)
		require.NoError(t, s.Accept())
		for range 4 {
			require.NoError(t, s.SendBytes(make([]byte, 100_000)))
		}
		require.NoError(t, s.Close(1000, "after all this"))
		for range 4 {
			time.Sleep(2 * time.Second)
			require.Len(t, p.next().payload, 100_000)
		}
		p.expects(closing(1000, "after all this"))
		p.sends(closing(1000, ""))
		events.wantsEnd(closed(1000, "", true))
	})
}

func TestConnectionLost(t *testing.T) {
	withPeer(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		events := record(t, s)
		require.NoError(t, s.Accept())
		p.sends(text("so long"))
		p.hangsUp()
		events.wantsEnd(message("so long"), cut)
		assert.Equal(t, edgews.Closed, s.ReadyState())
		_, err := s.Receive(within(t))
		assert.EqualError(t, err, s.Err().Error())
	})
}

func TestConnectionLostInTheMiddleOfAMessage(t *testing.T) {
	withPeer(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		events := record(t, s)
		require.NoError(t, s.Accept())
		p.sends(part(text("half a"), false))
		b := p.encode(continuation("message", true))
		p.sendsBytes(b[:len(b)-3])
		p.hangsUp()
		events.wantsEnd(cut)
	})
}

func TestReadyStateInTheCloseEvent(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		states := make(chan edgews.ReadyState, 2)
		b.OnClose(func(e edgews.CloseEvent) {
			states <- e.Target.ReadyState()
			assert.NoError(t, e.Target.Err(), "Done is not closed yet")
		})
		acceptBoth(t, a, b)
		assert.Equal(t, edgews.Open, b.ReadyState())
		require.NoError(t, a.Close(1000, ""))
		assert.Equal(t, edgews.Closed, <-states)
		waitDone(t, a)
	})
}

// A client's Close without a code is sent with an empty payload: 1005 must not be sent (RFC 6455 §7.4.1).
func TestClientSide(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, p := clientAndPeer(t, edgews.Options{})
		events := record(t, s)
		require.NoError(t, s.Accept())
		require.NoError(t, s.Send("masked"))
		p.expects(text("masked"))
		p.sends(text("bare"))
		events.wants(message("bare"))
		require.NoError(t, s.Close(0, ""))
		p.expects(closing(0, ""))
		p.sends(closing(0, ""))
		events.wantsEnd(closed(1005, "", true))
		assert.Equal(t, "ws://pipe.test/", s.URL())
	})
}

func TestClientRefusesMaskedFrames(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, p := clientAndPeer(t, edgews.Options{})
		events := record(t, s)
		require.NoError(t, s.Accept())
		f := text("x")
		f.bare = true
		p.sends(f)
		p.expectsClose(1002)
		p.hangsUp()
		events.wants(failed("must not mask"))
		waitDone(t, s)
	})
}
