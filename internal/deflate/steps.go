package deflate

// A few bytes may inflate to a thousand times as many. Size, AppendSized and Skip deal with such a message in steps of bounded size,
// and without memory that is not needed in the end.

// step is how many bytes are inflated at a time, between two calls of pause or of a sink. A stored block, which is not cut, fits.
const step = 64 << 10

// Size returns how many bytes payload, a whole message, inflates to. More than limit is ErrTooBig, unless limit is negative. It needs
// no memory but a Decompressor's scratch, and much less time than inflating what is very compressible. Distances are not
// checked. pause is called every now and then.
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

// AppendSized is Append for a message of which Size is known. dst has the room for it. pause is called between steps.
func (d *Decompressor) AppendSized(dst, payload []byte, size int, pause func()) ([]byte, error) {
	if len(payload) == 0 {
		return dst, nil
	}
	f := inflaters.Get().(*inflater)
	defer f.release()
	f.payload, f.hist, f.room, f.pause = payload, d.hist, heap{}, pause
	return d.finish(f, dst, int64(size))
}

// Skip inflates a message that nobody keeps: sink gets it in pieces, which are good until it returns. scratch has room for step bytes.
// What the next message may refer to is remembered. Everything else is as with Append.
func (d *Decompressor) Skip(scratch, payload []byte, limit int64, sink func([]byte) error) (int, error) {
	if len(payload) == 0 {
		return 0, nil
	}
	f := inflaters.Get().(*inflater)
	defer f.release()
	f.window.roll(d.hist, maxWindow)
	f.payload, f.hist, f.sink = payload, f.window, sink
	_, err := f.message(scratch[:0], limit)
	if err == nil {
		err = f.pass()
	}
	if err == nil && d.takeover {
		d.hist = d.hist[:0] // it is in the window
		d.hist.roll(f.window, 1<<d.bits)
	}
	return f.passed, err
}

// pass gives to the sink what is in out, which makes room for a step.
func (f *inflater) pass() error {
	p := f.out[:f.n]
	f.passed += f.n
	f.window.roll(p, maxWindow)
	f.hist, f.n = f.window, 0
	f.out = f.out[:min(cap(f.out), f.budget-f.passed)]
	return f.sink(p)
}

// counted adds count bytes to those that are not written.
func (f *inflater) counted(count int) error {
	if count > f.budget-f.n {
		return ErrTooBig
	}
	if f.n/countStep != (f.n+count)/countStep && f.pause != nil {
		f.pause()
	}
	f.n += count
	return nil
}

// countStep is the step of counting: it is faster.
const countStep = 4 * step

// count is symbols without the bytes: it adds their number to n.
func (f *inflater) count(literals, distances *table) error {
	payload, at, held, size := f.payload, f.at, f.held, f.size
	literalMask, distanceMask := uint64(1)<<literals.bits-1, uint64(1)<<distances.bits-1
	n := 0 // not yet added
	for {
		if at <= len(payload)-8 {
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
		switch {
		case e&isLiteral != 0:
			n++
		case e&isSpecial != 0:
			f.at, f.held, f.size = at, held, size
			if e&isEnd == 0 {
				return errCodeword
			}
			return f.counted(n)
		default:
			n += int(e.value()) + int(held&(1<<e.extra()-1))
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
			held, size = held>>e.extra(), size-e.extra()
		}
		if n >= 1<<12 {
			if f.at, f.held, f.size = at, held, size; f.counted(n) != nil {
				return ErrTooBig
			}
			n = 0
		}
	}
}
