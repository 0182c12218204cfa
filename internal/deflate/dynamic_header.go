package deflate

// dynamicHeader is the header of a block with dynamic codes: the lengths of the codewords, from which the peer makes the codes
// (RFC 1951 §3.2.7). The lengths of the literal code and of the distance code are one sequence, in which runs are symbols. It is
// written with a Huffman code of its own, whose lengths come first.
type dynamicHeader struct {
	codeLens     [numLiterals + numDistances]uint8
	numLiterals  int // in codeLens, before the distances
	numDistances int

	runs    [numLiterals + numDistances]run
	numRuns int
	counts  [numLengths]uint16 // of the symbols of runs
	lens    [numLengths]uint8  // of their codewords
	words   [numLengths]codeword
	numLens int // how many lens are written, in lengthOrder
}

// run is a symbol of codeLens. more is the value of its extra bits if it is one that repeats.
type run struct{ symbol, more uint8 }

// The symbols that repeat a length. repeatExtra is the number of their extra bits.
const (
	repeatLast  = 16 // 3 to 6 times
	repeatZero  = 17 // 3 to 10 times
	repeatZeros = 18 // 11 to 138 times
)

var repeatExtra = [numLengths]uint8{repeatLast: 2, repeatZero: 3, repeatZeros: 7}

// plan makes codes for the counted symbols, and returns the size of the symbols and the header in bits.
func (p *dynamicHeader) plan(c *huffmanCoder, dynamic *codes, n *symbolCounts) int {
	size := c.code(dynamic.literals[:], p.codeLens[:numLiterals], n.literals[:], maxLiteralBits)
	p.numLiterals = used(p.codeLens[:numLiterals], endOfBlock+1)
	distances := p.codeLens[p.numLiterals:][:numDistances]
	size += c.code(dynamic.distances[:], distances, n.distances[:], maxDistanceBits)
	p.numDistances = used(distances, 0)
	if p.numDistances == 0 {
		// Some inflaters refuse a block without a distance code.
		distances[0], p.numDistances = 1, 1
	}
	p.findRuns()
	size += c.code(p.words[:], p.lens[:], p.counts[:], maxLengthBits)
	p.numLens = numLengths
	for p.numLens > 4 && p.lens[lengthOrder[p.numLens-1]] == 0 {
		p.numLens--
	}
	for symbol := repeatLast; symbol <= repeatZeros; symbol++ {
		size += int(p.counts[symbol]) * int(repeatExtra[symbol])
	}
	return size + 5 + 5 + 4 + 3*p.numLens
}

// used returns the number of lens without trailing zeros, but at least least.
func used(lens []uint8, least int) int {
	n := len(lens)
	for n > least && lens[n-1] == 0 {
		n--
	}
	return n
}

// findRuns turns codeLens into runs.
func (p *dynamicHeader) findRuns() {
	p.counts, p.numRuns = [numLengths]uint16{}, 0
	lens := p.codeLens[:p.numLiterals+p.numDistances]
	for len(lens) > 0 {
		length, n := lens[0], 1
		for n < len(lens) && lens[n] == length {
			n++
		}
		lens = lens[n:]
		if length == 0 {
			p.zeros(n)
		} else {
			p.repeat(length, n)
		}
	}
}

func (p *dynamicHeader) zeros(n int) {
	for ; n >= 11; n -= min(n, 138) {
		p.add(repeatZeros, min(n, 138)-11)
	}
	if n >= 3 {
		p.add(repeatZero, n-3)
		n = 0
	}
	for ; n > 0; n-- {
		p.add(0, 0)
	}
}

func (p *dynamicHeader) repeat(length uint8, n int) {
	p.add(length, 0)
	for n--; n >= 3; n -= min(n, 6) {
		p.add(repeatLast, min(n, 6)-3)
	}
	for ; n > 0; n-- {
		p.add(length, 0)
	}
}

func (p *dynamicHeader) add(symbol uint8, more int) {
	p.runs[p.numRuns] = run{symbol, uint8(more)}
	p.numRuns++
	p.counts[symbol]++
}

// write writes the header that plan has made.
func (p *dynamicHeader) write(w *bitWriter) {
	w.put(uint64(p.numLiterals-(endOfBlock+1)), 5)
	w.put(uint64(p.numDistances-1), 5)
	w.put(uint64(p.numLens-4), 4)
	w.flush()
	for _, symbol := range lengthOrder[:p.numLens] {
		w.put(uint64(p.lens[symbol]), 3)
		w.flush()
	}
	for _, r := range p.runs[:p.numRuns] {
		w.put(p.words[r.symbol].bits(), p.words[r.symbol].len())
		w.put(uint64(r.more), uint(repeatExtra[r.symbol]))
		w.flush()
	}
}
