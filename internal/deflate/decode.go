package deflate

import "encoding/binary"

// symbols decodes a block to its end.
//
// This is the loop that inflating is about, hence its length: what it needs of f is in registers, and what is
// rare is left to others, who need it in f. It holds the 48 bits of a match before each symbol: to ask whether
// they are needed costs as much.
func (f *inflater) symbols(literals, distances *table) error {
	payload, at, held, size := f.payload, f.at, f.held, f.size
	out, n := f.out, f.n
	literalMask, distanceMask := uint64(1)<<literals.bits-1, uint64(1)<<distances.bits-1
	for {
		if at <= len(payload)-8 {
			// The bits beyond size will be read again: as they are the same, that does no harm.
			held |= load64(payload, at) << (size & 63)
			at += int(63-size) >> 3
			size |= 56
		} else {
			f.at, f.held, f.size = at, held, size
			if f.refill(); f.spent() {
				return errTruncated
			}
			at, held, size = f.at, f.held, f.size
		}

		e := literals.entries[held&literalMask]
		if e&isSecond != 0 {
			held, size = held>>e.len(), size-e.len()
			e = literals.entries[uint64(e.value())+held&(1<<e.extra()-1)]
		}
		held, size = held>>e.len(), size-e.len()
		if e&isLiteral != 0 {
			if n == len(out) {
				f.at, f.held, f.size, f.n = at, held, size, n
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
			f.at, f.held, f.size, f.n = at, held, size, n
			if e&isEnd == 0 {
				return errCodeword
			}
			return nil
		}
		length := int(e.value()) + int(held&(1<<e.extra()-1))
		held, size = held>>e.extra(), size-e.extra()

		e = distances.entries[held&distanceMask]
		if e&isSecond != 0 {
			held, size = held>>e.len(), size-e.len()
			e = distances.entries[uint64(e.value())+held&(1<<e.extra()-1)]
		}
		held, size = held>>e.len(), size-e.len()
		if e&isSpecial != 0 {
			f.at, f.held, f.size = at, held, size
			return errCodeword
		}
		distance := int(e.value()) + int(held&(1<<e.extra()-1))
		held, size = held>>e.extra(), size-e.extra()

		if length > len(out)-n {
			f.at, f.held, f.size, f.n = at, held, size, n
			if err := f.grow(length); err != nil {
				return err
			}
			out, n = f.out, f.n
		}
		switch {
		case distance > n-f.start:
			f.at, f.held, f.size, f.n = at, held, size, n
			if !f.recall(distance, length) {
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

// repeat fills p with its first n bytes, again and again.
func repeat(p []byte, n int) {
	for n < len(p) {
		n += copy(p[n:], p[:n])
	}
}

// recall copies a match that begins in the history.
func (f *inflater) recall(distance, length int) bool {
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
