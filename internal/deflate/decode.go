package deflate

import "encoding/binary"

// symbols decodes the symbols of a block up to its end.
//
// Inflating spends most of its time in this loop, hence its length: the fields of f are in registers, and are written back
// only for the calls in rare cases. It reads the 48 bits that a match may need before each symbol, since a check whether they are
// needed costs as much.
func (f *inflater) symbols(literals, distances *table) error {
	payload, at, bitBuf, bitCount := f.payload, f.at, f.bitBuf, f.bitCount
	out, n := f.out, f.n
	literalMask, distanceMask := uint64(1)<<literals.bits-1, uint64(1)<<distances.bits-1
	for {
		if at <= len(payload)-8 {
			// The bits beyond bitCount are read again later, with the same values.
			bitBuf |= load64(payload, at) << (bitCount & 63)
			at += int(63-bitCount) >> 3
			bitCount |= 56
		} else {
			f.at, f.bitBuf, f.bitCount = at, bitBuf, bitCount
			if f.refill(); f.spent() {
				return errTruncated
			}
			at, bitBuf, bitCount = f.at, f.bitBuf, f.bitCount
		}

		e := literals.entries[bitBuf&literalMask]
		if e&isSecond != 0 {
			bitBuf, bitCount = bitBuf>>e.len(), bitCount-e.len()
			e = literals.entries[uint64(e.value())+bitBuf&(1<<e.extra()-1)]
		}
		bitBuf, bitCount = bitBuf>>e.len(), bitCount-e.len()
		if e&isLiteral != 0 {
			if n == len(out) {
				f.at, f.bitBuf, f.bitCount, f.n = at, bitBuf, bitCount, n
				if err := f.grow(1); err != nil {
					return err
				}
				out, n = f.out, f.n
			}
			out[n] = byte(e.value())
			n++
			continue
		}
		if e&isSpecial != 0 {
			f.at, f.bitBuf, f.bitCount, f.n = at, bitBuf, bitCount, n
			if e&isEnd == 0 {
				return errCodeword
			}
			return nil
		}
		length := int(e.value()) + int(bitBuf&(1<<e.extra()-1))
		bitBuf, bitCount = bitBuf>>e.extra(), bitCount-e.extra()

		e = distances.entries[bitBuf&distanceMask]
		if e&isSecond != 0 {
			bitBuf, bitCount = bitBuf>>e.len(), bitCount-e.len()
			e = distances.entries[uint64(e.value())+bitBuf&(1<<e.extra()-1)]
		}
		bitBuf, bitCount = bitBuf>>e.len(), bitCount-e.len()
		if e&isSpecial != 0 {
			f.at, f.bitBuf, f.bitCount = at, bitBuf, bitCount
			return errCodeword
		}
		distance := int(e.value()) + int(bitBuf&(1<<e.extra()-1))
		bitBuf, bitCount = bitBuf>>e.extra(), bitCount-e.extra()

		if length > len(out)-n {
			f.at, f.bitBuf, f.bitCount, f.n = at, bitBuf, bitCount, n
			if err := f.grow(length); err != nil {
				return err
			}
			out, n = f.out, f.n
		}
		switch {
		case distance > n-f.start:
			f.at, f.bitBuf, f.bitCount, f.n = at, bitBuf, bitCount, n
			if !f.copyFromHistory(distance, length) {
				return errDistance
			}
		case distance >= 8 && length <= len(out)-n-8:
			for i := n; i < n+length; i += 8 {
				binary.LittleEndian.PutUint64(out[i:], load64(out, i-distance))
			}
		default:
			repeat(out[n-distance:n+length], distance)
		}
		n += length
	}
}

// repeat fills p with repetitions of its first n bytes.
func repeat(p []byte, n int) {
	for n < len(p) {
		n += copy(p[n:], p[:n])
	}
}

// copyFromHistory copies a match that begins in the history. It returns false if the match begins before it.
func (f *inflater) copyFromHistory(distance, length int) bool {
	back := distance - (f.n - f.start) // from the end of the history
	if back > len(f.hist) {
		return false
	}
	p := f.out[f.n:][:length]
	n := copy(p, f.hist[len(f.hist)-back:])
	for i := n; i < length; i++ {
		p[i] = f.out[f.n+i-distance]
	}
	return true
}
