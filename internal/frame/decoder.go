package frame

import (
	"encoding/binary"
	"math"
)

// Config is what the two ends agreed on, and how much this one takes.
type Config struct {
	// Masked says that frames must be masked, as a client's are. A server's must not be.
	Masked bool

	// Compressed says that permessage-deflate was agreed on: RSV1 may mark a message as compressed.
	Compressed bool

	// Limit is the largest message, in bytes on the wire; negative means none. A compressed message may
	// have an eighth and 1024 bytes more, as deflate makes what it cannot compress a little larger: its
	// real size is for the caller to judge after inflating.
	Limit int64
}

// Piece is what Next found: a control frame, or as much of a data frame as there was.
type Piece struct {
	Opcode  Opcode // Text or Binary, also for continuations; Close, Ping or Pong
	Payload []byte // unmasked
	First   bool   // the first piece of a data message
	Last    bool   // the last piece of a data message; always true for a control frame
	RSV1    bool   // the message is compressed
}

// Decoder turns the bytes a peer sent, cut anywhere, into pieces of messages. It holds no payload, so that
// an idle connection costs the struct only. Init comes before use.
type Decoder struct {
	aside *aside // what few decoders need: an error, or a control frame that came in parts
	limit int64  // Config.Limit, or the largest int64
	left  int64  // payload bytes of the current frame still to come; 0 means a header is next
	total int64  // payload bytes of the open message, with all of the current frame

	empty uint32 // empty frames of the open message
	key   uint32 // masking key, rotated to the next payload byte

	frame   byte // first header byte of the current frame
	message byte // RSV1 and opcode from the first frame of the open message; 0 means none is open
	first   bool // the open message has yielded no piece yet

	maskBit   byte // the mask bit that frames must have
	forbidden byte // reserved bits that no frame may have

	held uint8               // bytes in head
	head [MaxHeader - 1]byte // the beginning of a header whose rest is in the next p
	text UTF8                // of the open message, if it is uncompressed text
}

type aside struct {
	err     *Error
	n       int // bytes in control
	control [MaxControl]byte
}

// Init makes d ready for the first byte after the handshake. What it did before is forgotten.
func (d *Decoder) Init(c Config) {
	*d = Decoder{limit: c.Limit, maskBit: bit(c.Masked, maskBit), forbidden: rsv1Bit | rsv23Bits}
	if c.Limit < 0 {
		d.limit = math.MaxInt64
	}
	if c.Compressed {
		d.forbidden = rsv23Bits
	}
}

// Next consumes some of p and returns the piece it found there; n is how many bytes it consumed. It unmasks
// payloads in place. ok is false when p ended before there was a piece; n is then len(p).
//
// A data payload is a slice of p, so a frame that is whole in p is one piece, and one that is not yields a
// piece for what is there. Each message has a first and a last piece (maybe the same, maybe empty). A control
// frame is always one piece; if it was not whole in p its payload is the decoder's own memory, which is
// not used again.
//
// err is an [*Error]. It is final, and later calls return it again. The other results are zero then.
func (d *Decoder) Next(p []byte) (piece Piece, n int, ok bool, err error) {
	if !d.Idle() {
		return d.next(p)
	}
	opcode, payload, end := Whole(p, d.maskBit != 0, d.limit)
	if end == 0 {
		return d.next(p)
	}
	if opcode == Text && !valid(payload) {
		return Piece{}, 0, false, d.fail(NotText(payload))
	}
	piece.Opcode, piece.Payload = opcode, payload
	piece.First, piece.Last = true, true
	return piece, end, true, nil
}

// next is Next for everything else.
func (d *Decoder) next(p []byte) (piece Piece, n int, ok bool, err error) {
	if d.aside != nil && d.aside.err != nil {
		return Piece{}, 0, false, d.aside.err
	}
	n, ok, e := d.seek(p)
	if e == nil && ok {
		payload := d.take(p[n:])
		n += len(payload)
		ok, e = d.put(&piece, payload)
	}
	if e != nil {
		return Piece{}, 0, false, d.fail(e)
	}
	return piece, n, ok, nil
}

// seek consumes headers up to one with something to hand on. ok is false when p ends before that.
func (d *Decoder) seek(p []byte) (n int, ok bool, err *Error) {
	for d.left == 0 {
		size, err := d.header(p[n:])
		if size == 0 || err != nil {
			return len(p), false, err
		}
		if n += size; d.left == 0 && !d.silent() {
			return n, true, nil
		}
	}
	return n, n < len(p), nil
}

// put makes payload a piece of the current frame. ok is false when the piece needs more of it.
func (d *Decoder) put(piece *Piece, payload []byte) (ok bool, err *Error) {
	if Opcode(d.frame & opcodeBits).Control() {
		return d.control(piece, payload)
	}
	return true, d.data(piece, payload)
}

// Idle reports whether d is between messages, with nothing left over: a new decoder would do as well.
func (d *Decoder) Idle() bool {
	return d.left == 0 && d.held == 0 && d.message == 0 && d.aside == nil
}

// Remaining returns how many payload bytes of the current data frame are still to come. They may be read
// straight into the message's buffer and given to Next there. Between frames, and in control frames, it is 0.
func (d *Decoder) Remaining() int64 {
	if Opcode(d.frame & opcodeBits).Control() {
		return 0
	}
	return d.left
}

func (d *Decoder) fail(e *Error) error {
	d.aside = &aside{err: e}
	return e
}

// header consumes a header and returns how many bytes of p it took, or holds all of p and returns 0.
func (d *Decoder) header(p []byte) (int, *Error) {
	if d.held == 0 {
		if size, err := d.parse(p); size > 0 || err != nil {
			return size, err
		}
	}
	var whole [MaxHeader]byte
	held := copy(whole[:], d.head[:d.held])
	n := held + copy(whole[held:], p)
	size, err := d.parse(whole[:n])
	if size == 0 {
		d.held = uint8(copy(d.head[:], whole[:n]))
		return 0, err
	}
	d.held = 0
	return size - held, err
}

// parse makes the frame whose header p begins with the current one, and returns the length of the header.
// It is 0 if p ends before the header does; nothing has changed then.
func (d *Decoder) parse(p []byte) (int, *Error) {
	if len(p) < 2 {
		return 0, nil
	}
	if err := d.check(p[0], p[1]); err != nil {
		return 0, err
	}
	size := headerSize(p[1])
	if len(p) < size {
		return 0, nil
	}
	length, err := payloadLength(p)
	if err != nil {
		return 0, err
	}
	if d.maskBit != 0 {
		d.key = binary.LittleEndian.Uint32(p[size-4 : size])
	}
	d.frame, d.left = p[0], length
	if Opcode(d.frame & opcodeBits).Control() {
		return size, nil
	}
	return size, d.admit()
}

// silent reports whether the current frame, which is empty, is no piece: neither the first nor the last of
// its message.
func (d *Decoder) silent() bool {
	return d.frame&(finBit|opcodeBits) == byte(Continuation) && !d.first
}

// take unmasks what p has of the current payload and returns it.
func (d *Decoder) take(p []byte) []byte {
	n := min(int64(len(p)), d.left)
	p = p[:n:n]
	d.left -= n
	if d.maskBit != 0 {
		xor(p, d.key)
		d.key = rotate(d.key, len(p))
	}
	return p
}

// data makes payload a piece of the open message.
func (d *Decoder) data(piece *Piece, payload []byte) *Error {
	last := d.left == 0 && d.frame&finBit != 0
	if d.message == byte(Text) { // without RSV1; compressed text is checked once it is inflated
		if err := d.checkText(payload, last); err != nil {
			return err
		}
	}
	piece.Opcode = Opcode(d.message & opcodeBits)
	piece.Payload = payload
	piece.First = d.first
	piece.Last = last
	piece.RSV1 = d.message&rsv1Bit != 0
	d.first = false
	if last {
		d.message = 0
	}
	return nil
}

// control makes payload, once it is complete, a piece of its own.
func (d *Decoder) control(piece *Piece, payload []byte) (ok bool, err *Error) {
	if d.left > 0 || d.aside != nil {
		payload = d.gather(payload)
	}
	if d.left > 0 {
		return false, nil
	}
	d.aside = nil // the piece has the memory now
	opcode := Opcode(d.frame & opcodeBits)
	if opcode == Close {
		if _, _, err := ParseClose(payload); err != nil {
			return false, err.(*Error)
		}
	}
	piece.Opcode, piece.Payload, piece.Last = opcode, payload, true
	return true, nil
}

// gather adds part to the control payload set aside and returns what there is of it.
func (d *Decoder) gather(part []byte) []byte {
	if d.aside == nil {
		d.aside = new(aside)
	}
	d.aside.n += copy(d.aside.control[d.aside.n:], part)
	return d.aside.control[:d.aside.n:d.aside.n]
}
