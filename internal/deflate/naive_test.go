package deflate

import (
	"errors"
	"slices"
)

// naive is an inflater that is slow and obviously right (RFC 1951), to which other tests compare. It reads bit by bit, compares
// codes with a list, and records the largest distance.
type naive struct {
	in          []byte
	bit         int // of in, the next to read
	out         []byte
	window      int
	maxDistance int
}

var errNaive = errors.New("naive: invalid")

// naiveMessage inflates a payload as RFC 7692 §7.2.2 says: with 00 00 ff ff appended, after which a block must end. After a final block
// the next one begins at the next byte, unless the payload ends.
func naiveMessage(payload, hist []byte, window int) (out []byte, maxDistance int, err error) {
	if len(payload) == 0 {
		return nil, 0, nil
	}
	n := naive{in: append(slices.Clone(payload), 0, 0, 0xff, 0xff), out: slices.Clone(hist), window: window}
	for n.bit < 8*len(n.in) && err == nil {
		var final bool
		if final, err = n.block(); final && err == nil {
			n.align()
			if n.bit == 8*len(payload) {
				break
			}
		}
	}
	return n.out[len(hist):], n.maxDistance, err
}

func (n *naive) align() { n.bit = (n.bit + 7) &^ 7 }

// bits reads count bits, the first is the lowest. It panics beyond the end, which block recovers.
func (n *naive) bits(count int) (v int) {
	for i := range count {
		if n.bit >= 8*len(n.in) {
			panic(errNaive)
		}
		v |= int(n.in[n.bit/8]>>(n.bit%8)&1) << i
		n.bit++
	}
	return v
}

func check(ok bool) {
	if !ok {
		panic(errNaive)
	}
}

func (n *naive) block() (final bool, err error) {
	defer func() {
		if e := recover(); e == errNaive {
			err = errNaive
		} else if e != nil {
			panic(e)
		}
	}()
	final = n.bits(1) == 1
	switch n.bits(2) {
	case 0:
		n.stored()
	case 1:
		n.compressed(fixedCodes())
	case 2:
		n.compressed(n.dynamicCodes())
	default:
		check(false)
	}
	return final, nil
}

func (n *naive) stored() {
	n.align()
	length := n.bits(16)
	check(n.bits(16) == length^0xffff)
	for range length {
		n.out = append(n.out, byte(n.bits(8)))
	}
}

// code is a set of Huffman codes: symbols[length] has the symbols with codes of that length, in order.
type code [16][]int

func newCode(lengths []int) (c code) {
	for symbol, length := range lengths {
		if length > 0 {
			c[length] = append(c[length], symbol)
		}
	}
	free, total := 1, 0
	for length := 1; length <= 15; length++ {
		free = 2*free - len(c[length])
		total += len(c[length])
		check(free >= 0)
	}
	// Only a single code of one bit, or no code at all, may be incomplete.
	check(free == 0 || total == 0 || total == 1 && len(c[1]) == 1)
	return c
}

func (n *naive) symbol(c code) int {
	value, first := 0, 0
	for length := 1; length <= 15; length++ {
		value = value<<1 | n.bits(1)
		first <<= 1
		if value-first < len(c[length]) {
			return c[length][value-first]
		}
		first += len(c[length])
	}
	panic(errNaive)
}

func fixedCodes() (lit, dist code) {
	lengths := slices.Concat(slices.Repeat([]int{8}, 144), slices.Repeat([]int{9}, 112), slices.Repeat([]int{7}, 24), slices.Repeat([]int{8}, 8))
	return newCode(lengths), newCode(slices.Repeat([]int{5}, 32))
}

func (n *naive) dynamicCodes() (lit, dist code) {
	numLit, numDist, numLen := n.bits(5)+257, n.bits(5)+1, n.bits(4)+4
	check(numLit <= 286 && numDist <= 30)
	lengthLengths := make([]int, 19)
	for _, i := range []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}[:numLen] {
		lengthLengths[i] = n.bits(3)
	}
	lengthCode := newCode(lengthLengths)
	var lengths []int
	for len(lengths) < numLit+numDist {
		lengths = n.lengths(lengths, lengthCode)
	}
	check(len(lengths) == numLit+numDist)
	return newCode(lengths[:numLit]), newCode(lengths[numLit:])
}

func (n *naive) lengths(so []int, c code) []int {
	switch s := n.symbol(c); s {
	case 16:
		check(len(so) > 0)
		return append(so, slices.Repeat(so[len(so)-1:], 3+n.bits(2))...)
	case 17:
		return append(so, make([]int, 3+n.bits(3))...)
	case 18:
		return append(so, make([]int, 11+n.bits(7))...)
	default:
		return append(so, s)
	}
}

func (n *naive) compressed(lit, dist code) {
	for {
		s := n.symbol(lit)
		switch {
		case s < 256:
			n.out = append(n.out, byte(s))
		case s == 256:
			return
		default:
			check(s <= 285)
			length := n.length(s)
			d := n.symbol(dist)
			check(d < 30)
			n.copy(n.distance(d), length)
		}
	}
}

func (n *naive) length(s int) int {
	switch {
	case s < 265:
		return s - 257 + 3
	case s == 285:
		return 258
	}
	extra := (s - 261) / 4
	return 3 + (4+(s-261)%4)<<extra + n.bits(extra)
}

func (n *naive) distance(s int) int {
	if s < 4 {
		return s + 1
	}
	extra := s/2 - 1
	return 1 + (2+s%2)<<extra + n.bits(extra)
}

func (n *naive) copy(distance, length int) {
	check(distance <= len(n.out) && distance <= n.window)
	n.maxDistance = max(n.maxDistance, distance)
	for range length {
		n.out = append(n.out, n.out[len(n.out)-distance])
	}
}
