package deflate

import (
	"encoding/binary"
)

// maxBlock is the largest block, in bytes of plaintext. Each block has codes of its own.
const maxBlock = 32 << 10

// Headers of blocks by type, without the final bit (RFC 1951 §3.2.3). blockBits is their size in bits.
const (
	storedBlock  = 0 << 1
	fixedBlock   = 1 << 1
	dynamicBlock = 2 << 1
	blockBits    = 3
)

// syncMark ends a sync flush. The header of a stored block comes before it.
const syncMark = "\x00\x00\xff\xff"

// blockWriter writes blocks.
type blockWriter struct {
	bitWriter
	symbolCounts
	huffman huffmanCoder
	dynamic codes
	header  dynamicHeader
}

// codes are the Huffman codes of one block.
type codes struct {
	literals  [numLiterals]codeword // literals, the end of the block, and lengths
	distances [numDistances]codeword
}

// block writes text, of which p is the parse, as the block type that takes the fewest bits.
func (w *blockWriter) block(text []byte, p parse) {
	w.countSymbols(p)
	stored := blockBits + 7 + 32 + 8*len(text) // at most: up to 7 bits align it
	fixedSize, dynamicSize := w.estimate()
	size := min(stored, fixedSize)
	if dynamicSize < size {
		size = min(size, w.plan())
	}
	w.reserve(size)
	switch size {
	case stored:
		w.stored(text)
	case fixedSize:
		w.put(fixedBlock, blockBits)
		w.body(p, fixedForWriting())
	default:
		w.put(dynamicBlock, blockBits)
		w.header.write(&w.bitWriter)
		w.body(p, &w.dynamic)
	}
}

// plan makes codes for the counted symbols and returns the size of the block with them in bits.
func (w *blockWriter) plan() int {
	return blockBits + w.extra + w.header.plan(&w.huffman, &w.dynamic, &w.symbolCounts)
}

func (w *blockWriter) stored(text []byte) {
	w.put(storedBlock, blockBits)
	w.align()
	w.put(uint64(len(text))|uint64(^uint16(len(text)))<<16, 32)
	w.flush()
	w.append(text)
}

// sync writes a sync flush, an empty stored block: the peer can then decode everything that was written.
func (w *blockWriter) sync() {
	w.reserve(blockBits + 7 + 8*len(syncMark))
	w.put(storedBlock, blockBits)
	w.align()
	w.append([]byte(syncMark))
}

// body writes the symbols of a block. It works on copies of the writer's fields, which stay in registers.
func (w *blockWriter) body(p parse, c *codes) {
	out, n, bitBuf, bitCount := w.out, w.n, w.bitBuf, w.bitCount
	rest := p.literals
	for _, s := range p.sequences {
		literals := rest[:s.literals]
		rest = rest[s.literals:]
		for len(literals) >= 4 {
			bitBuf, bitCount = put(bitBuf, bitCount, c.literals[literals[0]])
			bitBuf, bitCount = put(bitBuf, bitCount, c.literals[literals[1]])
			bitBuf, bitCount = put(bitBuf, bitCount, c.literals[literals[2]])
			bitBuf, bitCount = put(bitBuf, bitCount, c.literals[literals[3]])
			literals = literals[4:]
			binary.LittleEndian.PutUint64(out[n:], bitBuf)
			n, bitBuf, bitCount = n+int(bitCount>>3), bitBuf>>(bitCount&56), bitCount&7
		}
		for _, literal := range literals {
			bitBuf, bitCount = put(bitBuf, bitCount, c.literals[literal])
		}
		binary.LittleEndian.PutUint64(out[n:], bitBuf)
		n, bitBuf, bitCount = n+int(bitCount>>3), bitBuf>>(bitCount&56), bitCount&7
		if s.length == 0 {
			break
		}
		length := lengthSymbols[uint8(s.length-3)]
		bitBuf, bitCount = put(bitBuf, bitCount, c.literals[endOfBlock+1+int(length)])
		bitBuf |= uint64(s.length-lengthBase[length]) << (bitCount & 63)
		bitCount += uint(lengthExtra[length])
		distance, extra := distanceSymbol(s.distance)
		bitBuf, bitCount = put(bitBuf, bitCount, c.distances[distance])
		bitBuf |= uint64(s.distance&(1<<extra-1)) << (bitCount & 63)
		bitCount += extra
		binary.LittleEndian.PutUint64(out[n:], bitBuf)
		n, bitBuf, bitCount = n+int(bitCount>>3), bitBuf>>(bitCount&56), bitCount&7
	}
	w.n, w.bitBuf, w.bitCount = n, bitBuf, bitCount
	w.put(c.literals[endOfBlock].bits(), c.literals[endOfBlock].len())
	w.flush()
}

func put(bitBuf uint64, bitCount uint, c codeword) (uint64, uint) {
	return bitBuf | c.bits()<<(bitCount&63), bitCount + c.len()
}
