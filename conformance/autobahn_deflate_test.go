package conformance

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"math/bits"
	"slices"
)

// deflater compresses messages with a window. Go's compressor supports only 32 KiB. For smaller windows there is a simple search with
// the fixed codes of RFC 1951 §3.2.6.
type deflater struct {
	window   int
	takeover bool

	history []byte // of the simple search
	full    *flate.Writer
	buf     bytes.Buffer
}

const fullWindow = 32 * kib

// message compresses plain as in RFC 7692 §7.2.1.
func (z *deflater) message(plain []byte) []byte {
	if z.window < fullWindow {
		return z.simple(plain)
	}
	z.buf.Reset()
	if z.full == nil {
		z.full, _ = flate.NewWriter(&z.buf, flate.BestSpeed+1)
	} else if !z.takeover {
		z.full.Reset(&z.buf)
	}
	z.full.Write(plain)
	z.full.Flush()
	return bytes.TrimSuffix(z.buf.Bytes(), []byte{0, 0, 0xff, 0xff})
}

func (z *deflater) simple(plain []byte) []byte {
	all := slices.Concat(z.history, plain)
	w := new(bitWriter)
	w.put(0b010, 3) // not the last block, fixed codes
	w.search(all, len(z.history), z.window)
	w.literal(256)
	w.put(0, 3) // an empty stored block, whose last bytes are not sent
	if z.takeover {
		z.history = bytes.Clone(all[max(0, len(all)-z.window):])
	}
	return w.flush()
}

// search writes all[start:] as literals and matches, which reach back at most window bytes, also before start.
func (w *bitWriter) search(all []byte, start, window int) {
	var seen [1 << 12]int // 1 + the last index of bytes with this hash
	key := func(i int) uint32 { return binary.LittleEndian.Uint32(all[i:]) * 0x9e3779b1 >> 20 }
	for i := range min(start, max(0, len(all)-3)) {
		seen[key(i)] = 1 + i
	}
	for i := start; i < len(all); {
		n := 0
		if i+4 <= len(all) {
			n = w.tryMatch(all, seen[key(i)]-1, i, window)
		}
		if n == 0 {
			w.literal(int(all[i]))
			n = 1
		}
		for end := i + n; i < end; i++ {
			if i+4 <= len(all) {
				seen[key(i)] = 1 + i
			}
		}
	}
}

// tryMatch writes the bytes at i as a match of those at from, and returns its length; 0: there is no useful match.
func (w *bitWriter) tryMatch(all []byte, from, i, window int) int {
	if from < 0 || i-from > window {
		return 0
	}
	n := common(all[from:], all[i:])
	if n < 4 {
		return 0
	}
	w.match(n, i-from)
	return n
}

// common returns the length of the common prefix of a and b, up to the longest match.
func common(a, b []byte) (n int) {
	for n < len(b) && n < 258 && a[n] == b[n] {
		n++
	}
	return n
}

type bitWriter struct {
	out  []byte
	held uint64
	n    int
}

func (w *bitWriter) put(v, n int) {
	w.held |= uint64(v) << w.n
	for w.n += n; w.n >= 8; w.n -= 8 {
		w.out = append(w.out, byte(w.held))
		w.held >>= 8
	}
}

// code writes a Huffman code, from its highest bit to its lowest.
func (w *bitWriter) code(v, n int) { w.put(int(bits.Reverse16(uint16(v))>>(16-n)), n) }

func (w *bitWriter) literal(s int) {
	switch {
	case s < 144:
		w.code(0x30+s, 8)
	case s < 256:
		w.code(0x190+s-144, 9)
	case s < 280:
		w.code(s-256, 7)
	default:
		w.code(0xc0+s-280, 8)
	}
}

func (w *bitWriter) match(n, distance int) {
	l, d := slot(lengthBase, n), slot(distanceBase, distance)
	w.literal(257 + l)
	w.put(n-lengthBase[l], lengthExtra[l])
	w.code(d, 5)
	w.put(distance-distanceBase[d], distanceExtra[d])
}

// slot returns the index of the last base that is not greater than v.
func slot(base []int, v int) int {
	i, found := slices.BinarySearch(base, v)
	if !found {
		i--
	}
	return i
}

func (w *bitWriter) flush() []byte {
	if w.n > 0 {
		w.out = append(w.out, byte(w.held))
	}
	return w.out
}
