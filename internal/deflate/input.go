package deflate

// input gives a payload bit by bit, the lowest first, and then the 00 00 ff ff that the sender cut off (RFC 7692
// §7.2.2). Behind those come zeros without end: see spent.
type input struct {
	payload []byte
	at      int    // the next byte to hold
	held    uint64 // bits that were read ahead, and perhaps some of those that follow
	size    uint   // of held
}

// left returns how many bits were not taken.
func (in *input) left() int64 {
	return 8*(int64(len(in.payload))+tailSize-int64(in.at)) + int64(in.size)
}

// spent says whether more was taken than there was.
func (in *input) spent() bool { return in.left() < 0 }

// refill makes it 56 bits at least that are held.
func (in *input) refill() {
	in.held &= 1<<(in.size&63) - 1
	for in.size <= 56 {
		in.held |= uint64(in.byte()) << in.size
		in.size += 8
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

// take returns the next count bits, which are held.
func (in *input) take(count uint) uint64 {
	v := in.held & (1<<(count&63) - 1)
	in.drop(count)
	return v
}

func (in *input) drop(count uint) {
	in.held >>= count & 63
	in.size -= count
}

// align goes to the next byte.
func (in *input) align() { in.drop(in.size & 7) }

// skip passes over count bytes. The input is aligned, and has so many.
func (in *input) skip(count int) {
	in.at += count - int(in.size>>3)
	in.held, in.size = 0, 0
}

// read fills p with bytes. The input is aligned, and has so many.
func (in *input) read(p []byte) {
	in.at -= int(in.size >> 3)
	in.held, in.size = 0, 0
	n := copy(p, in.payload[min(in.at, len(in.payload)):])
	in.at += n
	for i := range p[n:] {
		p[n+i] = in.byte()
	}
}
