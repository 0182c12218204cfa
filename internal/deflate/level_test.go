package deflate

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func levelSetups() (all []setup) {
	for level := minFlateLevel; level < len(flateLevels); level++ {
		if raceEnabled && flateLevels[level] == flateLevels[level-1] {
			continue // equal to another level, and the naive inflater is slow
		}
		for bits := MinWindowBits; bits <= MaxWindowBits; bits++ {
			all = append(all, setup{level, bits, false}, setup{level, bits, true})
		}
	}
	return all
}

// TestLevels sends messages of all sizes for which a higher level has a special case. The naive inflater refuses distances beyond the
// window.
func TestLevels(t *testing.T) {
	for _, s := range levelSetups() {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			for _, c := range corpora {
				checkLevel(t, s, c)
			}
		})
	}
}

func checkLevel(t *testing.T, s setup, c corpus) {
	r, window := seeded(), 1<<s.bits
	var sender Compressor
	sender.Init(s.level, s.bits, s.takeover)
	p := newPeer(s)
	sizes := []int{0, 1, 12, 13, 127, 128, 129, 1000, window / 4, window/4 + 1, window - 1, window, window + 1, 3 * window, 300, 700, 300}
	for _, size := range sizes {
		if raceEnabled && size > 4<<10 {
			continue // the naive inflater is slow
		}
		msg := c.message(r, size)
		payload := sender.Append(nil, msg)
		require.LessOrEqual(t, len(payload), len(msg)+5*(len(msg)/maxBlock+1)+1, "%s of %d bytes", c.name, size)
		sender.Commit(msg)
		p.receives(t, payload, msg)
	}
	assert.LessOrEqual(t, sender.Memory(), s.maxMemory())
}

// TestLevelsManyMessages does the same with messages that are prepared, sent in parts, sent uncompressed, or compressed and not sent.
func TestLevelsManyMessages(t *testing.T) {
	count := 300
	if raceEnabled || testing.Short() {
		count = 60
	}
	for _, s := range levelSetups() {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			r := seeded()
			var sender Compressor
			sender.Init(s.level, s.bits, s.takeover)
			p := newPeer(s)
			for range count {
				sendAtRandom(t, r, &sender, p, corpora[r.IntN(len(corpora))].message(r, r.IntN(2000)))
			}
			assert.Greater(t, p.distance, min(1<<s.bits, 2000)/2, "refers to little")
		})
	}
}

// TestLevelUsesTheWholeWindow repeats a message at the largest distance that the window allows. Only a dictionary of the whole window
// has it. With a smaller window the dictionary is smaller: message and dictionary fit into the window together.
func TestLevelUsesTheWholeWindow(t *testing.T) {
	for level := minFlateLevel; level < len(flateLevels); level++ {
		for _, tt := range []struct{ bits, between int }{{15, 31 << 10}, {14, 13 << 10}, {12, 2 << 10}} {
			s := setup{level, tt.bits, true}
			r := seeded()
			msg, between := noise(r, 1000), noise(r, tt.between)
			var c Compressor
			c.Init(level, tt.bits, true)
			c.Commit(msg)
			c.Commit(between)
			assert.Less(t, len(c.Append(nil, msg)), 100, s.String())
		}
	}
}

// TestLevelsOfSmallMessages: a writer with a window would ignore the dictionary.
func TestLevelsOfSmallMessages(t *testing.T) {
	for _, s := range levelSetups() {
		if !s.takeover {
			continue
		}
		msg := noise(seeded(), 100)
		var c Compressor
		c.Init(s.level, s.bits, true)
		c.Commit(msg)
		assert.Less(t, len(c.Append(nil, msg)), 20, s.String())
	}
}

// TestTenMegabytesOfNoise: the buffer grows in proportion to its size, not by the size of each write.
func TestTenMegabytesOfNoise(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine, and slow")
	}
	msg := noise(seeded(), 10<<20)
	grown := 0
	for _, level := range []int{2, 4, 6} {
		var c Compressor
		c.Init(level, 15, true)
		payload := c.AppendIn(countingGrower{&grown}, nil, msg)
		var d Decompressor
		d.Init(15, true)
		got, err := d.Append(nil, payload, int64(len(msg)))
		require.NoError(t, err)
		require.True(t, bytes.Equal(msg, got))
		assert.Less(t, grown, 100)
		grown = 0
	}
}

// countingGrower grows a slice by as little as possible and counts the calls.
type countingGrower struct{ times *int }

func (c countingGrower) Grow(p []byte, n int) []byte {
	*c.times++
	return append(make([]byte, 0, len(p)+n), p...)
}

// TestLevelSizes pins the compressed size of messages of 1 KiB, with takeover.
func TestLevelSizes(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine, and slow")
	}
	last := 1 << 10
	for level, most := range []int{1: 275, 2: 242, 3: 242, 4: 242, 5: 230, 6: 225, 7: 225, 8: 225, 9: 225} {
		if level == 0 {
			continue
		}
		var c Compressor
		c.Init(level, 15, true)
		total, msgs := 0, differentMessages(1<<10)
		for _, msg := range msgs {
			total += len(c.Append(nil, msg))
			c.Commit(msg)
		}
		mean := (total + len(msgs) - 1) / len(msgs)
		assert.LessOrEqual(t, mean, most, "level %d", level)
		assert.LessOrEqual(t, mean, last, "level %d is worse than the one below", level)
		last = mean
	}
}

func TestLevelAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops at random under the race detector")
	}
	r := seeded()
	small, large := chat(r, 1000), chat(r, 9000)
	dst := make([]byte, 0, 16<<10)
	for level := minFlateLevel; level < len(flateLevels); level++ {
		for _, bits := range []int{9, 12, 15} {
			var c Compressor
			c.Init(level, bits, true)
			for _, msg := range [][]byte{small, large} {
				do := func() {
					c.Append(dst, msg)
					c.Commit(msg)
				}
				for range 40 {
					do() // until the history is full
				}
				// The mean is rounded down, so that a garbage collection that empties a pool does not matter.
				assert.Zero(t, testing.AllocsPerRun(100, do), "level %d, %d bits, %d bytes", level, bits, len(msg))
			}
		}
	}
}
