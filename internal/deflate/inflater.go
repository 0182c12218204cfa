package deflate

import (
	"fmt"
	"io"
	"math"
	"sync"
)

// The ways in which a payload can be corrupt.
var (
	errTruncated = fmt.Errorf("%w: %w", ErrCorrupt, io.ErrUnexpectedEOF)
	errStreams   = fmt.Errorf("%w: more than %d final blocks", ErrCorrupt, maxStreams)
	errBlockType = fmt.Errorf("%w: reserved type of block", ErrCorrupt)
	errStored    = fmt.Errorf("%w: length of a stored block does not match its complement", ErrCorrupt)
	errLengths   = fmt.Errorf("%w: lengths of codewords that make no code", ErrCorrupt)
	errCodeword  = fmt.Errorf("%w: codeword without a meaning", ErrCorrupt)
	errDistance  = fmt.Errorf("%w: distance beyond the history", ErrCorrupt)
)

// inflater is what a Decompressor borrows for one message: 35 KB.
type inflater struct {
	input
	out    []byte // all the room there is
	n      int    // bytes of out that are used
	start  int    // … of them before the message
	budget int    // that n may reach
	room   Room
	hist   history

	counting bool               // nothing is written: n is all there is
	pause    func()             // called between steps; nil: there are none
	sink     func([]byte) error // gets what is inflated, step by step, instead of out keeping it; nil: out grows
	passed   int                // bytes that sink has had
	window   history            // … and what a distance may refer to of them; its memory stays

	literals, distances, lengths table
	lens                         [numLiterals + numDistances]uint8

	literalEntries  [literalTableSize]entry
	distanceEntries [distanceTableSize]entry
	lengthEntries   [1 << maxLengthBits]entry
}

var inflaters = sync.Pool{New: func() any { return newInflater() }}

func newInflater() *inflater {
	f := new(inflater)
	f.literals.entries = f.literalEntries[:]
	f.distances.entries = f.distanceEntries[:]
	f.lengths.entries = f.lengthEntries[:]
	return f
}

// release puts f back without a reference to the message.
func (f *inflater) release() {
	f.input, f.out, f.room, f.hist = input{}, nil, nil, nil
	f.counting, f.pause, f.sink, f.passed, f.window = false, nil, nil, 0, f.window[:0]
	inflaters.Put(f)
}

// message inflates all blocks of a message behind dst.
func (f *inflater) message(dst []byte, limit int64) ([]byte, error) {
	f.n, f.start, f.budget = len(dst), len(dst), math.MaxInt
	if limit >= 0 && limit < int64(math.MaxInt-len(dst)) {
		f.budget = len(dst) + int(limit)
	}
	f.out = dst[:min(cap(dst), f.budget)]
	if f.pause != nil && len(f.out)-f.n > step {
		f.out = f.out[:f.n+step]
	}
	err := f.blocks()
	if err != nil && f.spent() {
		err = errTruncated // what came of reading beyond the end does not count
	}
	if f.counting {
		return nil, err
	}
	return f.out[:f.n], err
}

// blocks goes on to the end of the input, which has to be the end of a block. Behind a final block there may be
// another, on the next byte (RFC 7692 §7.2.3.4), unless the payload ends there: then the four bytes that the
// sender is supposed to have cut off are no part of it.
func (f *inflater) blocks() error {
	for streams := 0; f.left() > 0; {
		final, err := f.block()
		if err != nil {
			return err
		}
		if final {
			f.align()
			if f.left() == 8*tailSize {
				return nil
			}
			if streams++; streams == maxStreams && f.left() > 0 {
				return errStreams
			}
		}
	}
	if f.left() < 0 {
		return errTruncated
	}
	return nil
}

func (f *inflater) block() (final bool, err error) {
	f.refill()
	final = f.take(1) == 1
	switch f.take(2) << 1 {
	case storedBlock:
		return final, f.stored()
	case fixedBlock:
		return final, f.body(fixedLiterals, fixedDistances)
	case dynamicBlock:
		if err := f.codes(); err != nil {
			return final, err
		}
		return final, f.body(&f.literals, &f.distances)
	}
	return final, errBlockType
}

// body decodes the symbols of a block.
func (f *inflater) body(literals, distances *table) error {
	if f.counting {
		return f.count(literals, distances)
	}
	return f.symbols(literals, distances)
}

// stored copies a block that is not compressed.
func (f *inflater) stored() error {
	f.align()
	f.refill()
	length := f.take(16)
	if f.take(16) != length^0xffff {
		return errStored
	}
	if int64(f.left()) < 8*int64(length) {
		return errTruncated
	}
	if f.counting {
		f.skip(int(length))
		return f.counted(int(length))
	}
	if err := f.grow(int(length)); err != nil {
		return err
	}
	f.read(f.out[f.n:][:length])
	f.n += int(length)
	return nil
}

// grow makes room for count more bytes.
func (f *inflater) grow(count int) error {
	switch {
	case count > f.budget-f.n-f.passed:
		return ErrTooBig
	case count <= len(f.out)-f.n:
		return nil
	case f.sink != nil:
		return f.pass()
	case f.pause != nil && count <= cap(f.out)-f.n:
		f.pause()
		f.out = f.out[:min(f.n+max(count, step), cap(f.out), f.budget)]
		return nil
	}
	guess := min(4*len(f.payload), maxGuess)
	more := max(count, min(max(guess, f.n-f.start), f.budget-f.n))
	f.out = f.room.Grow(f.out[:f.n], more)
	f.out = f.out[:min(cap(f.out), f.budget)]
	return nil
}

// codes reads the codes of a block (RFC 1951 §3.2.7).
func (f *inflater) codes() error {
	f.refill()
	numLiteral, numDistance, numLens := int(f.take(5))+257, int(f.take(5))+1, int(f.take(4))+4
	if numLiteral > numLiterals || numDistance > numDistances {
		return errLengths
	}
	var lens [numLengths]uint8
	for _, symbol := range lengthOrder[:numLens] {
		if f.size < 3 {
			f.refill()
		}
		lens[symbol] = uint8(f.take(3))
	}
	if !f.lengths.build(lens[:], lengthEntries[:], maxLengthBits) {
		return errLengths
	}
	all := f.lens[:numLiteral+numDistance]
	if err := f.readLens(all); err != nil {
		return err
	}
	if all[endOfBlock] == 0 ||
		!f.literals.build(all[:numLiteral], literalEntries[:], literalTableBits) ||
		!f.distances.build(all[numLiteral:], distanceEntries[:], distanceTableBits) {
		return errLengths
	}
	return nil
}

func (f *inflater) readLens(all []uint8) error {
	for i := 0; i < len(all); {
		if f.size < 2*maxLengthBits {
			if f.refill(); f.spent() {
				return errTruncated
			}
		}
		e := f.lengths.entries[f.held&(1<<f.lengths.bits-1)]
		if e&isSpecial != 0 {
			return errCodeword
		}
		f.drop(e.len())
		symbol := uint8(e.value())
		if symbol < repeatLast {
			all[i] = symbol
			i++
			continue
		}
		times := int(f.take(e.extra())) + 3
		length := uint8(0)
		switch {
		case symbol == repeatZeros:
			times += 11 - 3
		case symbol == repeatLast && i == 0:
			return errLengths
		case symbol == repeatLast:
			length = all[i-1]
		}
		if times > len(all)-i {
			return errLengths
		}
		for range times {
			all[i] = length
			i++
		}
	}
	return nil
}

// The tables of the fixed codes.
var fixedLiterals, fixedDistances = newTable(fixedLiteralLens, literalEntries[:]), newTable(fixedDistanceLens, distanceEntries[:])

func newTable(lens []uint8, symbols []entry) *table {
	t := &table{entries: make([]entry, 1<<9)}
	t.build(lens, symbols, 9)
	return t
}
