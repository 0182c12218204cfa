package deflate

import "math"

// counts says how often each symbol of a block occurs.
type counts struct {
	literals  [numLiterals]uint16
	distances [numDistances]uint16
	symbols   int // all of them
	extra     int // the bits that follow them
}

func (n *counts) tally(p parse) {
	*n = counts{symbols: len(p.sequences) + len(p.literals)}
	for _, literal := range p.literals {
		n.literals[literal]++
	}
	n.literals[endOfBlock] = 1
	for _, s := range p.sequences[:len(p.sequences)-1] {
		length := lengthSymbols[uint8(s.length-3)]
		distance, extra := distanceSymbol(s.distance)
		n.literals[endOfBlock+1+int(length)]++
		n.distances[distance]++
		n.extra += int(lengthExtra[length]) + int(extra)
	}
}

// estimate returns the bits of the block with the fixed codes, and about the least that it takes with codes of
// its own. Those are not worth making when they cannot be better: for noise, or a few symbols.
func (n *counts) estimate() (simple, own int) {
	used, squares := 0, uint64(0)
	for literal, count := range n.literals {
		simple += int(count) * int(fixedLiteralLens[literal])
		used += int(uint32(count)+0xffff) >> 16 // 1 unless count is 0
		squares += uint64(count) * uint64(count)
	}
	for _, count := range n.distances {
		simple += 5 * int(count)
	}
	simple += blockBits + n.extra
	if n.symbols < fewSymbols {
		return simple, simple
	}
	// Rényi's entropy of order 2 is never more than Shannon's, and needs one logarithm.
	symbols := float64(n.symbols)
	own = int(symbols * math.Log2(symbols*symbols/float64(squares)))
	return simple, blockBits + n.extra + own + preambleBits + 3*used
}

// fewSymbols are too few for codes of their own.
const fewSymbols = 40

// preambleBits is about the least that a preamble has besides 3 bits for each symbol.
const preambleBits = 60
