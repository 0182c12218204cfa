package edgews_test

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A half-open socket whose peer has failed, or has been disconnected, is CLOSED after its close event, in whatever order the two ended.
func TestHalfOpenSocketIsClosedWhenItsPeerIsLost(t *testing.T) {
	panics := func(b *edgews.Socket) { b.OnMessage(func(edgews.MessageEvent) { panic("on purpose") }) }
	cases := []struct {
		name  string
		run   func(t *testing.T, a, b *edgews.Socket)
		ended string
	}{
		{"the peer's listener panics", func(t *testing.T, a, b *edgews.Socket) {
			panics(b)
			require.NoError(t, a.AcceptHalfOpen())
			require.NoError(t, b.Accept())
			require.NoError(t, a.Send("boom"))
		}, closed(1011, "internal error", true)},
		{"the peer's listener panics after its Close", func(t *testing.T, a, b *edgews.Socket) {
			panics(b)
			require.NoError(t, a.AcceptHalfOpen())
			require.NoError(t, b.Accept())
			require.NoError(t, b.Close(4000, "bye"))
			waitDone(t, a)
			if a.Send("boom") == nil { // on a busy machine, CloseTimeout may be over
				eventually(t, func() bool { return a.ReadyState() == edgews.Closed }, "closed by the panic")
			}
		}, closed(4000, "bye", true)},
		{"the peer's close listener panics", func(t *testing.T, a, b *edgews.Socket) {
			panics(b)
			b.OnClose(func(edgews.CloseEvent) { panic("again") })
			require.NoError(t, a.AcceptHalfOpen())
			require.NoError(t, b.Accept())
			require.NoError(t, a.Send("boom"))
		}, closed(1011, "internal error", true)},
		{"the peer ends by CloseTimeout", func(t *testing.T, a, b *edgews.Socket) {
			require.NoError(t, a.AcceptHalfOpen())
			require.NoError(t, b.Accept())
			require.NoError(t, b.Close(4000, "bye"))
			waitDone(t, b)
		}, closed(4000, "bye", true)},
		{"the close listener takes longer than CloseTimeout", func(t *testing.T, a, b *edgews.Socket) {
			a.OnClose(func(edgews.CloseEvent) { waitDone(t, b) })
			require.NoError(t, a.AcceptHalfOpen())
			require.NoError(t, b.Accept())
			require.NoError(t, b.Close(4000, "bye"))
		}, closed(4000, "bye", true)},
		{"it uses Receive", func(t *testing.T, a, b *edgews.Socket) {
			panics(b)
			require.NoError(t, a.AcceptHalfOpen())
			require.NoError(t, a.Send("boom"))
			require.NoError(t, b.Accept())
			_, err := a.Receive(within(t))
			var end *edgews.CloseError
			require.ErrorAs(t, err, &end)
		}, closed(1011, "internal error", true)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			both(t, edgews.Options{CloseTimeout: 200 * time.Millisecond}, func(t *testing.T, a, b *edgews.Socket) {
				at := record(t, a)
				c.run(t, a, b)
				at.wantsEnd(c.ended)
				eventually(t, func() bool { return a.ReadyState() == edgews.Closed }, "closed")
				assert.ErrorIs(t, a.Send("x"), edgews.ErrClosed)
				assert.ErrorIs(t, a.Write(within(t), edgews.Text, []byte("x")), edgews.ErrClosed)
				assert.ErrorIs(t, a.Close(1000, ""), edgews.ErrClosed)
				waitDone(t, b)
			})
		})
	}
}

func TestHalfOpenEndAcceptedAfterItsPeerIsLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := edgews.NewPair()
		at := record(t, a)
		require.NoError(t, b.Accept())
		require.NoError(t, b.Send("first"))
		require.NoError(t, b.Close(4000, "bye"))
		waitDone(t, b)
		assert.Equal(t, edgews.Open, a.ReadyState())
		require.NoError(t, a.AcceptHalfOpen())
		at.wantsEnd(message("first"), closed(4000, "bye", true))
		synctest.Wait()
		assert.Equal(t, edgews.Closed, a.ReadyState())
	})
}

// Flush and Write fail when the peer takes no more messages.
func TestHalfOpenSocketDoesNotWaitForALostPeer(t *testing.T) {
	waits := map[string]func(t *testing.T, a *edgews.Socket) error{
		"Flush": func(t *testing.T, a *edgews.Socket) error { return a.Flush(within(t)) },
		"Write": func(t *testing.T, a *edgews.Socket) error {
			return a.Write(within(t), edgews.Binary, make([]byte, 2<<20))
		},
	}
	for name, wait := range waits {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, b := edgews.NewPair()
				require.NoError(t, a.AcceptHalfOpen())
				go b.Receive(t.Context()) // only once
				require.NoError(t, a.Send("first"))
				synctest.Wait()
				require.NoError(t, a.Send("not taken"))
				require.NoError(t, b.Close(1000, ""))
				waitDone(t, a)
				start := time.Now()
				assert.ErrorIs(t, wait(t, a), edgews.ErrClosed)
				assert.Equal(t, 5*time.Second, time.Since(start), "CloseTimeout")
			})
		})
	}
}

// A pair overwrites the bytes of a message when its receiver may no longer use them, so that a test over a pair finds a
// program that keeps them. On a network connection later messages overwrite them.
func TestPairOverwritesTheBytesOfAMessage(t *testing.T) {
	const first = "the first message"
	overwritten := bytes.Repeat([]byte{0xDB}, len(first))
	receive := func(t *testing.T, b *edgews.Socket) []byte {
		m, err := b.Receive(within(t))
		require.NoError(t, err)
		require.Equal(t, first, m.Text())
		return m.Data
	}
	cases := map[string]func(t *testing.T, b *edgews.Socket) (kept []byte){
		"listener": func(t *testing.T, b *edgews.Socket) (kept []byte) {
			b.OnMessage(func(e edgews.MessageEvent) {
				if kept == nil {
					kept = e.Data
					synctest.Wait()
					assert.Equal(t, first, string(kept), "until the listener returns")
				}
			})
			require.NoError(t, b.Accept())
			waitDone(t, b)
			return kept
		},
		"Receive": func(t *testing.T, b *edgews.Socket) []byte {
			kept := receive(t, b)
			_, err := b.Receive(within(t))
			require.NoError(t, err)
			return kept
		},
		"NextReader": func(t *testing.T, b *edgews.Socket) []byte {
			kept := receive(t, b)
			_, _, err := b.NextReader(within(t))
			require.NoError(t, err)
			return kept
		},
		"Messages": func(t *testing.T, b *edgews.Socket) (kept []byte) {
			for m, err := range b.Messages(within(t)) {
				require.NoError(t, err)
				if kept == nil {
					kept = m.Data
				}
			}
			return kept
		},
		"object": func(t *testing.T, b *edgews.Socket) (kept []byte) {
			n := newRooms(t, nil, func(r *room) {
				r.message = func(_ context.Context, _ *edgews.Socket, m edgews.Message) error {
					if kept == nil {
						kept = m.Data
						assert.Equal(t, first, string(kept))
					}
					return nil
				}
			})
			require.NoError(t, n.wake(n.NewUniqueID()).AcceptWebSocket(b))
			waitDone(t, b)
			return kept
		},
	}
	for name, keep := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, b := edgews.NewPair()
				require.NoError(t, a.Accept())
				require.NoError(t, a.Send(first))
				require.NoError(t, a.Send("a second one"))
				require.NoError(t, a.Close(1000, ""))
				assert.Equal(t, overwritten, keep(t, b))
			})
		})
	}
}

// The bytes of a message that was sent in pieces, and joined, are overwritten too.
func TestPairOverwritesAMessageOfPieces(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := edgews.NewPair()
		require.NoError(t, a.Accept())
		w, err := a.NextWriter(t.Context(), edgews.Binary)
		require.NoError(t, err)
		for range 10 {
			_, err = w.Write(make([]byte, 1000))
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		m, err := b.Receive(t.Context())
		require.NoError(t, err)
		require.Equal(t, make([]byte, 10_000), m.Data)
		require.NoError(t, a.Close(1000, ""))
		_, err = b.Receive(t.Context())
		require.Error(t, err)
		assert.Equal(t, bytes.Repeat([]byte{0xDB}, 10_000), m.Data)
	})
}
