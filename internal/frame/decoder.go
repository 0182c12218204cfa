package frame

import (
	"encoding/binary"
	"math"
)

// Config says what the two ends negotiated, and how large a message may be.
type Config struct {
	// Masked is true if frames must be masked, because the peer is a client. Otherwise they must not be.
	Masked bool

	// Compressed is true if permessage-deflate was negotiated: RSV1 then marks a compressed message.
	Compressed bool

	// Limit is the size of the largest message, in bytes as received; negative means no limit. A compressed message may exceed
	// it by an eighth and 1024 bytes, because deflate makes incompressible data slightly larger. The caller checks the size
	// after inflating.
	Limit int64
}

// Piece is what Next returns: a control frame, or the part of a data frame that has arrived.
type Piece struct {
	Opcode  Opcode // Text or Binary, also for continuations; Close, Ping or Pong
	Payload []byte // unmasked
	First   bool   // the first piece of a data message
	Last    bool   // the last piece of a data message; always true for a control frame
	RSV1    bool   // the message is compressed
}

// Decoder turns the bytes from a peer, split anywhere, into pieces of messages. It keeps no payload: an idle connection costs only
// the struct. Call Init before use.
type Decoder struct {
	rare        *rareState // state that few decoders need; nil: none
	limit       int64      // Config.Limit, or the largest int64
	remaining   int64      // payload bytes of the current frame that have not arrived; 0: a header is next
	messageSize int64      // payload bytes of the open message, including all of the current frame

	emptyFrames uint32 // empty frames of the open message
	key         uint32 // masking key, rotated so that its lowest byte is for the next payload byte

	frameByte   byte // first header byte of the current frame
	messageByte byte // RSV1 and opcode of the first frame of the open message; 0: none is open
	noPieceYet  bool // the open message has yielded no piece yet

	wantMask      byte // the value of the mask bit that frames must have
	forbiddenBits byte // reserved bits that no frame may have

	headLen uint8               // bytes in head
	head    [MaxHeader - 1]byte // the beginning of a header that the next p continues
	text    UTF8                // of the open message, if it is uncompressed text
}

// rareState is an error, or a control frame that arrives in parts.
type rareState struct {
	err        *Error
	controlLen int // bytes in control
	control    [MaxControl]byte
}

// Init makes d ready for the first byte after the handshake. It discards all earlier state.
func (d *Decoder) Init(c Config) {
	*d = Decoder{limit: c.Limit, wantMask: bitIf(c.Masked, maskBit), forbiddenBits: rsv1Bit | rsv23Bits}
	if c.Limit < 0 {
		d.limit = math.MaxInt64
	}
	if c.Compressed {
		d.forbiddenBits = rsv23Bits
	}
}

// Next consumes the first n bytes of p and returns the piece in them. It unmasks payloads in place. If p contains no piece, ok is
// false and n is len(p).
//
// The payload of a data piece is a slice of p: a frame that p holds to its end is one piece, otherwise the part in p is one. Each
// message has a first and a last piece, which may be the same one and may be empty. A control frame is always one piece. If it
// arrived in parts, its payload is memory that the decoder does not use again.
//
// err is an [*Error], which later calls return again; the other results are then zero.
func (d *Decoder) Next(p []byte) (piece Piece, n int, ok bool, err error) {
	if !d.Idle() {
		return d.nextPiece(p)
	}
	opcode, payload, end := ParseWhole(p, d.wantMask != 0, d.limit)
	if end == 0 {
		return d.nextPiece(p)
	}
	if opcode == Text && !Valid(payload) {
		return Piece{}, 0, false, d.fail(TextError(payload))
	}
	piece.Opcode, piece.Payload = opcode, payload
	piece.First, piece.Last = true, true
	return piece, end, true, nil
}

// nextPiece is Next for frames that ParseWhole does not parse.
func (d *Decoder) nextPiece(p []byte) (piece Piece, n int, ok bool, err error) {
	if d.rare != nil && d.rare.err != nil {
		return Piece{}, 0, false, d.rare.err
	}
	n, ok, e := d.readHeaders(p)
	if e == nil && ok {
		payload := d.takePayload(p[n:])
		n += len(payload)
		ok, e = d.fillPiece(&piece, payload)
	}
	if e != nil {
		return Piece{}, 0, false, d.fail(e)
	}
	return piece, n, ok, nil
}

// readHeaders consumes headers up to a frame that yields a piece. ok is false if p ends before the bytes of that piece.
func (d *Decoder) readHeaders(p []byte) (n int, ok bool, err *Error) {
	for d.remaining == 0 {
		size, err := d.readHeader(p[n:])
		if size == 0 || err != nil {
			return len(p), false, err
		}
		if n += size; d.remaining == 0 && !d.yieldsNoPiece() {
			return n, true, nil
		}
	}
	return n, n < len(p), nil
}

// fillPiece makes payload a piece of the current frame. ok is false if a control frame is not complete yet.
func (d *Decoder) fillPiece(piece *Piece, payload []byte) (ok bool, err *Error) {
	if Opcode(d.frameByte & opcodeBits).Control() {
		return d.controlPiece(piece, payload)
	}
	return true, d.dataPiece(piece, payload)
}

// Idle reports whether d is between messages and keeps no bytes or error: a new Decoder could take its place.
func (d *Decoder) Idle() bool {
	return d.remaining == 0 && d.headLen == 0 && d.messageByte == 0 && d.rare == nil
}

// Remaining returns how many payload bytes of the current data frame have not arrived. The caller may read them directly into the
// message's buffer and pass that to Next. Between frames and in control frames it is 0.
func (d *Decoder) Remaining() int64 {
	if Opcode(d.frameByte & opcodeBits).Control() {
		return 0
	}
	return d.remaining
}

func (d *Decoder) fail(e *Error) error {
	d.rare = &rareState{err: e}
	return e
}

// readHeader consumes a header and returns how many bytes of p it took. If p ends before the header does, it keeps p and returns 0.
func (d *Decoder) readHeader(p []byte) (int, *Error) {
	if d.headLen == 0 {
		if size, err := d.parseHeader(p); size > 0 || err != nil {
			return size, err
		}
	}
	var whole [MaxHeader]byte
	held := copy(whole[:], d.head[:d.headLen])
	n := held + copy(whole[held:], p)
	size, err := d.parseHeader(whole[:n])
	if size == 0 {
		d.headLen = uint8(copy(d.head[:], whole[:n]))
		return 0, err
	}
	d.headLen = 0
	return size - held, err
}

// parseHeader parses the header at the beginning of p, makes its frame the current one and returns the header's length. If p ends
// before the header does, it returns 0 and changes nothing.
func (d *Decoder) parseHeader(p []byte) (int, *Error) {
	if len(p) < 2 {
		return 0, nil
	}
	if err := d.checkStart(p[0], p[1]); err != nil {
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
	if d.wantMask != 0 {
		d.key = binary.LittleEndian.Uint32(p[size-4 : size])
	}
	d.frameByte, d.remaining = p[0], length
	if Opcode(d.frameByte & opcodeBits).Control() {
		return size, nil
	}
	return size, d.addFrame()
}

// yieldsNoPiece reports whether the current frame, which is empty, is neither the first nor the last piece of its message.
func (d *Decoder) yieldsNoPiece() bool {
	return d.frameByte&(finBit|opcodeBits) == byte(Continuation) && !d.noPieceYet
}

// takePayload unmasks the part of the current payload at the beginning of p and returns it.
func (d *Decoder) takePayload(p []byte) []byte {
	n := min(int64(len(p)), d.remaining)
	p = p[:n:n]
	d.remaining -= n
	if d.wantMask != 0 {
		xor(p, d.key)
		d.key = rotate(d.key, len(p))
	}
	return p
}

// dataPiece makes payload a piece of the open message.
func (d *Decoder) dataPiece(piece *Piece, payload []byte) *Error {
	last := d.remaining == 0 && d.frameByte&finBit != 0
	if d.messageByte == byte(Text) { // not RSV1: compressed text is checked after inflating
		if err := d.checkText(payload, last); err != nil {
			return err
		}
	}
	piece.Opcode = Opcode(d.messageByte & opcodeBits)
	piece.Payload = payload
	piece.First = d.noPieceYet
	piece.Last = last
	piece.RSV1 = d.messageByte&rsv1Bit != 0
	d.noPieceYet = false
	if last {
		d.messageByte = 0
	}
	return nil
}

// controlPiece makes payload a piece when the control frame is complete.
func (d *Decoder) controlPiece(piece *Piece, payload []byte) (ok bool, err *Error) {
	if d.remaining > 0 || d.rare != nil {
		payload = d.collectControl(payload)
	}
	if d.remaining > 0 {
		return false, nil
	}
	d.rare = nil // the piece owns the memory now
	opcode := Opcode(d.frameByte & opcodeBits)
	if opcode == Close {
		if _, _, err := ParseClose(payload); err != nil {
			return false, err.(*Error)
		}
	}
	piece.Opcode, piece.Payload, piece.Last = opcode, payload, true
	return true, nil
}

// collectControl adds part to the payload of the control frame in d.rare and returns all of it that has arrived.
func (d *Decoder) collectControl(part []byte) []byte {
	if d.rare == nil {
		d.rare = new(rareState)
	}
	d.rare.controlLen += copy(d.rare.control[d.rare.controlLen:], part)
	return d.rare.control[:d.rare.controlLen:d.rare.controlLen]
}
