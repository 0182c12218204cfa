package deflate

import (
	"encoding/binary"
)

// bitWriter appends bits to bytes, the first is the lowest (RFC 1951 §3.1.1). There has to be room: see reserve.
type bitWriter struct {
	room Room
	out  []byte // all the room there is
	n    int    // bytes of out that are written
	held uint64 // bits that are not
	size uint   // of held
}

// reserve makes room for so many bits, and slack behind them.
func (w *bitWriter) reserve(size int) {
	if size = (int(w.size)+size+7)/8 + slack; size > len(w.out)-w.n {
		w.out = w.room.Grow(w.out[:w.n], size)
		w.out = w.out[:cap(w.out)]
	}
}

// slack is how many bytes a flush may write behind the last one.
const slack = 8

// put adds the count lowest bits of v, which has no others. At most 56 bits may be added between two flushes.
func (w *bitWriter) put(v uint64, count uint) {
	w.held |= v << (w.size & 63)
	w.size += count
}

// flush leaves less than 8 bits.
func (w *bitWriter) flush() {
	binary.LittleEndian.PutUint64(w.out[w.n:], w.held)
	w.n += int(w.size >> 3)
	w.held >>= w.size & 56
	w.size &= 7
}

// align goes to the next byte.
func (w *bitWriter) align() {
	w.size = (w.size + 7) &^ 7
	w.flush()
}

// open begins to append to dst.
func (w *bitWriter) open(room Room, dst []byte) {
	*w = bitWriter{room: room, out: dst[:cap(dst)], n: len(dst)}
}

// close returns what open was given with what was appended, and lets go of it.
func (w *bitWriter) close() []byte {
	dst := w.out[:w.n]
	w.out, w.room = nil, nil
	return dst
}

// append adds p, when nothing is held.
func (w *bitWriter) append(p []byte) { w.n += copy(w.out[w.n:], p) }
