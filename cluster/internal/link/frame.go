package link

import (
	"encoding/binary"
	"fmt"
)

// frameType says what a frame is.
type frameType uint8

// The types of frames; the package's documentation says what each means.
const (
	typeHello   frameType = 1
	typeWelcome frameType = 2
	typeProof   frameType = 3
	typeReady   frameType = 4
	typeRefuse  frameType = 5

	typeOpen        frameType = 16
	typeData        frameType = 17
	typeEnd         frameType = 18
	typeAck         frameType = 19
	typeAsk         frameType = 20
	typeNack        frameType = 21
	typeReset       frameType = 22
	typeGone        frameType = 23
	typeReopen      frameType = 24
	typeUnsupported frameType = 25
	typePing        frameType = 26
	typePong        frameType = 27
	typeShared      frameType = 28
)

// headerLen is the length of a frame's header, in bytes.
const headerLen = 28

// frame is a frame. Sequences are the low 32 bits of those that the two ends count with.
type frame struct {
	version  uint8
	kind     frameType
	code     uint16 // of a reset, of a refusal; the type that an "unsupported" is about
	channel  uint64
	seq      uint32
	received uint32
	consumed uint32
	payload  []byte
}

// appendFrame appends the encoded frame to b.
func appendFrame(b []byte, f *frame) []byte {
	var h [headerLen]byte
	binary.BigEndian.PutUint32(h[0:], uint32(len(f.payload)))
	h[4], h[5] = f.version, byte(f.kind)
	binary.BigEndian.PutUint16(h[6:], f.code)
	binary.BigEndian.PutUint64(h[8:], f.channel)
	binary.BigEndian.PutUint32(h[16:], f.seq)
	binary.BigEndian.PutUint32(h[20:], f.received)
	binary.BigEndian.PutUint32(h[24:], f.consumed)
	b = append(b, h[:]...)
	return append(b, f.payload...)
}

// decoder takes the bytes of a connection in pieces of any size and returns the frames in them. It copies no payload, except to make
// the room for one that does not fit. Its owner synchronises the calls.
type decoder struct {
	limit int    // of a payload, in bytes
	buf   []byte // buf[start:end] has arrived and is not decoded yet
	start int
	end   int
}

// readSize is the size, in bytes, of what is read from a connection at once.
const readSize = 64 << 10

// space returns memory for the next bytes of the connection, at least one. The payloads of earlier frames become invalid.
//
// A large frame gets its memory as its bytes arrive, at most twice as much as has arrived: its length alone causes no allocation.
func (d *decoder) space() []byte {
	if d.start > 0 {
		d.end = copy(d.buf, d.buf[d.start:d.end])
		d.start = 0
	}
	switch {
	case d.end == len(d.buf):
		d.grow(max(readSize, min(2*d.end, headerLen+d.limit)))
	case len(d.buf) > readSize && d.end < readSize/2: // the large frame is over
		d.grow(readSize)
	}
	return d.buf[d.end:]
}

func (d *decoder) grow(size int) {
	if size <= d.end {
		size = d.end + readSize
	}
	buf := make([]byte, size)
	copy(buf, d.buf[:d.end])
	d.buf = buf
}

// advance says that the first n bytes of space have been filled.
func (d *decoder) advance(n int) { d.end += n }

// next decodes the next frame into f. It returns false when the frame is not complete yet. The payload is valid until the next call of
// space. After an error the connection cannot be read any more.
func (d *decoder) next(f *frame) (bool, error) {
	p := d.buf[d.start:d.end]
	if len(p) < headerLen {
		return false, nil
	}
	length := binary.BigEndian.Uint32(p)
	if uint64(length) > uint64(d.limit) {
		return false, fmt.Errorf("%w: a frame of %d bytes, the limit is %d", ErrProtocol, length, d.limit)
	}
	size := headerLen + int(length)
	if len(p) < size {
		return false, nil
	}
	f.version, f.kind = p[4], frameType(p[5])
	f.code = binary.BigEndian.Uint16(p[6:])
	f.channel = binary.BigEndian.Uint64(p[8:])
	f.seq = binary.BigEndian.Uint32(p[16:])
	f.received = binary.BigEndian.Uint32(p[20:])
	f.consumed = binary.BigEndian.Uint32(p[24:])
	f.payload = p[headerLen:size:size]
	d.start += size
	return true, nil
}
