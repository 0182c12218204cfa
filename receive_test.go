package edgews_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReceiveAndTheEnd(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		events := record(t, b)
		require.NoError(t, a.Accept())
		for _, s := range []string{"1", "2", "3"} {
			require.NoError(t, a.Send(s))
		}
		require.NoError(t, a.Close(4000, "over"))
		for _, want := range []string{"1", "2", "3"} {
			m, err := b.Receive(within(t))
			require.NoError(t, err)
			require.Equal(t, want, m.Text())
		}
		for range 3 {
			_, err := b.Receive(within(t))
			require.Equal(t, &edgews.CloseError{Code: 4000, Reason: "over", WasClean: true}, err)
			_, _, err = b.NextReader(within(t))
			require.Equal(t, &edgews.CloseError{Code: 4000, Reason: "over", WasClean: true}, err)
		}
		events.wantsEnd(closed(4000, "over", true)) // the listener gets no messages
	})
}

func TestCancelledReceiveLosesNothing(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		require.NoError(t, a.Accept())
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		go func() {
			for i := range 200 {
				assert.NoError(t, a.Write(t.Context(), edgews.Binary, []byte{byte(i)}))
			}
		}()
		for i := 0; i < 200; {
			_, err := b.Receive(cancelled)
			require.ErrorIs(t, err, context.Canceled)
			m, err := receiveFor(b, 50*time.Microsecond)
			if errors.Is(err, context.DeadlineExceeded) {
				continue
			}
			require.NoError(t, err)
			require.Equal(t, byte(i), m.Data[0])
			i++
		}
	})
}

func TestOneReceiverAtATime(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		require.NoError(t, a.Accept())
		errs := make(chan error, 2)
		ctx, cancel := context.WithCancel(t.Context())
		for range 2 {
			go func() {
				_, err := b.Receive(ctx)
				errs <- err
			}()
		}
		require.ErrorIs(t, <-errs, edgews.ErrReceiving)
		cancel()
		require.ErrorIs(t, <-errs, context.Canceled)
	})
}

func TestDataIsValidUntilTheNextCall(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		require.NoError(t, a.Accept())
		require.NoError(t, a.Send("first"))
		m, err := b.Receive(within(t))
		require.NoError(t, err)
		for range 50 {
			require.NoError(t, a.Send("others"))
		}
		_, err = a.Ping(within(t)) // returns when b has read the messages before the Ping
		require.NoError(t, err)
		require.Equal(t, "first", m.Text())
	})
}

func TestMessagesEnd(t *testing.T) {
	cases := []struct {
		name   string
		code   edgews.StatusCode
		silent bool
	}{
		{"1000", 1000, true},
		{"1001", 1001, true},
		{"no code", 0, true},
		{"1011", 1011, false},
		{"4000", 4000, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
				require.NoError(t, a.Accept())
				require.NoError(t, a.Send("only"))
				require.NoError(t, a.Close(c.code, ""))
				var seen []string
				for m, err := range b.Messages(within(t)) {
					if err != nil {
						seen = append(seen, "error")
						continue
					}
					seen = append(seen, m.Text())
				}
				want := []string{"only"}
				if !c.silent {
					want = append(want, "error")
				}
				assert.Equal(t, want, seen)
			})
		})
	}
}

func TestMessagesOfALostConnection(t *testing.T) {
	withPeer(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		_, err := receiveFor(s, time.Microsecond)
		require.Error(t, err)
		p.sends(text("x"))
		p.hangsUp()
		var errs []error
		for _, err := range s.Messages(within(t)) {
			errs = append(errs, err)
		}
		require.Len(t, errs, 2)
		assert.ErrorContains(t, errs[1], "1006")
	})
}

func TestLeavingTheLoopKeepsTheSocketOpen(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		require.NoError(t, a.Accept())
		for _, s := range []string{"1", "2"} {
			require.NoError(t, a.Send(s))
		}
		for range 2 {
			for m, err := range b.Messages(within(t)) {
				require.NoError(t, err)
				require.NoError(t, b.Send("re "+m.Text()))
				break
			}
		}
		for _, want := range []string{"re 1", "re 2"} {
			m, err := a.Receive(within(t))
			require.NoError(t, err)
			require.Equal(t, want, m.Text())
		}
	})
}

func TestMessagesBeforeTheErrorStillArrive(t *testing.T) {
	withPeer(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		_, err := receiveFor(s, time.Microsecond)
		require.Error(t, err)
		p.sends(text("1"), text("2"), aFrame{bits: fin, opcode: 5})
		for _, want := range []string{"1", "2"} {
			m, err := s.Receive(within(t))
			require.NoError(t, err)
			require.Equal(t, want, m.Text())
		}
		_, err = s.Receive(within(t))
		var broken *edgews.ProtocolError
		require.ErrorAs(t, err, &broken)
		assert.Equal(t, "RFC 6455 §5.2", broken.Section)
		var end *edgews.CloseError
		require.ErrorAs(t, err, &end)
		assert.False(t, end.WasClean)
		p.expectsClose(1002)
	})
}

// A peer that sends faster than the socket receives has to wait: its messages stay in its own queue.
func TestFullInboxStopsThePeer(t *testing.T) {
	for _, size := range []int{0, 1, 1000, 100_000} {
		stops := func(t *testing.T, a, b *edgews.Socket) {
			require.NoError(t, a.Accept())
			_, err := receiveFor(b, time.Microsecond)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			chunk := make([]byte, size)
			sent := 0
			for writeFor(a, 50*time.Millisecond, chunk) == nil {
				sent++
				require.Less(t, sent, 1_000_000, "no back-pressure for %d-byte messages", size)
			}
			for range sent {
				m, err := b.Receive(within(t))
				require.NoError(t, err)
				require.Len(t, m.Data, size)
			}
		}
		opts := edgews.Options{SendBuffer: 100_000, WriteTimeout: -1, KeepAlive: -1, Compression: uncompressed.Compression}
		if size > 1000 { // the kernel's buffers take too many small ones
			overWires(t, opts, stops)
			continue
		}
		bubble(t, func(t *testing.T) {
			a, b := overPipe.connect(t, opts)
			stops(t, a, b)
		})
	}
}

func writeFor(s *edgews.Socket, d time.Duration, p []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return s.Write(ctx, edgews.Binary, p)
}

func TestListenersGetNothingOnceReceiveWasCalled(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		b.OnMessage(func(edgews.MessageEvent) { t.Error("is for Receive") })
		_, err := receiveFor(b, time.Microsecond)
		require.Error(t, err)
		require.NoError(t, a.Accept())
		require.NoError(t, a.Send("x"))
		_, err = b.Receive(within(t))
		require.NoError(t, err)
	})
}

func TestRateLimit(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	cases := []struct {
		name  string
		limit edgews.RateLimit
		first aFrame
		rest  aFrame // many times: on a busy machine, time passes while the first ones are received
	}{
		{"messages", edgews.RateLimit{Messages: 2}, text("1"), text("2")},
		{"bytes", edgews.RateLimit{Bytes: 10}, text("12345"), text("67890")},
		{"bytes of a message in pieces", edgews.RateLimit{Bytes: 150_000}, part(text(long), false), continuation(long, false)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			withPeer(t, edgews.Options{RateLimit: c.limit}, func(t *testing.T, s *edgews.Socket, p *peer) {
				received := make(chan error, 1)
				go func() {
					for {
						_, r, err := s.NextReader(context.Background())
						for b := make([]byte, 1000); err == nil; {
							_, err = r.Read(b)
						}
						if err.Error() != "EOF" {
							received <- err
							return
						}
					}
				}()
				go p.writesAll(p.encode(append([]aFrame{c.first}, slices.Repeat([]aFrame{c.rest}, 100)...)...))
				p.expects(closing(1008, "rate limit exceeded"))
				assert.ErrorIs(t, <-received, edgews.ErrRateLimited)
			})
		})
	}
}

func TestRateLimitRefills(t *testing.T) {
	overAPipe(t, edgews.Options{RateLimit: edgews.RateLimit{Messages: 10, Bytes: 100}}, func(t *testing.T, s *edgews.Socket, p *peer) {
		events := record(t, s)
		require.NoError(t, s.Accept())
		for range 50 {
			p.sends(text("0123456789"))
			events.wants(message("0123456789"))
			time.Sleep(100 * time.Millisecond)
		}
		p.closesCleanly(1000, "")
	})
}
