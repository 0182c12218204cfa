package deflate

import "math"

// symbolCounts has the number of occurrences of each symbol of a block.
type symbolCounts struct {
	literals  [numLiterals]uint16
	distances [numDistances]uint16
	symbols   int // the number of all symbols
	extra     int // the number of all extra bits
}

func (n *symbolCounts) countSymbols(p parse) {
	*n = symbolCounts{symbols: len(p.sequences) + len(p.literals)}
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

// estimate returns the size of the block in bits with the fixed codes, and about the smallest size with dynamic codes. Dynamic codes
// are not made if they cannot be smaller, as for noise or a few symbols.
func (n *symbolCounts) estimate() (fixedBits, dynamicBits int) {
	used, squares := 0, uint64(0)
	for literal, count := range n.literals {
		fixedBits += int(count) * int(fixedLiteralLens[literal])
		used += int(uint32(count)+0xffff) >> 16 // 1 unless count is 0
		squares += uint64(count) * uint64(count)
	}
	for _, count := range n.distances {
		fixedBits += 5 * int(count)
	}
	fixedBits += blockBits + n.extra
	if n.symbols < fewSymbols {
		return fixedBits, fixedBits
	}
	// Rényi's entropy of order 2 is at most Shannon's, and takes one logarithm.
	symbols := float64(n.symbols)
	dynamicBits = int(symbols * math.Log2(symbols*symbols/float64(squares)))
	return fixedBits, blockBits + n.extra + dynamicBits + minHeaderBits + 3*used
}

// fewSymbols is the number of symbols below which dynamic codes cannot be smaller.
const fewSymbols = 40

// minHeaderBits is about the smallest size of a dynamicHeader in bits, without the 3 bits for each symbol.
const minHeaderBits = 60
