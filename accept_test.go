package edgews_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSendAndCloseBeforeAcceptFail(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, _ *edgews.Socket) {
		assert.ErrorIs(t, a.Send("x"), edgews.ErrNotAccepted)
		assert.ErrorIs(t, a.SendBytes(nil), edgews.ErrNotAccepted)
		assert.ErrorIs(t, a.SendPrepared(edgews.Prepare(edgews.Text, nil)), edgews.ErrNotAccepted)
		assert.ErrorIs(t, a.Close(1000, ""), edgews.ErrNotAccepted)
		assert.Equal(t, edgews.Open, a.ReadyState())
		assert.NoError(t, a.Err())
		assert.Zero(t, a.BufferedAmount())
	})
}

func TestSecondAcceptHasNoEffect(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		events := record(t, b)
		acceptBoth(t, a, b)
		require.NoError(t, b.AcceptHalfOpen())
		require.NoError(t, b.Accept())
		require.NoError(t, a.Close(1000, "once"))
		events.wantsEnd(closed(1000, "once", true)) // answered automatically: the first Accept decides
		waitDone(t, a)
	})
}

func TestMessagesSentBeforeAcceptArrive(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		require.NoError(t, a.Accept())
		for _, s := range []string{"one", "", "three"} {
			require.NoError(t, a.Send(s))
		}
		require.NoError(t, a.Close(3000, "and gone"))
		events := record(t, b)
		require.NoError(t, b.Accept())
		events.wantsEnd(message("one"), message(""), message("three"), closed(3000, "and gone", true))
		waitDone(t, a)
	})
}

func TestReceiveAccepts(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		require.NoError(t, a.Accept())
		require.NoError(t, a.Send("x"))
		m, err := b.Receive(within(t))
		require.NoError(t, err)
		assert.Equal(t, "x", m.Text())
		require.NoError(t, b.Send("y"))
	})
}

func TestSendAndReceiveEveryKind(t *testing.T) {
	sizes := []int{0, 1, 125, 126, 127, 65535, 65536, 1 << 20}
	for _, compression := range []*edgews.Compression{nil, {Disable: true}, {Threshold: 1, NoContextTakeover: true}} {
		both(t, edgews.Options{Compression: compression, SendBuffer: 64 << 20}, func(t *testing.T, a, b *edgews.Socket) {
			events := record(t, b)
			acceptBoth(t, a, b)
			for _, n := range sizes {
				payload := strings.Repeat("x", n)
				require.NoError(t, a.Write(within(t), edgews.Text, []byte(payload)))
				require.NoError(t, a.Write(within(t), edgews.Binary, []byte(payload)))
				events.wants(message(payload), bytesMessage(payload))
				require.NoError(t, a.SendPrepared(edgews.Prepare(edgews.Binary, []byte(payload))))
				events.wants(bytesMessage(payload))
			}
			require.NoError(t, a.Close(1000, ""))
			events.wantsEnd(closed(1000, "", true))
			waitDone(t, a)
		})
	}
}

func TestServerSendsPrepared(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, client, server *edgews.Socket) {
		events := record(t, client)
		acceptBoth(t, client, server)
		big := edgews.Prepare(edgews.Text, []byte(strings.Repeat("prepared ", 1<<12)))
		small := edgews.Prepare(edgews.Text, []byte("small"))
		for range 3 {
			require.NoError(t, server.SendPrepared(big))
			require.NoError(t, server.SendPrepared(small))
			require.NoError(t, server.Send(strings.Repeat("plain ", 100)))
		}
		for range 3 {
			events.wants("text of 36864 bytes", message("small"), "text of 600 bytes")
		}
	})
}

func TestPreparedIsChecked(t *testing.T) {
	a, _ := edgews.NewPair()
	require.NoError(t, a.Accept())
	assert.ErrorContains(t, a.SendPrepared(nil), "nil *Prepared")
	assert.ErrorContains(t, a.SendPrepared(edgews.Prepare(7, nil)), "kind 7")
	assert.ErrorIs(t, a.SendPrepared(edgews.Prepare(edgews.Text, []byte{0xff})), edgews.ErrInvalidUTF8)
	assert.NoError(t, a.SendPrepared(edgews.Prepare(edgews.Binary, []byte{0xff})))
}

func TestSentBytesAreNotRetained(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		events := record(t, b)
		require.NoError(t, a.Accept())
		p := []byte("before")
		require.NoError(t, a.SendBytes(p))
		prepared := edgews.Prepare(edgews.Binary, p)
		copy(p, "after!")
		require.NoError(t, a.SendPrepared(prepared))
		require.NoError(t, a.Write(within(t), edgews.Binary, p))
		copy(p, "......")
		require.NoError(t, b.Accept())
		events.wants(bytesMessage("before"), bytesMessage("before"), bytesMessage("after!"))
		assert.Equal(t, "......", string(p))
	})
}

func TestTextIsCheckedBeforeItIsSent(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		events := record(t, b)
		acceptBoth(t, a, b)
		assert.ErrorIs(t, a.Send("\xff"), edgews.ErrInvalidUTF8)
		assert.ErrorIs(t, a.Send("half of \xe2\x82"), edgews.ErrInvalidUTF8)
		assert.ErrorIs(t, a.Send("surrogate \xed\xa0\x80"), edgews.ErrInvalidUTF8)
		assert.ErrorIs(t, a.Write(within(t), edgews.Text, []byte{0xff}), edgews.ErrInvalidUTF8)
		assert.ErrorContains(t, a.Write(within(t), 0, nil), "kind 0")
		require.NoError(t, a.Send("€"))
		events.wants(message("€"))
	})
}

func TestEachSenderKeepsItsOrder(t *testing.T) {
	const senders, each = 4, 200
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		received := make(chan byte, senders*each)
		b.OnMessage(func(e edgews.MessageEvent) { received <- e.Data[0]; received <- e.Data[1] })
		acceptBoth(t, a, b)
		for i := range senders {
			go func() {
				for n := range each {
					assert.NoError(t, a.Write(t.Context(), edgews.Binary, []byte{byte(i), byte(n)}))
				}
			}()
		}
		var next [senders]byte
		for range senders * each {
			i, n := <-received, <-received
			require.Equal(t, next[i], n, "sender %d", i)
			next[i]++
		}
	})
}

func TestStringMethods(t *testing.T) {
	var words []string
	for s := edgews.Connecting; s <= edgews.Closed+1; s++ {
		words = append(words, s.String())
	}
	assert.Equal(t, []string{"CONNECTING", "OPEN", "CLOSING", "CLOSED", "ReadyState(4)"}, words)
	assert.Equal(t, "1001 going away", edgews.StatusGoingAway.String())
	assert.Equal(t, "4999", edgews.StatusCode(4999).String())
	assert.Equal(t, "text binary no kind", edgews.Text.String()+" "+edgews.Binary.String()+" "+edgews.Kind(0).String())
}

func TestMessageClone(t *testing.T) {
	m := edgews.Message{Kind: edgews.Text, Data: []byte("abc")}
	kept := m.Clone()
	m.Data[0] = 'x'
	assert.Equal(t, "abc", kept.Text())
}

// A pair needs no Close: the bubble would fail if a goroutine were left.
func TestIdlePairHasNoGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := edgews.NewPair()
		acceptBoth(t, a, b)
		require.NoError(t, a.Send("x"))
		require.NoError(t, b.Send("y"))
	})
}

// Without listeners a pair delivers its events at once, without waiting for a listener.
func TestPairWithoutListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := edgews.NewPair()
		acceptBoth(t, a, b)
		require.NoError(t, a.Send("without listener"))
		synctest.Wait()
		assert.Zero(t, a.BufferedAmount())
		require.NoError(t, a.Close(4000, "bye"))
		synctest.Wait()
		for _, s := range []*edgews.Socket{a, b} {
			assert.Equal(t, edgews.Closed, s.ReadyState())
			assert.Equal(t, &edgews.CloseError{Code: 4000, Reason: "bye", WasClean: true}, s.Err())
		}
	})
}

// Listeners that are added within 10 ms after Accept get all earlier events, in whatever order the listeners are added.
func TestListenersAddedWithinTheGraceAfterAccept(t *testing.T) {
	for _, tt := range []struct {
		name string
		late time.Duration
		want []string
	}{
		{"at once", 0, []string{"1", "2", "4000"}},
		{"within 10 ms", 9 * time.Millisecond, []string{"1", "2", "4000"}},
		{"after 10 ms", 11 * time.Millisecond, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := edgews.NewPair()
				require.NoError(t, a.Accept())
				require.NoError(t, a.Send("1"))
				require.NoError(t, a.Send("2"))
				require.NoError(t, a.Close(4000, ""))
				require.NoError(t, b.Accept())
				synctest.Wait()
				time.Sleep(tt.late)
				var got []string
				b.OnClose(func(e edgews.CloseEvent) { got = append(got, fmt.Sprint(uint16(e.Code))) })
				b.OnMessage(func(e edgews.MessageEvent) { got = append(got, e.Text()) })
				time.Sleep(time.Second)
				synctest.Wait()
				assert.Equal(t, tt.want, got)
			})
		})
	}
}

// Receive returns the messages that found no listener, and then the end.
func TestReceiveGetsMessagesWithoutListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := edgews.NewPair()
		acceptBoth(t, a, b)
		require.NoError(t, a.Send("1"))
		require.NoError(t, a.Close(1000, ""))
		time.Sleep(time.Second)
		m, err := b.Receive(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "1", m.Text())
		_, err = b.Receive(t.Context())
		assert.Equal(t, &edgews.CloseError{Code: 1000, WasClean: true}, err)
	})
}
