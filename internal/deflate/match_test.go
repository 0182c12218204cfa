package deflate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// restore appends the text of a parse to the text before it.
func restore(t *testing.T, text []byte, p parse, window uint32) []byte {
	for _, s := range p.sequences {
		text = append(text, p.literals[:s.literals]...)
		p.literals = p.literals[s.literals:]
		if s.length == 0 {
			break
		}
		require.LessOrEqual(t, int(s.distance)+1, min(len(text), int(window)))
		require.True(t, s.length >= minMatch && s.length <= maxMatch)
		for range s.length {
			text = append(text, text[len(text)-int(s.distance)-1])
		}
	}
	require.Empty(t, p.literals)
	return text
}

func TestSearch(t *testing.T) {
	r := seeded()
	var m matcher
	for range 1000 {
		text := corpora[r.IntN(len(corpora))].message(r, r.IntN(3000))
		from := r.IntN(len(text) + 1)
		window := uint32(1) << (MinWindowBits + r.IntN(MaxWindowBits-MinWindowBits+1))
		m.start(len(text), window)
		m.index(text, from)
		require.Equal(t, text, restore(t, text[:from:from], m.search(text, from), window))
		m.finish(len(text))
	}
}

// TestPositionsWrap: the positions of a message of gigabytes exceed 32 bits.
func TestPositionsWrap(t *testing.T) {
	var m matcher
	text := chat(seeded(), 100_000)
	m.start(math.MaxInt32, maxWindow)
	m.base = math.MaxUint32 - 50_000
	var out []byte
	for from := 0; from < len(text); from += maxBlock {
		out = restore(t, out, m.search(text[:min(from+maxBlock, len(text))], from), maxWindow)
	}
	require.Equal(t, text, out)
	m.finish(math.MaxInt32)
	m.start(10, maxWindow)
	assert.Equal(t, uint32(maxWindow+1), m.base)
	assert.True(t, m.table == [len(m.table)]uint32{}, "what was left behind could be mistaken for what is new")
}

// TestEverySize sends messages of every size, one after the other.
func TestEverySize(t *testing.T) {
	most := 5000
	if raceEnabled {
		most = 500
	}
	for _, s := range []setup{{1, 15, true}, {1, 15, false}, {1, 12, true}, {1, 8, true}} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(3, uint64(s.bits)))
			var sender Compressor
			sender.Init(s.level, s.bits, s.takeover)
			p := newPeer(s)
			for size := range most + 1 {
				msg := corpora[size%len(corpora)].message(r, size)
				payload := sender.Append(nil, msg)
				sender.Commit(msg)
				p.receives(t, payload, msg)
				require.LessOrEqual(t, len(payload), len(msg)+6)
			}
		})
	}
}

// TestHostileTexts: texts with many equal hashes take no longer than others.
func TestHostileTexts(t *testing.T) {
	r := seeded()
	for name, text := range map[string][]byte{
		"zeros":         make([]byte, 200_000),
		"two bytes":     repeated(r, 2, 200_000),
		"three bytes":   repeated(r, 3, 200_000),
		"just too far":  repeated(r, maxWindow+1, 200_000),
		"just in reach": repeated(r, maxWindow, 200_000),
		"longest match": repeated(r, maxMatch, 200_000),
		"counting":      counting(40_000),
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(setup{1, 15, true})
			p.receives(t, AppendStateless(nil, text, 1, 15), text)
		})
	}
}

func repeated(r *rand.Rand, period, size int) []byte {
	p := noise(r, period)
	for len(p) < size {
		p = append(p, p...)
	}
	return p[:size]
}

func counting(n int) (p []byte) {
	for i := range n {
		p = fmt.Appendf(p, "%d,", i)
	}
	return p
}
