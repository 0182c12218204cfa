package deflate

// input reads the bits of a payload, the lowest of each byte first, and then those of the 00 00 ff ff that the sender has cut off
// (RFC 7692 §7.2.2). After these it reads zeros without end: see spent.
type input struct {
	payload  []byte
	at       int    // the next byte to read into bitBuf
	bitBuf   uint64 // bits that were read ahead; above bitCount there may be more bits of the payload
	bitCount uint   // valid bits in bitBuf
}

// left returns the number of bits that were not taken. It is negative beyond the end.
func (in *input) left() int64 {
	return 8*(int64(len(in.payload))+tailSize-int64(in.at)) + int64(in.bitCount)
}

// spent reports whether more bits were taken than there are.
func (in *input) spent() bool { return in.left() < 0 }

// refill fills bitBuf to at least 56 bits.
func (in *input) refill() {
	in.bitBuf &= 1<<(in.bitCount&63) - 1
	for in.bitCount <= 56 {
		in.bitBuf |= uint64(in.byte()) << in.bitCount
		in.bitCount += 8
	}
}

func (in *input) byte() (b byte) {
	if in.at < len(in.payload) {
		b = in.payload[in.at]
	} else if behind := in.at - len(in.payload); behind < tailSize {
		b = syncMark[behind]
	}
	in.at++
	return b
}

// take returns the next count bits, which must be in bitBuf.
func (in *input) take(count uint) uint64 {
	v := in.bitBuf & (1<<(count&63) - 1)
	in.drop(count)
	return v
}

func (in *input) drop(count uint) {
	in.bitBuf >>= count & 63
	in.bitCount -= count
}

// align skips to the next byte boundary.
func (in *input) align() { in.drop(in.bitCount & 7) }

// skip skips count bytes. The input must be aligned and have that many.
func (in *input) skip(count int) {
	in.at += count - int(in.bitCount>>3)
	in.bitBuf, in.bitCount = 0, 0
}

// read fills p with bytes. The input must be aligned and have that many.
func (in *input) read(p []byte) {
	in.at -= int(in.bitCount >> 3)
	in.bitBuf, in.bitCount = 0, 0
	n := copy(p, in.payload[min(in.at, len(in.payload)):])
	in.at += n
	for i := range p[n:] {
		p[n+i] = in.byte()
	}
}
