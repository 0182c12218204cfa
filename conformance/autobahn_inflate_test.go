package conformance

import "errors"

// inflater decodes DEFLATE (RFC 1951) bit by bit. It is slow, and strict where others are not: no match may reach back further than
// the negotiated window (RFC 7692 §7.1.2).
type inflater struct {
	window   int
	takeover bool
	history  []byte // the end of earlier messages, at most one window

	in   []byte
	pos  int // in bits
	out  []byte
	base int // where this message begins in out
}

var errInflate = errors.New("invalid compressed data")

// message returns the plaintext of payload.
func (z *inflater) message(payload []byte) (plain []byte, err error) {
	z.in, z.pos = append(payload, 0, 0, 0xff, 0xff), 0 // RFC 7692 §7.2.2
	z.out, z.base = append([]byte(nil), z.history...), len(z.history)
	defer func() {
		if recover() != nil { // an index beyond the input
			err = errInflate
		}
	}()
	for last := false; !last && z.pos+8 <= 8*len(z.in); {
		last = z.bits(1) == 1
		if err := z.block(z.bits(2)); err != nil {
			return nil, err
		}
	}
	if z.takeover {
		z.history = z.out[max(0, len(z.out)-z.window):]
	}
	return z.out[z.base:], nil
}

func (z *inflater) bits(n int) (v int) {
	for i := range n {
		v |= int(z.in[z.pos>>3]>>(z.pos&7)&1) << i
		z.pos++
	}
	return v
}

func (z *inflater) block(kind int) error {
	switch kind {
	case 0:
		z.pos = (z.pos + 7) &^ 7
		n := z.bits(16)
		if z.bits(16) != n^0xffff {
			return errInflate
		}
		z.out = append(z.out, z.in[z.pos/8:z.pos/8+n]...)
		z.pos += 8 * n
		return nil
	case 1:
		return z.symbols(fixedLiterals, fixedDistances)
	case 2:
		return z.dynamic()
	}
	return errInflate
}

// huffman is a canonical code: the number of codes of each length, and the symbols in the order of their codes.
type huffman struct {
	count   [16]int
	symbols []int
}

func newHuffman(lengths []int) *huffman {
	h := new(huffman)
	for n := range 16 {
		for symbol, length := range lengths {
			if length == n && n > 0 {
				h.count[n]++
				h.symbols = append(h.symbols, symbol)
			}
		}
	}
	return h
}

func (z *inflater) symbol(h *huffman) int {
	code, first, index := 0, 0, 0
	for n := 1; n < 16; n++ {
		code |= int(z.in[z.pos>>3] >> (z.pos & 7) & 1)
		z.pos++
		count := h.count[n]
		if code-first < count {
			return h.symbols[index+code-first]
		}
		index, first, code = index+count, (first+count)<<1, code<<1
	}
	return -1
}

var fixedLiterals, fixedDistances = newHuffman(fixedLengths()), newHuffman(repeated(5, 30))

func fixedLengths() []int {
	l := append(repeated(8, 144), repeated(9, 112)...)
	return append(append(l, repeated(7, 24)...), repeated(8, 8)...)
}

func repeated(v, n int) []int {
	l := make([]int, n)
	for i := range l {
		l[i] = v
	}
	return l
}

// RFC 1951 §3.2.5.
var (
	lengthBase    = []int{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra   = []int{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distanceBase  = []int{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distanceExtra = []int{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

func (z *inflater) symbols(literals, distances *huffman) error {
	for {
		s := z.symbol(literals)
		switch {
		case s < 0:
			return errInflate
		case s < 256:
			z.out = append(z.out, byte(s))
		case s == 256:
			return nil
		default:
			n := lengthBase[s-257] + z.bits(lengthExtra[s-257])
			d := z.symbol(distances)
			if err := z.match(n, distanceBase[d]+z.bits(distanceExtra[d])); err != nil {
				return err
			}
		}
	}
}

func (z *inflater) match(n, distance int) error {
	if distance > z.window {
		return errors.New("match reaches beyond the agreed window")
	}
	if distance > len(z.out) {
		return errors.New("match reaches beyond what there is")
	}
	for range n {
		z.out = append(z.out, z.out[len(z.out)-distance])
	}
	return nil
}

// dynamic reads a block with dynamic codes: RFC 1951 §3.2.7.
func (z *inflater) dynamic() error {
	literals, distances, n := z.bits(5)+257, z.bits(5)+1, z.bits(4)+4
	order := []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	codes := make([]int, 19)
	for i := range n {
		codes[order[i]] = z.bits(3)
	}
	lengths, code := []int(nil), newHuffman(codes)
	for len(lengths) < literals+distances {
		switch s := z.symbol(code); {
		case s < 0:
			return errInflate
		case s < 16:
			lengths = append(lengths, s)
		case s == 16:
			lengths = append(lengths, repeated(lengths[len(lengths)-1], 3+z.bits(2))...)
		case s == 17:
			lengths = append(lengths, repeated(0, 3+z.bits(3))...)
		default:
			lengths = append(lengths, repeated(0, 11+z.bits(7))...)
		}
	}
	return z.symbols(newHuffman(lengths[:literals]), newHuffman(lengths[literals:]))
}
