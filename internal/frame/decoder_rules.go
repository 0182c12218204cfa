package frame

import (
	"encoding/binary"
	"math"
)

const (
	// maxEmptyFrames bounds the frames of a message that are empty. The others are bounded by the message's size: a
	// fragment costs no memory beyond its bytes, and no more time than a message of its size. But the empty ones, which no
	// size limit counts, have to end.
	maxEmptyFrames = 1 << 16

	// A compressed message may exceed the limit by an eighth and these bytes.
	compressedExtra = 1024
)

// check judges the first two bytes of a header. Their rules come before the rest of it has to arrive.
func (d *Decoder) check(b0, b1 byte) *Error {
	if b0&d.forbidden != 0 {
		return reserved(b0)
	}
	// RFC 6455 §5.1: a client masks all frames, a server none.
	if b1&maskBit != d.maskBit {
		return d.wronglyMasked()
	}
	opcode := Opcode(b0 & opcodeBits)
	switch {
	case opcode.Control():
		return checkControl(b0, b1)
	case opcode > Binary:
		return violation("§5.2", "unknown opcode %d", opcode)
	case opcode != Continuation:
		if d.message != 0 {
			return violation("§5.4", "unexpected start frame: the message before it has not ended")
		}
	case d.message == 0:
		return violation("§5.4", "unexpected continuation frame: no message has begun")
	case b0&rsv1Bit != 0:
		return violation("§5.2", "received continuation frame had RSV bit 1 set: only a message's first frame may")
	}
	return nil
}

func reserved(b0 byte) *Error {
	if b0&rsv23Bits != 0 {
		return violation("§5.2", "received frame had RSV bits 2 or 3 set")
	}
	return violation("§5.2", "received frame had RSV bit 1 set, but compression was not negotiated")
}

func (d *Decoder) wronglyMasked() *Error {
	if d.maskBit != 0 {
		return violation("§5.1", "received frame was not masked: a client must mask")
	}
	return violation("§5.1", "received frame was masked: a server must not mask")
}

func checkControl(b0, b1 byte) *Error {
	opcode := Opcode(b0 & opcodeBits)
	switch {
	case opcode > Pong:
		return violation("§5.2", "unknown opcode %d", opcode)
	case b0&rsv1Bit != 0:
		return violation("§5.2", "received control frame had RSV bit 1 set")
	case b0&finBit == 0:
		return violation("§5.5", "received fragmented control frame")
	case b1&lengthBits > MaxControl:
		return violation("§5.5", "control frame is too large: its payload may have %d bytes", MaxControl)
	}
	return nil
}

// headerSize returns the length of a header with b1 as its second byte.
func headerSize(b1 byte) int {
	size := 2
	switch b1 & lengthBits {
	case length16:
		size = 4
	case length64:
		size = 10
	}
	return size + int(b1&maskBit)>>5 // the masking key is 4 bytes
}

// payloadLength reads the length in the header that p begins with. RFC 6455 §5.2: it must have been sent in
// the fewest bytes, and the top bit of 64 must be 0.
func payloadLength(p []byte) (int64, *Error) {
	length, least := uint64(p[1]&lengthBits), uint64(0)
	switch length {
	case length16:
		length, least = uint64(binary.BigEndian.Uint16(p[2:])), length16
	case length64:
		length, least = binary.BigEndian.Uint64(p[2:]), 1<<16
	}
	if length > math.MaxInt64 {
		return 0, violation("§5.2", "payload length has its most significant bit set")
	}
	if length < least {
		return 0, violation("§5.2", "payload length %d was not sent in the fewest bytes", length)
	}
	return int64(length), nil
}

// admit adds the current frame to the open message, or to the one it begins. The size is judged now, before
// any of the payload has been paid for (RFC 6455 §10.4).
func (d *Decoder) admit() *Error {
	if b := d.frame & (rsv1Bit | opcodeBits); b != byte(Continuation) {
		d.message, d.first = b, true
		d.total, d.empty = 0, 0
	}
	if limit := d.messageLimit(); d.left > limit-d.total {
		return newError(codeTooBig, "§10.4", "message is too large: %d > %d bytes",
			uint64(d.total)+uint64(d.left), limit)
	}
	d.total += d.left
	if d.left > 0 {
		return nil
	}
	if d.empty++; d.empty > maxEmptyFrames {
		return newError(codePolicy, "§10.4", "message is in too many fragments: more than %d of them are empty", maxEmptyFrames)
	}
	return nil
}

// messageLimit returns the limit for the open message.
func (d *Decoder) messageLimit() int64 {
	if d.message&rsv1Bit == 0 {
		return d.limit
	}
	extra := d.limit/8 + compressedExtra
	return min(d.limit, math.MaxInt64-extra) + extra
}

// checkText judges the next bytes of a text message (RFC 6455 §8.1). A message that ends well leaves d.text
// ready for the next.
func (d *Decoder) checkText(payload []byte, last bool) *Error {
	if !d.text.Write(payload) {
		return newError(codeInvalidPayload, "§8.1", "text message is not valid UTF-8")
	}
	if last && !d.text.Done() {
		return newError(codeInvalidPayload, "§8.1", "text message ends in the middle of a UTF-8 character")
	}
	return nil
}
