package deflate

import (
	"encoding/binary"
)

// bitWriter packs bits into bytes, the first bit is the lowest (RFC 1951 §3.1.1). reserve must make room first.
type bitWriter struct {
	grower   Grower
	out      []byte // with its length extended to its capacity
	n        int    // written bytes of out
	bitBuf   uint64 // bits that are not written yet
	bitCount uint   // valid bits in bitBuf
}

// reserve makes room for size bits and flushSlack.
func (w *bitWriter) reserve(size int) {
	if size = (int(w.bitCount)+size+7)/8 + flushSlack; size > len(w.out)-w.n {
		w.out = w.grower.Grow(w.out[:w.n], size)
		w.out = w.out[:cap(w.out)]
	}
}

// flushSlack is the number of bytes that flush may write beyond the last complete one.
const flushSlack = 8

// put adds the lowest count bits of v. Its higher bits must be 0. At most 56 bits may be added between two flushes.
func (w *bitWriter) put(v uint64, count uint) {
	w.bitBuf |= v << (w.bitCount & 63)
	w.bitCount += count
}

// flush writes all complete bytes. Fewer than 8 bits remain in bitBuf.
func (w *bitWriter) flush() {
	binary.LittleEndian.PutUint64(w.out[w.n:], w.bitBuf)
	w.n += int(w.bitCount >> 3)
	w.bitBuf >>= w.bitCount & 56
	w.bitCount &= 7
}

// align adds zeros up to the next byte boundary.
func (w *bitWriter) align() {
	w.bitCount = (w.bitCount + 7) &^ 7
	w.flush()
}

// open begins to append to dst.
func (w *bitWriter) open(g Grower, dst []byte) {
	*w = bitWriter{grower: g, out: dst[:cap(dst)], n: len(dst)}
}

// close returns the slice that open was given, with everything that was appended, and drops its references.
func (w *bitWriter) close() []byte {
	dst := w.out[:w.n]
	w.out, w.grower = nil, nil
	return dst
}

// append adds the bytes of p. bitBuf must be empty.
func (w *bitWriter) append(p []byte) { w.n += copy(w.out[w.n:], p) }
