package deflate

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

// fixedSize returns the bits of the block with the fixed codes.
func (n *counts) fixedSize() int {
	size := blockBits + n.extra
	for literal, count := range n.literals {
		size += int(count) * int(fixedLiteralLens[literal])
	}
	for _, count := range n.distances {
		size += 5 * int(count)
	}
	return size
}
