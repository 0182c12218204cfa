package deflate

import (
	"encoding/binary"
	"math/bits"
)

const (
	minMatch = 4 // RFC 1951 allows 3, which saves almost nothing and needs a second table
	maxMatch = 258

	// maxWindow is the largest distance.
	maxWindow = 1 << MaxWindowBits

	// lookahead is the number of bytes that a search reads at a place. No match begins in the last bytes of a text, which have fewer.
	lookahead = 8

	hashBits = 14
)

// parse is a text as literals and matches.
type parse struct {
	sequences []sequence
	literals  []byte // of all sequences, one after the other
}

// sequence is a run of literals and the match that follows it.
type sequence struct {
	literals uint16
	length   uint16 // of the match; 0 at the end of a block, where there is none
	distance uint16 // of the match, less one
}

// matcher finds repetitions (LZ77). A table has the latest position of each hash. It is not cleared between texts: the positions of
// a text begin more than the largest distance after those of the text before, so that old entries are out of reach.
type matcher struct {
	table [1 << hashBits]uint32
	base  uint32 // position of the first byte of the text

	// Settings for the current text.
	window uint32 // the largest distance
	mask   uint64 // the bytes at a place that are hashed
	step   int    // the distance between two lookups, each of which looks at two places
	dense  bool   // all places of a match are put into the table: a small window has few others

	sequences [maxBlock/minMatch + 1]sequence
	literals  [maxBlock + lookahead]byte
}

// shortText is the size in bytes below which a text has few matches of more than four bytes, so that four bytes are hashed at every
// place. In a larger text matches of four bytes hide longer ones, and leaving out every third place costs little.
const shortText = 4 << 10

// start begins a text of n bytes. window is the largest distance of its matches.
func (m *matcher) start(n int, window uint32) {
	if m.base == 0 || m.base > 1<<30 {
		clear(m.table[:])
		m.base = maxWindow + 1
	}
	m.window, m.mask, m.step, m.dense = window, 1<<40-1, 3, false
	switch {
	case n < shortText || window < shortText:
		m.mask, m.step = 1<<32-1, 2
		m.dense = n > int(window)
	case window < maxWindow:
		m.step, m.dense = 2, true
	}
}

// finish ends a text of n bytes.
func (m *matcher) finish(n int) {
	if m.base += uint32(n) + maxWindow; n > 1<<30 {
		m.base = 0 // it may have overflowed
	}
}

func hash(v, mask uint64) uint64 { return (v & mask) * 0x9e3779b185ebca87 >> (64 - hashBits) }

func load32(p []byte, i int) uint32 { return binary.LittleEndian.Uint32(p[i:]) }
func load64(p []byte, i int) uint64 { return binary.LittleEndian.Uint64(p[i:]) }

// index puts every second place of text[:n] into the table. Matches at the others are found too, since search extends matches backwards.
func (m *matcher) index(text []byte, n int) {
	n = min(n, len(text)-lookahead)
	table, position, mask := &m.table, m.base, m.mask // in registers
	// The second condition follows from the first one. It tells the compiler that load64 is within the text.
	for i := 0; i < n-2 && i <= len(text)-lookahead; i += 4 {
		v := load64(text, i)
		table[hash(v, mask)] = position
		table[hash(v>>16, mask)] = position + 2
		position += 4
	}
}

// search cuts text[from:] into sequences.
func (m *matcher) search(text []byte, from int) parse {
	sequences, literals := m.sequences[:0], m.literals[:]
	n := 0 // number of literals
	for {
		at, distance := m.next(text, from)
		if distance == 0 {
			n += copy(literals[n:], text[from:])
			return parse{append(sequences, sequence{literals: uint16(len(text) - from)}), literals[:n]}
		}
		end := matchEnd(text, at, distance)
		m.insert(text, at, end)
		for at > from && at > distance && text[at-1] == text[at-1-distance] && end-at < maxMatch {
			at--
		}
		run := at - from
		sequences = append(sequences, sequence{uint16(run), uint16(end - at), uint16(distance - 1)})
		// Most runs are short, and copied in one go.
		binary.LittleEndian.PutUint64(literals[n:], load64(text, from))
		if run > lookahead {
			copy(literals[n:], text[from:at])
		}
		n, from = n+run, end
	}
}

// next returns the next match at or after from: four bytes that also occur distance bytes earlier. Of matches at two places that it looks at
// together, it returns the one that reaches further. A distance of 0 means that there is none.
func (m *matcher) next(text []byte, from int) (at, distance int) {
	table, base, mask, window, step := &m.table, m.base, m.mask, m.window, m.step // in registers
	for at = from; at <= len(text)-lookahead; {
		v := load64(text, at)
		position := base + uint32(at)
		first, second := &table[hash(v, mask)], &table[hash(v>>8, mask)]
		d1, d2 := position-*first, position+1-*second
		*first, *second = position, position+1
		if d1 <= window && load32(text, at-int(d1)) == uint32(v) {
			if d2 != d1 && d2 <= window && load32(text, at+1-int(d2)) == uint32(v>>8) &&
				matchEnd(text, at+1, int(d2)) > matchEnd(text, at, int(d1)) {
				return at + 1, int(d2)
			}
			return at, int(d1)
		}
		if d2 <= window && load32(text, at+1-int(d2)) == uint32(v>>8) {
			return at + 1, int(d2)
		}
		at += step + (at-from)>>6 // steps get larger while nothing is found
	}
	return at, 0
}

// matchEnd returns the end of the match at text[at:], whose first four bytes are known to be equal.
func matchEnd(text []byte, at, distance int) int {
	end := min(len(text), at+maxMatch)
	text = text[:end]
	at += minMatch
	for ; at <= end-8; at += 8 {
		if differ := load64(text, at) ^ load64(text, at-distance); differ != 0 {
			return at + bits.TrailingZeros64(differ)>>3
		}
	}
	for at < end && text[at] == text[at-distance] {
		at++
	}
	return at
}

// insert puts the last places of the match text[at:end] into the table, or all of them if the matcher is dense.
func (m *matcher) insert(text []byte, at, end int) {
	table, base, mask := &m.table, m.base, m.mask
	if m.dense {
		for i := at + 1; i < min(end, len(text)-lookahead); i++ {
			table[hash(load64(text, i), mask)] = base + uint32(i)
		}
	} else if end <= len(text)-lookahead {
		v := load64(text, end-2)
		table[hash(v, mask)] = base + uint32(end-2)
		table[hash(v>>8, mask)] = base + uint32(end-1)
	}
}
