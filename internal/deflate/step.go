package deflate

// A few bytes may inflate to a thousand times as many. Size, AppendSized and Skip process such a message in steps of bounded size,
// and do not allocate more than the result needs.

// step is the number of bytes that are inflated between two calls of pause or of a sink. A stored block, which is not divided, fits
// into one step.
const step = 64 << 10

// Size returns the inflated size, in bytes, of payload, a whole message. A size beyond limit is ErrTooBig; a negative limit means none.
// Size needs no memory besides pooled state, and much less time than inflating a very compressible message. It does not check
// distances. It calls pause between steps.
func (d *Decompressor) Size(payload []byte, limit int64, pause func()) (int, error) {
	if len(payload) == 0 {
		return 0, nil
	}
	f := inflaters.Get().(*inflater)
	defer f.release()
	f.payload, f.counting, f.pause = payload, true, pause
	_, err := f.message(nil, limit)
	return f.n, err
}

// AppendSized is Append for a message whose Size is known. dst must have the capacity for it. AppendSized calls pause between steps.
func (d *Decompressor) AppendSized(dst, payload []byte, size int, pause func()) ([]byte, error) {
	if len(payload) == 0 {
		return dst, nil
	}
	f := inflaters.Get().(*inflater)
	defer f.release()
	f.payload, f.hist, f.grower, f.pause = payload, d.hist, heapGrower{}, pause
	return d.finish(f, dst, int64(size))
}

// Skip inflates a message in pieces, without keeping it. It passes each piece to sink; the piece is valid until sink returns. The
// capacity of scratch must be at least step bytes. Skip updates the history for the next message. Everything else is as with Append.
func (d *Decompressor) Skip(scratch, payload []byte, limit int64, sink func([]byte) error) (int, error) {
	if len(payload) == 0 {
		return 0, nil
	}
	f := inflaters.Get().(*inflater)
	defer f.release()
	f.window.add(d.hist, maxWindow)
	f.payload, f.hist, f.sink = payload, f.window, sink
	_, err := f.message(scratch[:0], limit)
	if err == nil {
		err = f.deliver()
	}
	if err == nil && d.takeover {
		d.hist = d.hist[:0] // f.window begins with it
		d.hist.add(f.window, 1<<d.bits)
	}
	return f.delivered, err
}

// deliver passes the content of out to the sink, which makes room for another step.
func (f *inflater) deliver() error {
	p := f.out[:f.n]
	f.delivered += f.n
	f.window.add(p, maxWindow)
	f.hist, f.n = f.window, 0
	f.out = f.out[:min(cap(f.out), f.maxN-f.delivered)]
	return f.sink(p)
}

// addCount adds count bytes to the size, when the bytes themselves are not written.
func (f *inflater) addCount(count int) error {
	if count > f.maxN-f.n {
		return ErrTooBig
	}
	if f.n/countStep != (f.n+count)/countStep && f.pause != nil {
		f.pause()
	}
	f.n += count
	return nil
}

// countStep is the step, in bytes, when they are only counted, which is faster.
const countStep = 4 * step

// countSymbols decodes a block as symbols does, but only adds the number of its bytes to n.
func (f *inflater) countSymbols(literals, distances *table) error {
	payload, at, bitBuf, bitCount := f.payload, f.at, f.bitBuf, f.bitCount
	literalMask, distanceMask := uint64(1)<<literals.bits-1, uint64(1)<<distances.bits-1
	n := 0 // bytes that are not yet added
	for {
		if at <= len(payload)-8 {
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
		switch {
		case e&isLiteral != 0:
			n++
		case e&isSpecial != 0:
			f.at, f.bitBuf, f.bitCount = at, bitBuf, bitCount
			if e&isEnd == 0 {
				return errCodeword
			}
			return f.addCount(n)
		default:
			n += int(e.value()) + int(bitBuf&(1<<e.extra()-1))
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
			bitBuf, bitCount = bitBuf>>e.extra(), bitCount-e.extra()
		}
		if n >= 1<<12 {
			if f.at, f.bitBuf, f.bitCount = at, bitBuf, bitCount; f.addCount(n) != nil {
				return ErrTooBig
			}
			n = 0
		}
	}
}
