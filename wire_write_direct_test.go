package edgews_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// largeMessageOf returns message i of a sender, which has n bytes.
func largeMessageOf(sender, i, n int) string {
	label := fmt.Sprintf("%d %d ", sender, i)
	return label + strings.Repeat(string(rune('a'+(sender+i)%26)), n-len(label))
}

// largeSizes are sizes of messages that are copied, that are written from the sender's memory, and that do not fit into the kernel's buffers.
var largeSizes = []int{100, 15 << 10, 16 << 10, 40 << 10, 300 << 10, 2 << 20, 17 << 10}

// Large messages, which are written from the memory of their senders, and small ones keep their order for each sender, also if the peer reads
// slowly. Pongs come between whole frames.
func TestLargeMessagesOfManySenders(t *testing.T) {
	const senders, rounds = 3, 4
	withPeer(t, edgews.Options{WriteTimeout: -1, KeepAlive: -1}, func(t *testing.T, s *edgews.Socket, p *peer) {
		require.NoError(t, s.Accept())
		var sending sync.WaitGroup
		for sender := range senders {
			sending.Go(func() {
				for i := range rounds * len(largeSizes) {
					p := []byte(largeMessageOf(sender, i, largeSizes[i%len(largeSizes)]))
					assert.NoError(t, s.Write(t.Context(), edgews.Binary, p))
					clear(p) // the socket must not need it any more
				}
			})
		}
		var next [senders]int
		pongs := 0
		for got := 0; got < senders*rounds*len(largeSizes); {
			if got%10 == pongs {
				p.sends(ping("!"))
				pongs++
			}
			f := p.next()
			if f.opcode == pong("").opcode {
				require.Equal(t, pong("!"), f)
				continue
			}
			var sender, i int
			_, err := fmt.Sscan(f.payload[:min(len(f.payload), 10)], &sender, &i)
			require.NoError(t, err)
			require.Equal(t, next[sender], i)
			require.True(t, f.payload == largeMessageOf(sender, i, largeSizes[i%len(largeSizes)]), "sender %d, message %d", sender, i)
			next[sender]++
			got++
		}
		sending.Wait()
		require.NoError(t, s.Flush(within(t)))
		assert.Zero(t, s.BufferedAmount())
	})
}

// A listener answers with the bytes that it got, which lie in the read buffer, for messages that arrive alone, several at once or in parts, and
// of which each size makes the next read larger or smaller.
func TestEchoOfLargeMessages(t *testing.T) {
	withPeer(t, edgews.Options{KeepAlive: -1}, func(t *testing.T, s *edgews.Socket, p *peer) {
		s.OnMessage(func(e edgews.MessageEvent) { assert.NoError(t, s.Write(t.Context(), e.Kind, e.Data)) })
		require.NoError(t, s.Accept())
		var sent []aFrame
		for round := range 3 {
			for i, n := range largeSizes {
				for range 1 + i*round%3 {
					sent = append(sent, binaryOf(largeMessageOf(round, i, n)))
				}
			}
		}
		for range 200 { // many in one read, after a large one
			sent = append(sent, binaryOf("small"))
		}
		go p.writesAll(p.encode(sent...))
		for i, want := range sent {
			got := p.next()
			require.Equal(t, want.opcode, got.opcode)
			require.True(t, want.payload == got.payload, "message %d", i)
		}
	})
}
