package edgews_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inflates returns what a compressed payload says, behind what the peer has got before.
func inflates(t *testing.T, payload, before string) string {
	t.Helper()
	r := flate.NewReaderDict(strings.NewReader(payload+"\x00\x00\xff\xff\x01\x00\x00\xff\xff"), []byte(before[max(0, len(before)-32<<10):]))
	p, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(p)
}

// sentSizes sends the messages and returns the sizes of their payloads. With takeover the peer keeps what it has got.
func sentSizes(t *testing.T, send func(string) error, p *peer, takeover bool, messages []string) (sizes []int) {
	before := ""
	for _, m := range messages {
		require.NoError(t, send(m))
		f := p.next()
		require.NotZero(t, f.bits&rsv1, "not compressed")
		require.Equal(t, m, inflates(t, f.payload, before))
		if takeover {
			before += m
		}
		sizes = append(sizes, len(f.payload))
	}
	return sizes
}

// feedMessage returns the i-th of a row of messages of so many bytes: names repeat, values do not.
func feedMessage(i, size int) string {
	r := rand.New(rand.NewPCG(1, uint64(i)))
	var p []byte
	for len(p) < size {
		p = fmt.Appendf(p, `{"type":"message","id":"%016x","room":{"id":"r%d"},"key":"%016x"},`, r.Uint64(), r.IntN(400), r.Uint64())
	}
	return string(p[:size])
}

// far returns messages of which the last is the first again, behind 20 KiB of others.
func far() []string {
	messages := []string{feedMessage(0, 1000)}
	for i := range 20 {
		messages = append(messages, feedMessage(i+1, 1000))
	}
	return append(messages, messages[0])
}

// A higher level refers to all of the window, unless the peer asks for messages that stand alone.
func TestLevelAndTakeover(t *testing.T) {
	for _, tt := range []struct {
		level    int
		offer    string
		takeover bool
		found    bool
	}{
		{0, "permessage-deflate", true, false},
		{1, "permessage-deflate", true, false},
		{2, "permessage-deflate", true, true},
		{6, "permessage-deflate", true, true},
		{9, "permessage-deflate", true, true},
		{6, "permessage-deflate; server_max_window_bits=12", true, false},
		{6, "permessage-deflate; server_no_context_takeover", false, false},
	} {
		t.Run(fmt.Sprintf("%d/%s", tt.level, tt.offer), func(t *testing.T) {
			s, p := overTCP.serverAndPeer(t, edgews.Options{Compression: &edgews.Compression{Level: tt.level}}, tt.offer)
			require.NoError(t, s.Accept())
			sizes := sentSizes(t, s.Send, p, tt.takeover, far())
			last := sizes[len(sizes)-1]
			assert.Equal(t, tt.found, last < 60, "the repeated message takes %d bytes", last)
		})
	}
}

// Sockets whose options differ in the level only do not share them.
func TestLevelIsOfASocket(t *testing.T) {
	var fast, small int
	for _, level := range []int{1, 6, 1, 6} {
		s, p := overTCP.serverAndPeer(t, edgews.Options{Compression: &edgews.Compression{Level: level}}, "permessage-deflate")
		require.NoError(t, s.Accept())
		sizes := sentSizes(t, s.Send, p, true, far())
		size := sizes[len(sizes)-1]
		if level == 1 {
			fast = size
		} else {
			small = size
		}
	}
	assert.Less(t, small, fast)
}

// A prepared message goes to sockets of each level and window in the form that is theirs.
func TestPreparedAtEachLevel(t *testing.T) {
	text := strings.Join(far(), "\n")
	prepared := edgews.Prepare(edgews.Text, []byte(text))
	sizes := map[string]int{}
	for range 2 {
		for _, level := range []int{0, 1, 4, 6} {
			for _, offer := range []string{"permessage-deflate", "permessage-deflate; server_max_window_bits=9"} {
				s, p := overTCP.serverAndPeer(t, edgews.Options{Compression: &edgews.Compression{Level: level}}, offer)
				require.NoError(t, s.Accept())
				// The second one may refer to nothing either, but what follows may refer to it.
				got := sentSizes(t, func(string) error { return s.SendPrepared(prepared) }, p, true, []string{text, text})
				assert.Equal(t, got[0], got[1])
				key := fmt.Sprint(max(level, 1), offer)
				if before, ok := sizes[key]; ok {
					assert.Equal(t, before, got[0], key)
				}
				sizes[key] = got[0]
				require.NoError(t, s.Send(text[len(text)-2000:]))
				f := p.next()
				require.Equal(t, text[len(text)-2000:], inflates(t, f.payload, text+text))
			}
		}
	}
	assert.Len(t, sizes, 6)
	assert.Less(t, sizes["6permessage-deflate"], sizes["1permessage-deflate"])
	assert.Less(t, sizes["6permessage-deflate"], sizes["6permessage-deflate; server_max_window_bits=9"])
}

// Every way to send, in both directions, with all windows: the peer's history follows.
func TestLevelsInBothDirections(t *testing.T) {
	for _, c := range []edgews.Compression{
		{Level: 2, Threshold: 1}, {Level: 6, Threshold: 1, PeerWindowBits: 15}, {Level: 9, Threshold: 1, WindowBits: 8, PeerWindowBits: 8},
		{Level: 6, Threshold: 1, NoContextTakeover: true}, {Level: 6, Threshold: 1, PeerWindowBits: 10, PeerNoContextTakeover: true},
	} {
		t.Run(fmt.Sprintf("level=%d,bits=%d,%d", c.Level, c.WindowBits, c.PeerWindowBits), func(t *testing.T) {
			overWires(t, edgews.Options{Compression: &c, SendBuffer: 16 << 20}, func(t *testing.T, a, b *edgews.Socket) {
				got := make(chan string, 10)
				for _, s := range []*edgews.Socket{a, b} {
					s.OnMessage(func(e edgews.MessageEvent) { got <- e.Text() })
				}
				acceptBoth(t, a, b)
				sendsEveryWay(t, a, got)
				sendsEveryWay(t, b, got)
			})
		})
	}
}

func sendsEveryWay(t *testing.T, from *edgews.Socket, got <-chan string) {
	receives := func(want string) {
		t.Helper()
		select {
		case m := <-got:
			require.True(t, want == m, "message differs")
		case <-within(t).Done():
			t.Fatal("no message")
		}
	}
	noise := string(bytes.Repeat([]byte{0, 0xff, 7, 90, 13}, 3)) + "!" // does not shrink: sent as it is
	for i, n := range []int{1, 40, 300, 2000, 70_000, 300, 1} {
		text := feedMessage(i, n)
		require.NoError(t, from.Send(text))
		receives(text)
		require.NoError(t, from.SendBytes([]byte(noise)))
		receives(noise)
		require.NoError(t, from.SendPrepared(edgews.Prepare(edgews.Text, []byte(text))))
		receives(text)
		w, err := from.NextWriter(within(t), edgews.Text)
		require.NoError(t, err)
		for _, piece := range []string{text, "", text[:len(text)/2]} {
			_, err := io.WriteString(w, piece)
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		receives(text + text[:len(text)/2])
	}
}

// An answer that is compressed at a higher level allocates nothing either, once the history is full.
func TestLevelAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops at random under the race detector")
	}
	s, p := overTCP.serverAndPeer(t, edgews.Options{Compression: &edgews.Compression{Level: 6}}, "permessage-deflate")
	require.NoError(t, s.Accept())
	messages := make([]string, 64)
	for i := range messages {
		messages[i] = feedMessage(i, 1000)
	}
	i, answers := 0, skipper{r: p.r}
	send := func() {
		if err := s.Send(messages[i%len(messages)]); err != nil {
			t.Error(err)
		}
		if err := answers.skip(); err != nil {
			t.Error(err)
		}
		i++
	}
	for range 40 {
		send()
	}
	each := mallocs(1000, send)
	// On a busy machine goroutines change processors, and find the pools there empty. A writer is 17 allocations.
	assert.Less(t, each, 1.0)
	assert.Equal(t, i, answers.compressed)
}
