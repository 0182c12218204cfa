package deflate

import (
	"fmt"
	"io"
	"math"
	"sync"
)

// Errors of a corrupt payload.
var (
	errTruncated = fmt.Errorf("%w: %w", ErrCorrupt, io.ErrUnexpectedEOF)
	errStreams   = fmt.Errorf("%w: more than %d final blocks", ErrCorrupt, maxStreams)
	errBlockType = fmt.Errorf("%w: reserved type of block", ErrCorrupt)
	errStored    = fmt.Errorf("%w: length of a stored block does not match its complement", ErrCorrupt)
	errLengths   = fmt.Errorf("%w: the lengths of codewords do not make a code", ErrCorrupt)
	errCodeword  = fmt.Errorf("%w: unused codeword", ErrCorrupt)
	errDistance  = fmt.Errorf("%w: distance beyond the history", ErrCorrupt)
)

// inflater is the pooled state of a decompression: 35 KB.
type inflater struct {
	input
	out    []byte // with its length extended to the capacity that may be used
	n      int    // used bytes of out
	start  int    // used bytes of out before the message
	maxN   int    // the limit of n
	grower Grower
	hist   history

	counting  bool               // bytes are counted in n, and not written
	pause     func()             // called between steps; nil: the message is inflated without steps
	sink      func([]byte) error // receives the content of out at the end of each step; nil: out grows
	delivered int                // bytes that sink has received
	window    history            // the end of the delivered bytes, which distances may refer to; its memory is reused

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

// release returns f to the pool, without a reference to the message.
func (f *inflater) release() {
	f.input, f.out, f.grower, f.hist = input{}, nil, nil, nil
	f.counting, f.pause, f.sink, f.delivered, f.window = false, nil, nil, 0, f.window[:0]
	inflaters.Put(f)
}

// message appends the inflated message to dst.
func (f *inflater) message(dst []byte, limit int64) ([]byte, error) {
	f.n, f.start, f.maxN = len(dst), len(dst), math.MaxInt
	if limit >= 0 && limit < int64(math.MaxInt-len(dst)) {
		f.maxN = len(dst) + int(limit)
	}
	f.out = dst[:min(cap(dst), f.maxN)]
	if f.pause != nil && len(f.out)-f.n > step {
		f.out = f.out[:f.n+step]
	}
	err := f.blocks()
	if err != nil && f.spent() {
		err = errTruncated // an error from reading beyond the end is a consequence of the truncation
	}
	if f.counting {
		return nil, err
	}
	return f.out[:f.n], err
}

// blocks inflates blocks up to the end of the input, which has to be the end of a block. After a final block another stream may begin
// at the next byte (RFC 7692 §7.2.3.4). If the payload ends after a final block, the four bytes that input adds are not part of it.
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
		return final, f.body(fixedForReading())
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
		return f.countSymbols(literals, distances)
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
		return f.addCount(int(length))
	}
	if err := f.grow(int(length)); err != nil {
		return err
	}
	f.read(f.out[f.n:][:length])
	f.n += int(length)
	return nil
}

// grow makes room in out for count more bytes.
func (f *inflater) grow(count int) error {
	switch {
	case count > f.maxN-f.n-f.delivered:
		return ErrTooBig
	case count <= len(f.out)-f.n:
		return nil
	case f.sink != nil:
		return f.deliver()
	case f.pause != nil && count <= cap(f.out)-f.n:
		f.pause()
		f.out = f.out[:min(f.n+max(count, step), cap(f.out), f.maxN)]
		return nil
	}
	guess := min(4*len(f.payload), maxGuess)
	more := max(count, min(max(guess, f.n-f.start), f.maxN-f.n))
	f.out = f.grower.Grow(f.out[:f.n], more)
	f.out = f.out[:min(cap(f.out), f.maxN)]
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
		if f.bitCount < 3 {
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
		if f.bitCount < 2*maxLengthBits {
			if f.refill(); f.spent() {
				return errTruncated
			}
		}
		e := f.lengths.entries[f.bitBuf&(1<<f.lengths.bits-1)]
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
