package deflate

import "math/bits"

// The sizes of the alphabets of RFC 1951 §3.2.5 and §3.2.7, and the longest codewords that are made for them. Four literals, or
// one match, fit into the 64 bits of a bitWriter that still has up to 7 bits.
const (
	numLiterals  = 286
	numDistances = 30
	numLengths   = 19

	maxLiteralBits  = 14
	maxDistanceBits = 15
	maxLengthBits   = 7

	endOfBlock = 256
)

// codeword is a codeword of a Huffman code: its bits in the order of the wire, and above bit 16 their number.
type codeword uint32

func (c codeword) bits() uint64 { return uint64(c & 0xffff) }
func (c codeword) len() uint    { return uint(c >> 16) }

// huffmanCoder makes Huffman codes for the symbols that occur, which are the leaves of a tree.
type huffmanCoder struct {
	leaves   [numLiterals]uint32 // by symbol
	sorted   [numLiterals]uint32 // by count, the rarest first
	unsorted [numLiterals]uint32
	weight   [2 * numLiterals]uint32
	parent   [2 * numLiterals]uint16
	number   [16]uint16 // of codewords of each length
}

// A leaf is a symbol, and above symbolBits its count.
const symbolBits = 9

func symbolOf(leaf uint32) uint32 { return leaf & (1<<symbolBits - 1) }
func countOf(leaf uint32) uint32  { return leaf >> symbolBits }

// code makes a code for the symbols that occur and returns the size of all of them in bits. It sets lens to the lengths of the
// codewords, 0 for symbols that do not occur, and words to the codewords of the others.
func (c *huffmanCoder) code(words []codeword, lens []uint8, counts []uint16, limit int) (size int) {
	n, most := c.collectLeaves(counts)
	clear(lens)
	switch {
	case n == 0:
		return 0
	case n == 1:
		// A single symbol has a codeword of one bit.
		c.number = [16]uint16{1: 1}
		c.sorted[0] = c.leaves[0]
	default:
		c.sort(n, most)
		c.buildTree(n, limit)
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

// collectLeaves collects the symbols that occur, and returns their number and the largest count.
func (c *huffmanCoder) collectLeaves(counts []uint16) (n int, most uint32) {
	for symbol, count := range counts[:min(len(counts), numLiterals)] {
		c.leaves[n] = uint32(count)<<symbolBits | uint32(symbol)
		n += int(uint32(count)+0xffff) >> 16 // 1 unless count is 0
		most = max(most, uint32(count))
	}
	return n, most
}

// sort sorts the leaves by count and then by symbol with a radix sort.
func (c *huffmanCoder) sort(n int, most uint32) {
	if most < 256 {
		radix(c.sorted[:n], c.leaves[:n], symbolBits, int(most)+1)
		return
	}
	radix(c.unsorted[:n], c.leaves[:n], symbolBits, 256)
	radix(c.sorted[:n], c.unsorted[:n], symbolBits+8, int(most>>8)+1)
}

// radix sorts from into to by the 8 bits above shift, whose value must be less than buckets.
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

// buildTree builds Huffman's tree over the n sorted leaves and counts the leaves at each depth. The nodes are the leaves and
// then the inner nodes in the order in which they are made, which is also the order of their weights. So the next two nodes to
// join are always at the front of one of these two queues.
func (c *huffmanCoder) buildTree(n, limit int) {
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
	c.limitLengths(limit)
}

// limitLengths makes a complete code after leaves deeper than limit were moved up to it. While there are too many codewords, it
// replaces one of a shorter length by two of the next length, the second of which is for a leaf at limit.
func (c *huffmanCoder) limitLengths(limit int) {
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

// assign makes codewords of the lengths lens for the symbols of leaves (RFC 1951 §3.2.2). number is the count of each length.
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
