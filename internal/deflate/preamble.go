package deflate

// preamble is what a block with codes of its own begins with: the lengths of the codes, from which the peer makes
// them (RFC 1951 §3.2.7). The lengths of literals and distances are one row, in which runs are symbols too;
// their code comes first.
type preamble struct {
	row          [numLiterals + numDistances]uint8
	numLiterals  int // in the row, the distances follow
	numDistances int

	runs    [numLiterals + numDistances]run
	numRuns int
	counts  [numLengths]uint16 // of the symbols of runs
	lens    [numLengths]uint8  // of their codewords
	words   [numLengths]codeword
	numLens int // that are written, in lengthOrder
}

// run is a symbol for lengths, with how often, if it is one of those that repeat.
type run struct{ symbol, more uint8 }

// The symbols that repeat, and how many bits say how often.
const (
	repeatLast  = 16 // 3 to 6 times
	repeatZero  = 17 // 3 to 10 times
	repeatZeros = 18 // 11 to 138 times
)

var repeatExtra = [numLengths]uint8{repeatLast: 2, repeatZero: 3, repeatZeros: 7}

// plan makes codes for what was counted, and returns how many bits both the symbols and the preamble take.
func (p *preamble) plan(c *coder, dynamic *codes, n *counts) int {
	size := c.code(dynamic.literals[:], p.row[:numLiterals], n.literals[:], maxLiteralBits)
	p.numLiterals = used(p.row[:numLiterals], endOfBlock+1)
	distances := p.row[p.numLiterals:][:numDistances]
	size += c.code(dynamic.distances[:], distances, n.distances[:], maxDistanceBits)
	p.numDistances = used(distances, 0)
	if p.numDistances == 0 {
		// Not every inflater knows a block without distances.
		distances[0], p.numDistances = 1, 1
	}
	p.fold()
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

// used returns the number of lens without the zeros behind, but at least least.
func used(lens []uint8, least int) int {
	n := len(lens)
	for n > least && lens[n-1] == 0 {
		n--
	}
	return n
}

// fold finds the runs of the row.
func (p *preamble) fold() {
	p.counts, p.numRuns = [numLengths]uint16{}, 0
	row := p.row[:p.numLiterals+p.numDistances]
	for len(row) > 0 {
		length, n := row[0], 1
		for n < len(row) && row[n] == length {
			n++
		}
		row = row[n:]
		if length == 0 {
			p.zeros(n)
		} else {
			p.repeat(length, n)
		}
	}
}

func (p *preamble) zeros(n int) {
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

func (p *preamble) repeat(length uint8, n int) {
	p.add(length, 0)
	for n--; n >= 3; n -= min(n, 6) {
		p.add(repeatLast, min(n, 6)-3)
	}
	for ; n > 0; n-- {
		p.add(length, 0)
	}
}

func (p *preamble) add(symbol uint8, more int) {
	p.runs[p.numRuns] = run{symbol, uint8(more)}
	p.numRuns++
	p.counts[symbol]++
}

// write writes what was planned.
func (p *preamble) write(w *bitWriter) {
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
