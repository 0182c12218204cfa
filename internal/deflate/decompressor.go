package deflate

import (
	"errors"
	"fmt"
)

var (
	// ErrTooBig: the message inflates to more than the limit.
	ErrTooBig = errors.New("deflate: message inflates beyond the limit")

	// ErrCorrupt: the payload is not what a compressor makes. It wraps the cause.
	ErrCorrupt = errors.New("deflate: corrupt payload")
)

// maxStreams bounds how many deflate streams one message may consist of. A sender without a sync flush ends
// one stream per fragment (RFC 7692 §7.2.3.4); a hostile one ends one every two bytes, and each costs us a
// copy of the window.
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
// bounds the inflated bytes, negative: not at all; beyond it the error is ErrTooBig, and the inflater has gone
// at most its own window (32 KiB, not in dst) too far. Invalid data is ErrCorrupt. After an error dst is returned
// without the message, and the Decompressor must not be used again.
//
// Distances beyond the agreed window are not refused as long as they stay within the message.
func (d *Decompressor) Append(dst, payload []byte, limit int64) ([]byte, error) {
	// RFC 7692 §7.2.3.6 asks for 0x00 when a message is empty. Nothing at all can mean nothing else.
	if len(payload) == 0 {
		return dst, nil
	}
	in := inflaters.Get().(*inflater)
	defer in.release()
	in.source.load(payload)

	start := len(dst)
	out, err := d.inflate(in, makeRoom(dst, min(4*len(payload), maxGuess)), newBudget(start, limit))
	if err != nil {
		return out[:start], err
	}
	return out, nil
}

// inflate reads one deflate stream after the other: mostly there is one, that ends with the payload.
func (d *Decompressor) inflate(in *inflater, dst []byte, b budget) ([]byte, error) {
	for range maxStreams {
		start := len(dst)
		var err error
		if dst, err = in.stream(dst, d.hist, b); err != nil {
			return dst, err
		}
		more, err := in.source.more()
		if err != nil {
			return dst, err
		}
		// Without takeover the streams of one message still refer to each other.
		if d.takeover || more {
			d.hist.roll(dst[start:], 1<<d.bits)
		}
		if !more {
			d.settle()
			return dst, nil
		}
	}
	return dst, fmt.Errorf("%w: more than %d final blocks", ErrCorrupt, maxStreams)
}

func (d *Decompressor) settle() {
	if !d.takeover {
		d.hist = nil
	}
}

// Memory returns the bytes of history held.
func (d *Decompressor) Memory() int { return cap(d.hist) }
