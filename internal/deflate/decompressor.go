package deflate

import (
	"errors"
)

var (
	// ErrTooBig: the message inflates to more than the limit.
	ErrTooBig = errors.New("deflate: message inflates beyond the limit")

	// ErrCorrupt: the payload is not valid. Errors that wrap it say why.
	ErrCorrupt = errors.New("deflate: corrupt payload")
)

// maxStreams is the largest number of deflate streams in one message. A sender without sync flushes ends one stream per fragment
// (RFC 7692 §7.2.3.4). A stream can be two bytes long, so without a limit a message could be made costly.
const maxStreams = 1024

// maxGuess limits the first estimate of a message's size, which is four times its compressed size. It is in bytes.
const maxGuess = 32 << 10

// Decompressor inflates the peer's messages. It is not safe for concurrent use. Between calls it keeps only its history.
type Decompressor struct {
	hist     history
	bits     uint8
	takeover bool
}

// Init sets the negotiated window of the peer's messages as its base-2 logarithm (0 means 15), and whether a message may refer
// to earlier ones.
func (d *Decompressor) Init(bits int, takeover bool) {
	*d = Decompressor{bits: uint8(windowBits(bits)), takeover: takeover}
}

// Append inflates payload, a whole message, and appends the result to dst, which grows with it. More than limit inflated bytes are
// ErrTooBig; a negative limit means none. Invalid data is ErrCorrupt. After an error dst is returned without the message, and the
// Decompressor must not be used again. Append may write to the bytes between the length and the capacity of the result.
//
// Distances beyond the agreed window are not refused as long as they stay within the message.
func (d *Decompressor) Append(dst, payload []byte, limit int64) ([]byte, error) {
	return d.AppendIn(heapGrower{}, dst, payload, limit)
}

// AppendIn is Append with a Grower for dst.
func (d *Decompressor) AppendIn(g Grower, dst, payload []byte, limit int64) ([]byte, error) {
	// RFC 7692 §7.2.3.6: an empty message is compressed to 0x00. An empty payload is accepted as one too.
	if len(payload) == 0 {
		return dst, nil
	}
	f := inflaters.Get().(*inflater)
	defer f.release()
	f.payload, f.hist, f.grower = payload, d.hist, g

	return d.finish(f, dst, limit)
}

// finish inflates the payload of f, appends it to dst and updates the history.
func (d *Decompressor) finish(f *inflater, dst []byte, limit int64) ([]byte, error) {
	start := len(dst)
	out, err := f.message(dst, limit)
	if err != nil {
		return out[:start], err
	}
	if d.takeover {
		d.hist.add(out[start:], 1<<d.bits)
	}
	return out, nil
}

// Memory returns the memory of the history in bytes.
func (d *Decompressor) Memory() int { return cap(d.hist) }
