package deflate

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// naiveBits returns the size of all symbols in bits with the best prefix code: the sum of all inner nodes of Huffman's tree.
func naiveBits(counts []uint16) (bits int) {
	var nodes []int
	for _, n := range counts {
		if n > 0 {
			nodes = append(nodes, int(n))
		}
	}
	if len(nodes) == 1 {
		return nodes[0]
	}
	for len(nodes) > 1 {
		slices.Sort(nodes)
		nodes = append(nodes[2:], nodes[0]+nodes[1])
		bits += nodes[len(nodes)-1]
	}
	return bits
}

func TestCodesAreTheBest(t *testing.T) {
	r := seeded()
	for range 500 {
		counts := make([]uint16, 1+r.IntN(numLiterals))
		most := 1 + r.IntN(1<<r.IntN(9)) // few enough that no codeword gets too long
		for i := range counts {
			counts[i] = uint16(r.IntN(most+1) * r.IntN(2))
		}
		checkCode(t, counts, 15, true)
	}
}

func TestCodesKeepToTheirLimit(t *testing.T) {
	fibonacci := func(n int) (counts []uint16) {
		a, b := 1, 1
		for range n {
			counts = append(counts, uint16(min(a, 1<<15)))
			a, b = b, a+b
		}
		return counts
	}
	for n := 1; n <= 60; n++ {
		counts := fibonacci(n)
		rand.New(rand.NewPCG(1, uint64(n))).Shuffle(n, func(i, j int) { counts[i], counts[j] = counts[j], counts[i] })
		checkCode(t, counts, maxLiteralBits, n <= maxLiteralBits)
		if n <= numLengths {
			checkCode(t, counts, maxLengthBits, n <= maxLengthBits)
		}
	}
	checkCode(t, append(slices.Repeat([]uint16{1}, 285), 1<<15), maxLiteralBits, true)
	checkCode(t, make([]uint16, 30), maxDistanceBits, true)
}

// checkCode makes a code and checks that each symbol that occurs has a codeword, that the code is complete, and that it decodes. If
// best is set, it also checks that no code is shorter.
func checkCode(t *testing.T, counts []uint16, limit int, best bool) {
	t.Helper()
	var c huffmanCoder
	lens, words := make([]uint8, len(counts)), make([]codeword, len(counts))
	size := c.code(words, lens, counts, limit)
	wide, total := make([]int, len(lens)), 0
	for symbol, length := range lens {
		require.Equal(t, counts[symbol] > 0, length > 0)
		require.LessOrEqual(t, int(length), limit)
		wide[symbol] = int(length)
		total += int(length) * int(counts[symbol])
	}
	require.Equal(t, total, size)
	if best {
		require.Equal(t, naiveBits(counts), size)
	}
	naiveCode := newCode(wide)
	for symbol, word := range words {
		if lens[symbol] > 0 {
			in := naive{in: []byte{byte(word.bits()), byte(word.bits() >> 8)}}
			require.Equal(t, symbol, in.symbol(naiveCode))
			require.Equal(t, in.bit, int(word.len()))
		}
	}
}

// TestTables builds tables from valid and invalid lengths, and decodes all codewords.
func TestTables(t *testing.T) {
	r := seeded()
	f := newInflater()
	codes := 0
	for i := range 1000 {
		lens, limit := make([]uint8, 257+r.IntN(30)), 15
		if i%3 == 0 {
			lens = lens[:1+r.IntN(30)]
		}
		counts := make([]uint16, len(lens))
		for i := range counts {
			counts[i] = uint16(r.IntN(1<<r.IntN(15)) * r.IntN(2))
		}
		new(huffmanCoder).code(make([]codeword, len(lens)), lens, counts, limit)
		if i%5 == 0 { // usually not a code any more
			lens[r.IntN(len(lens))] = uint8(r.IntN(16))
		}
		ok := f.literals.build(lens, literalEntries[:], literalTableBits)
		want, isCode := naiveTable(lens)
		require.Equal(t, isCode, ok, "%v", lens)
		if isCode {
			codes++
			checkTable(t, r, &f.literals, want)
		}
	}
	assert.Greater(t, codes, 600)
}

func naiveTable(lens []uint8) (c code, ok bool) {
	defer func() { ok = recover() == nil }()
	var wide []int
	for _, length := range lens {
		wide = append(wide, int(length))
	}
	return newCode(wide), true
}

func checkTable(t *testing.T, r *rand.Rand, table *table, c code) {
	for range 200 {
		bits := r.IntN(1 << 15)
		e := table.entries[bits&(1<<table.bits-1)]
		length := e.len()
		if e&isSecond != 0 {
			e = table.entries[int(e.value())+bits>>e.len()&(1<<e.extra()-1)]
			length += e.len()
		}
		in := naive{in: []byte{byte(bits), byte(bits >> 8)}}
		symbol := -1
		func() {
			defer func() { _ = recover() }()
			symbol = in.symbol(c)
		}()
		if symbol < 0 {
			require.Equal(t, isSpecial, e)
			continue
		}
		require.Equal(t, literalEntries[symbol], e&^15, "bits %b", bits)
		require.Equal(t, in.bit, int(length))
	}
}
