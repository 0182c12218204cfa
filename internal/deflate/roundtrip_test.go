package deflate

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var sizes = []int{0, 1, 20, 127, 128, 255, 256, 1000, 2047, 4095, 4096, 32767, 32768, 65536, 300000}

// setup has the negotiated parameters of one direction.
type setup struct {
	level    int
	bits     int
	takeover bool
}

func (s setup) String() string {
	return fmt.Sprintf("level=%d/bits=%d/takeover=%t", s.level, s.bits, s.takeover)
}

// maxMemory returns the largest history of a sender, in bytes.
func (s setup) maxMemory() int {
	switch {
	case !s.takeover:
		return 0
	case s.level < minFlateLevel:
		return min(1<<s.bits, maxHistory)
	}
	return 1 << s.bits
}

func setups() (all []setup) {
	for bits := MinWindowBits; bits <= MaxWindowBits; bits++ {
		all = append(all, setup{1, bits, false}, setup{1, bits, true})
	}
	return all
}

// peer is the receiver of a Compressor: a Decompressor, and the naive inflater with a history of exactly the window.
type peer struct {
	setup
	d        Decompressor
	hist     []byte
	distance int // the largest so far
}

func newPeer(s setup) *peer {
	p := &peer{setup: s}
	p.d.Init(s.bits, s.takeover)
	return p
}

// receives inflates the payload with both and expects msg.
func (p *peer) receives(t *testing.T, payload, msg []byte) {
	t.Helper()
	sent := slices.Clone(payload)
	got, err := p.d.Append([]byte("before"), payload, int64(len(msg)))
	require.NoError(t, err)
	require.True(t, bytes.Equal(append([]byte("before"), msg...), got), "inflated differs")
	require.True(t, bytes.Equal(sent, payload), "payload was changed")
	p.naiveReceives(t, payload, msg)
}

func (p *peer) naiveReceives(t *testing.T, payload, msg []byte) {
	t.Helper()
	want, distance, err := naiveMessage(payload, p.hist, 1<<p.bits)
	require.NoError(t, err, "refers to something outside the window of %d", 1<<p.bits)
	require.True(t, bytes.Equal(msg, want), "oracle differs")
	p.distance = max(p.distance, distance)
	if p.takeover {
		p.hist = slices.Clone(history(append(p.hist, msg...)).last(1 << p.bits))
	}
}

func TestRoundTrip(t *testing.T) {
	for _, s := range setups() {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			for _, c := range corpora {
				t.Run(c.name, func(t *testing.T) { checkSizes(t, s, c) })
			}
		})
	}
}

// checkSizes sends a message of each size after and before small ones, so that each has a history.
func checkSizes(t *testing.T, s setup, c corpus) {
	r := seeded()
	var sender Compressor
	sender.Init(s.level, s.bits, s.takeover)
	p := newPeer(s)
	for _, size := range sizes {
		if raceEnabled && size > 32768 {
			break // the naive inflater is slow
		}
		for _, n := range []int{size, 50, 700} {
			msg := c.message(r, n)
			payload := sender.Append(nil, msg)
			sender.Commit(msg)
			p.receives(t, payload, msg)
		}
	}
	assert.LessOrEqual(t, sender.Memory(), s.maxMemory())
	assert.LessOrEqual(t, p.d.Memory(), 1<<s.bits)
	if !s.takeover {
		assert.Zero(t, sender.Memory()+p.d.Memory())
	}
}

func TestManyMessages(t *testing.T) {
	for _, s := range setups() {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			r := seeded()
			var sender Compressor
			sender.Init(s.level, s.bits, s.takeover)
			p := newPeer(s)
			for range 400 {
				sendAtRandom(t, r, &sender, p, corpora[r.IntN(len(corpora))].message(r, r.IntN(2000)))
			}
			assert.Greater(t, p.distance, min(1<<s.bits, maxHistory)/2, "refers to little")
		})
	}
}

// sendAtRandom sends msg in one of the possible ways.
func sendAtRandom(t *testing.T, r *rand.Rand, sender *Compressor, p *peer, msg []byte) {
	var payload []byte
	switch r.IntN(8) {
	case 0: // compressed once for many connections
		payload = AppendStateless(nil, msg, p.level, p.bits)
		sender.Commit(msg)
	case 1: // compressed and not sent
		sender.Append(nil, chat(r, 500))
		return
	case 2: // sent uncompressed, in neither history
		return
	case 3:
		cut := r.IntN(len(msg) + 1)
		payload = sender.AppendPart(heapGrower{}, nil, msg[:cut], false)
		payload = sender.AppendPart(heapGrower{}, payload, msg[cut:], true)
	case 4:
		sender.Drop()
		fallthrough
	default:
		payload = sender.Append(nil, msg)
		sender.Commit(msg)
	}
	p.receives(t, payload, msg)
}

func TestAppendDoesNotChangeHistory(t *testing.T) {
	r := seeded()
	var c Compressor
	c.Init(1, 0, true)
	c.Commit(chat(r, 1000))
	msg := chat(r, 1000)
	first := c.Append(nil, msg)
	c.Append(nil, chat(r, 5000))
	assert.Equal(t, first, c.Append(nil, msg))
	c.Commit(msg)
	assert.Less(t, len(c.Append(nil, msg)), len(first)/2)
}

func TestAppendPart(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		t.Run(fmt.Sprintf("takeover=%t", takeover), func(t *testing.T) {
			r := seeded()
			var c Compressor
			c.Init(1, 0, takeover)
			p := newPeer(setup{1, 15, takeover})
			for range 3 {
				checkParts(t, &c, p, [][]byte{chat(r, 600), nil, chat(r, 9000), chat(r, 30), nil})
			}
			assert.Equal(t, takeover, c.Memory() > 0)
		})
	}
}

// checkParts sends a message in parts, and checks that the peer can inflate all parts after each flush.
func checkParts(t *testing.T, c *Compressor, p *peer, parts [][]byte) {
	var payload, msg []byte
	for i, part := range parts {
		last := i == len(parts)-1
		payload = c.AppendPart(heapGrower{}, payload, part, last)
		msg = append(msg, part...)
		if !last {
			require.Equal(t, []byte{0, 0, 0xff, 0xff}, payload[len(payload)-4:])
			seen, _, err := naiveMessage(payload[:len(payload)-4], p.hist, 1<<15)
			require.NoError(t, err)
			require.Equal(t, string(msg), string(seen))
		}
	}
	p.receives(t, payload, msg)
}

func TestEmptyMessage(t *testing.T) {
	var c Compressor
	c.Init(1, 0, true)
	// RFC 7692 §7.2.3.6.
	assert.Equal(t, []byte{0}, c.Append(nil, nil))
	assert.Equal(t, []byte{0}, c.AppendPart(heapGrower{}, nil, nil, true))
	assert.Empty(t, c.AppendPart(heapGrower{}, nil, nil, false))
	assert.Equal(t, []byte{0}, AppendStateless(nil, []byte{}, 1, 8))
}

func TestStdlibInflatesEdgews(t *testing.T) {
	r := seeded()
	var c Compressor
	c.Init(1, 0, true)
	var stream, plain bytes.Buffer
	for i := range 300 {
		msg := corpora[i%len(corpora)].message(r, r.IntN(10000))
		stream.Write(c.Append(nil, msg))
		stream.WriteString(epilogue[:4])
		c.Commit(msg)
		plain.Write(msg)
	}
	stream.WriteString(epilogue[4:])
	got, err := io.ReadAll(flate.NewReader(&stream))
	require.NoError(t, err)
	assert.True(t, bytes.Equal(plain.Bytes(), got))
}

func TestInflatesStdlib(t *testing.T) {
	for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
		t.Run(fmt.Sprintf("level=%d", level), func(t *testing.T) {
			t.Parallel()
			r := seeded()
			var out bytes.Buffer
			w, err := flate.NewWriter(&out, level)
			require.NoError(t, err)
			p := newPeer(setup{1, 15, true})
			for i := range 200 {
				msg := corpora[i%len(corpora)].message(r, r.IntN(4000))
				out.Reset()
				_, _ = w.Write(msg)
				require.NoError(t, w.Flush())
				p.receives(t, out.Bytes()[:out.Len()-4], msg)
			}
		})
	}
}

func TestHistoryKeepsTheLastBytes(t *testing.T) {
	r := seeded()
	for _, size := range []int{256, 2048, 32768} {
		var h history
		var all []byte
		for range 300 {
			p := noise(r, r.IntN(size*5/4)*r.IntN(3)/2)
			h.add(p, size)
			all = append(all, p...)
			require.Equal(t, all[max(0, len(all)-size):], append([]byte{}, h...))
			require.LessOrEqual(t, cap(h), size)
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("hello"), []byte("hello hello"), uint8(1), 15, true)
	f.Add(bytes.Repeat([]byte("abc"), 300), []byte{}, uint8(1), 8, false)
	f.Add(chat(seeded(), 200), chat(seeded(), 2000), uint8(2), 10, true)
	f.Add(chat(seeded(), 300), chat(seeded(), 2000), uint8(6), 13, true)
	f.Fuzz(func(t *testing.T, a, b []byte, level uint8, bits int, takeover bool) {
		s := setup{int(level % 10), windowBits(bits), takeover}
		var c Compressor
		c.Init(s.level, s.bits, takeover)
		p := newPeer(s)
		for _, msg := range [][]byte{a, b, append(b, a...), bytes.Repeat(a, 9)} {
			payload := c.Append(nil, msg)
			c.Commit(msg)
			p.receives(t, payload, msg)
			p.receives(t, c.AppendPart(heapGrower{}, c.AppendPart(heapGrower{}, nil, a, false), b, true), append(slices.Clone(a), b...))
		}
	})
}
