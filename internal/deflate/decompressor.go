package deflate

import (
	"errors"
)

var (
	// ErrTooBig: the message inflates to more than the limit.
	ErrTooBig = errors.New("deflate: message inflates beyond the limit")

	// ErrCorrupt: the payload is not what a compressor makes. It wraps the cause.
	ErrCorrupt = errors.New("deflate: corrupt payload")
)

// maxStreams bounds how many deflate streams one message may consist of. A sender without a sync flush ends
// one stream per fragment (RFC 7692 §7.2.3.4); one who ends them every two bytes is up to something.
const maxStreams = 1024

// maxGuess bounds in bytes the first guess at the size of a message, which is four times what was received.
const maxGuess = 32 << 10

// Decompressor inflates the peer's messages. It is not safe for concurrent use. At rest it holds its history
// and nothing else.
type Decompressor struct {
	hist     history
	bits     uint8
	takeover bool
}

// Init sets the window that was agreed for the peer's messages (0 bits: 15), and whether a message may refer
// to earlier ones.
func (d *Decompressor) Init(bits int, takeover bool) {
	*d = Decompressor{bits: uint8(windowBits(bits)), takeover: takeover}
}

// Append appends the inflated payload, a whole message, to dst, which grows with what is inflated. Limit
// bounds the inflated bytes, negative: not at all; beyond it the error is ErrTooBig. Invalid data is ErrCorrupt.
// After an error dst is returned without the message, and the Decompressor must not be used again. Bytes behind
// the result, up to its capacity, may have been written to.
//
// Distances beyond the agreed window are not refused as long as they stay within the message.
func (d *Decompressor) Append(dst, payload []byte, limit int64) ([]byte, error) {
	return d.AppendIn(heap{}, dst, payload, limit)
}

// AppendIn is Append that has room for dst to grow.
func (d *Decompressor) AppendIn(room Room, dst, payload []byte, limit int64) ([]byte, error) {
	// RFC 7692 §7.2.3.6 asks for 0x00 when a message is empty. Nothing at all can mean nothing else.
	if len(payload) == 0 {
		return dst, nil
	}
	f := inflaters.Get().(*inflater)
	defer f.release()
	f.payload, f.hist, f.room = payload, d.hist, room

	return d.finish(f, dst, limit)
}

// finish inflates what f has been given.
func (d *Decompressor) finish(f *inflater, dst []byte, limit int64) ([]byte, error) {
	start := len(dst)
	out, err := f.message(dst, limit)
	if err != nil {
		return out[:start], err
	}
	if d.takeover {
		d.hist.roll(out[start:], 1<<d.bits)
	}
	return out, nil
}

// Memory returns the bytes of history held.
func (d *Decompressor) Memory() int { return cap(d.hist) }
