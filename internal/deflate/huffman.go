package deflate

import "math/bits"

// The alphabets of RFC 1951 §3.2.5 and §3.2.7, and the longest codes that we make for them. Four literals or
// one match fit the 64 bits of a bitWriter with up to 7 that are left there.
const (
	numLiterals  = 286
	numDistances = 30
	numLengths   = 19

	maxLiteralBits  = 14
	maxDistanceBits = 15
	maxLengthBits   = 7

	endOfBlock = 256
)

// codeword is one of a Huffman code: the bits, reversed for the wire, and above them their number.
type codeword uint32

func (c codeword) bits() uint64 { return uint64(c & 0xffff) }
func (c codeword) len() uint    { return uint(c >> 16) }

// coder makes Huffman codes for the symbols that occur. Those are the leaves of a tree: see leaf.
type coder struct {
	leaves [numLiterals]uint32 // by symbol
	sorted [numLiterals]uint32 // the rarest first
	spare  [numLiterals]uint32
	weight [2 * numLiterals]uint32
	parent [2 * numLiterals]uint16
	number [16]uint16 // of codewords of each length
}

// A leaf is a symbol, and above it how often it occurs.
const symbolBits = 9

func symbolOf(leaf uint32) uint32 { return leaf & (1<<symbolBits - 1) }
func countOf(leaf uint32) uint32  { return leaf >> symbolBits }

// code makes a code for the symbols that occur, so that all of them together take few bits: their number is
// returned. lens gets the lengths, 0 for symbols that do not occur, and words the codewords of the others.
func (c *coder) code(words []codeword, lens []uint8, counts []uint16, limit int) (size int) {
	n, most := c.gather(counts)
	clear(lens)
	switch {
	case n == 0:
		return 0
	case n == 1:
		// The only one has a codeword too.
		c.number = [16]uint16{1: 1}
		c.sorted[0] = c.leaves[0]
	default:
		c.sort(n, most)
		c.grow(n, limit)
	}
	leaves := c.sorted[:n]
	for length := limit; length > 0; length-- {
		for range c.number[length] {
			lens[symbolOf(leaves[0])] = uint8(length)
			size += int(countOf(leaves[0])) * length
			leaves = leaves[1:]
		}
	}
	assign(words, c.leaves[:n], lens, &c.number)
	return size
}

// gather collects the symbols that occur.
func (c *coder) gather(counts []uint16) (n int, most uint32) {
	for symbol, count := range counts[:min(len(counts), numLiterals)] {
		c.leaves[n] = uint32(count)<<symbolBits | uint32(symbol)
		n += int(uint32(count)+0xffff) >> 16 // 1 unless count is 0
		most = max(most, uint32(count))
	}
	return n, most
}

// sort orders the symbols by count and then by symbol: a radix sort.
func (c *coder) sort(n int, most uint32) {
	if most < 256 {
		radix(c.sorted[:n], c.leaves[:n], symbolBits, int(most)+1)
		return
	}
	radix(c.spare[:n], c.leaves[:n], symbolBits, 256)
	radix(c.sorted[:n], c.spare[:n], symbolBits+8, int(most>>8)+1)
}

// radix sorts from into to by the 8 bits above shift, which are less than buckets.
func radix(to, from []uint32, shift, buckets int) {
	var at [256]uint16
	for _, v := range from {
		at[uint8(v>>shift)]++
	}
	sum := uint16(0)
	for i := range at[:buckets] {
		at[i], sum = sum, sum+at[i]
	}
	for _, v := range from {
		place := &at[uint8(v>>shift)]
		to[*place] = v
		*place++
	}
}

// grow builds Huffman's tree over the n sorted symbols and counts the leaves at each depth. The nodes are the
// leaves and behind them the inner ones, in the order in which they are made, which is also that of their
// weights: the next two nodes to join are always at the front of one of the two queues.
func (c *coder) grow(n, limit int) {
	for i, leaf := range c.sorted[:n] {
		c.weight[i] = countOf(leaf)
	}
	leaf, inner := 0, n
	for node := n; node < 2*n-1; node++ {
		sum := uint32(0)
		for range 2 {
			child := inner
			if leaf < n && (inner == node || c.weight[leaf] <= c.weight[inner]) {
				child = leaf
				leaf++
			} else {
				inner++
			}
			sum += c.weight[child]
			c.parent[child] = uint16(node)
		}
		c.weight[node] = sum
	}
	c.number = [16]uint16{}
	depth := c.weight[:2*n-1] // the weights are not needed any more
	depth[2*n-2] = 0
	for node := 2*n - 3; node >= 0; node-- {
		depth[node] = depth[c.parent[node]] + 1
		if node < n {
			c.number[min(int(depth[node]), limit)]++
		}
	}
	c.prune(limit)
}

// prune makes a complete code of one whose leaves below limit were lifted up to it: as long as they are too
// many there, one takes a place beside a shorter code, which moves down a level.
func (c *coder) prune(limit int) {
	total := 0
	for length, number := range c.number[:limit+1] {
		total += int(number) << (limit - length)
	}
	for ; total > 1<<limit; total-- {
		length := limit - 1
		for c.number[length] == 0 {
			length--
		}
		c.number[length]--
		c.number[length+1] += 2
		c.number[limit]--
	}
}

// assign makes codewords of lens for the symbols of leaves (RFC 1951 §3.2.2). number has how many have each length.
func assign(words []codeword, leaves []uint32, lens []uint8, number *[16]uint16) {
	var next [16]uint16
	for length := 1; length < 15; length++ {
		next[length+1] = (next[length] + number[length]) << 1
	}
	for _, leaf := range leaves {
		symbol := symbolOf(leaf)
		length := lens[symbol]
		place := &next[length&15]
		words[symbol] = codeword(bits.Reverse16(*place)>>((16-length)&15)) | codeword(length)<<16
		*place++
	}
}
