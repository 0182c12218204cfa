package deflate

import (
	"encoding/binary"
)

// maxBlock is how many bytes of a text are one block, with codes of its own.
const maxBlock = 32 << 10

// The types of a block (RFC 1951 §3.2.3), as they are in its header. None is final.
const (
	storedBlock  = 0 << 1
	fixedBlock   = 1 << 1
	dynamicBlock = 2 << 1
	blockBits    = 3
)

// syncMark ends a sync flush, behind the header of a stored block.
const syncMark = "\x00\x00\xff\xff"

// blockWriter writes blocks.
type blockWriter struct {
	bitWriter
	counts
	coder    coder
	dynamic  codes
	preamble preamble
}

// codes are those of one block.
type codes struct {
	literals  [numLiterals]codeword // of literals, the end of the block, and lengths
	distances [numDistances]codeword
}

// block writes text, of which p is the parse, in the way that takes the fewest bits.
func (w *blockWriter) block(text []byte, p parse) {
	w.tally(p)
	stored := blockBits + 7 + 32 + 8*len(text) // at most: it begins on a byte
	simple, own := w.estimate()
	size := min(stored, simple)
	if own < size {
		size = min(size, w.plan())
	}
	w.reserve(size)
	switch size {
	case stored:
		w.stored(text)
	case simple:
		w.put(fixedBlock, blockBits)
		w.body(p, fixed)
	default:
		w.put(dynamicBlock, blockBits)
		w.preamble.write(&w.bitWriter)
		w.body(p, &w.dynamic)
	}
}

// plan makes codes for what was counted and returns the bits of the block with them.
func (w *blockWriter) plan() int {
	return blockBits + w.extra + w.preamble.plan(&w.coder, &w.dynamic, &w.counts)
}

func (w *blockWriter) stored(text []byte) {
	w.put(storedBlock, blockBits)
	w.align()
	w.put(uint64(len(text))|uint64(^uint16(len(text)))<<16, 32)
	w.flush()
	w.append(text)
}

// sync makes all of what was written readable for the peer: an empty stored block.
func (w *blockWriter) sync() {
	w.reserve(blockBits + 7 + 8*len(syncMark))
	w.put(storedBlock, blockBits)
	w.align()
	w.append([]byte(syncMark))
}

// body writes the symbols of a block. It keeps its own account of the bits, in registers.
func (w *blockWriter) body(p parse, c *codes) {
	out, n, held, size := w.out, w.n, w.held, w.size
	rest := p.literals
	for _, s := range p.sequences {
		literals := rest[:s.literals]
		rest = rest[s.literals:]
		for len(literals) >= 4 {
			held, size = put(held, size, c.literals[literals[0]])
			held, size = put(held, size, c.literals[literals[1]])
			held, size = put(held, size, c.literals[literals[2]])
			held, size = put(held, size, c.literals[literals[3]])
			literals = literals[4:]
			binary.LittleEndian.PutUint64(out[n:], held)
			n, held, size = n+int(size>>3), held>>(size&56), size&7
		}
		for _, literal := range literals {
			held, size = put(held, size, c.literals[literal])
		}
		binary.LittleEndian.PutUint64(out[n:], held)
		n, held, size = n+int(size>>3), held>>(size&56), size&7
		if s.length == 0 {
			break
		}
		length := lengthSymbols[uint8(s.length-3)]
		held, size = put(held, size, c.literals[endOfBlock+1+int(length)])
		held |= uint64(s.length-lengthBase[length]) << (size & 63)
		size += uint(lengthExtra[length])
		distance, extra := distanceSymbol(s.distance)
		held, size = put(held, size, c.distances[distance])
		held |= uint64(s.distance&(1<<extra-1)) << (size & 63)
		size += extra
		binary.LittleEndian.PutUint64(out[n:], held)
		n, held, size = n+int(size>>3), held>>(size&56), size&7
	}
	w.n, w.held, w.size = n, held, size
	w.put(c.literals[endOfBlock].bits(), c.literals[endOfBlock].len())
	w.flush()
}

func put(held uint64, size uint, c codeword) (uint64, uint) {
	return held | c.bits()<<(size&63), size + c.len()
}
