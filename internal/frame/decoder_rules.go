package frame

import (
	"encoding/binary"
	"math"
)

const (
	// maxEmptyFrames is the largest number of empty frames in a message. The size limit bounds the number of other frames: a
	// fragment costs no memory beyond its bytes, and no more time than a message of its size. The size limit does not bound
	// empty frames.
	maxEmptyFrames = 1 << 16

	// compressedSlack is the number of bytes by which a compressed message may exceed the limit, in addition to an eighth of it.
	compressedSlack = 1024
)

// checkStart checks the first two bytes of a header. It does so before the rest of the header arrives.
func (d *Decoder) checkStart(b0, b1 byte) *Error {
	if b0&d.forbiddenBits != 0 {
		return reservedBitError(b0)
	}
	// RFC 6455 §5.1: a client masks all frames, a server masks none.
	if b1&maskBit != d.wantMask {
		return d.maskError()
	}
	opcode := Opcode(b0 & opcodeBits)
	switch {
	case opcode.Control():
		return checkControl(b0, b1)
	case opcode > Binary:
		return protocolError("§5.2", "unknown opcode %d", opcode)
	case opcode != Continuation:
		if d.messageByte != 0 {
			return protocolError("§5.4", "unexpected start frame: the message before it has not ended")
		}
	case d.messageByte == 0:
		return protocolError("§5.4", "unexpected continuation frame: no message has begun")
	case b0&rsv1Bit != 0:
		return protocolError("§5.2", "received continuation frame had RSV bit 1 set: only a message's first frame may")
	}
	return nil
}

func reservedBitError(b0 byte) *Error {
	if b0&rsv23Bits != 0 {
		return protocolError("§5.2", "received frame had RSV bits 2 or 3 set")
	}
	return protocolError("§5.2", "received frame had RSV bit 1 set, but compression was not negotiated")
}

func (d *Decoder) maskError() *Error {
	if d.wantMask != 0 {
		return protocolError("§5.1", "received frame was not masked: a client must mask")
	}
	return protocolError("§5.1", "received frame was masked: a server must not mask")
}

func checkControl(b0, b1 byte) *Error {
	opcode := Opcode(b0 & opcodeBits)
	switch {
	case opcode > Pong:
		return protocolError("§5.2", "unknown opcode %d", opcode)
	case b0&rsv1Bit != 0:
		return protocolError("§5.2", "received control frame had RSV bit 1 set")
	case b0&finBit == 0:
		return protocolError("§5.5", "received fragmented control frame")
	case b1&lengthBits > MaxControl:
		return protocolError("§5.5", "control frame is too large: its payload may have %d bytes", MaxControl)
	}
	return nil
}

// headerSize returns the length of a header with b1 as its second byte.
func headerSize(b1 byte) int {
	size := 2
	switch b1 & lengthBits {
	case extended16:
		size = 4
	case extended64:
		size = 10
	}
	return size + int(b1&maskBit)>>5 // the masking key is 4 bytes
}

// payloadLength reads the payload length from the header at the beginning of p. RFC 6455 §5.2: the length must take the fewest
// bytes, and the most significant bit of a 64-bit length must be 0.
func payloadLength(p []byte) (int64, *Error) {
	length, least := uint64(p[1]&lengthBits), uint64(0)
	switch length {
	case extended16:
		length, least = uint64(binary.BigEndian.Uint16(p[2:])), extended16
	case extended64:
		length, least = binary.BigEndian.Uint64(p[2:]), 1<<16
	}
	if length > math.MaxInt64 {
		return 0, protocolError("§5.2", "payload length has its most significant bit set")
	}
	if length < least {
		return 0, protocolError("§5.2", "payload length %d was not sent in the fewest bytes", length)
	}
	return int64(length), nil
}

// addFrame adds the current frame to the open message, or to the message that it begins. It checks the size before any memory is
// used for the payload (RFC 6455 §10.4).
func (d *Decoder) addFrame() *Error {
	if b := d.frameByte & (rsv1Bit | opcodeBits); b != byte(Continuation) {
		d.messageByte, d.noPieceYet = b, true
		d.messageSize, d.emptyFrames = 0, 0
	}
	if limit := d.messageLimit(); d.remaining > limit-d.messageSize {
		return newError(statusMessageTooBig, "§10.4", "message is too large: %d > %d bytes",
			uint64(d.messageSize)+uint64(d.remaining), limit)
	}
	d.messageSize += d.remaining
	if d.remaining > 0 {
		return nil
	}
	if d.emptyFrames++; d.emptyFrames > maxEmptyFrames {
		return newError(statusPolicyViolation, "§10.4", "message is in too many fragments: more than %d of them are empty", maxEmptyFrames)
	}
	return nil
}

// messageLimit returns the size limit for the open message, in bytes as received.
func (d *Decoder) messageLimit() int64 {
	if d.messageByte&rsv1Bit == 0 {
		return d.limit
	}
	extra := d.limit/8 + compressedSlack
	return min(d.limit, math.MaxInt64-extra) + extra
}

// checkText checks the next bytes of a text message (RFC 6455 §8.1). After the end of a valid message, d.text is ready for the next
// message.
func (d *Decoder) checkText(payload []byte, last bool) *Error {
	if !d.text.Write(payload) {
		return newError(statusInvalidPayload, "§8.1", "text message is not valid UTF-8")
	}
	if last && !d.text.Done() {
		return newError(statusInvalidPayload, "§8.1", "text message ends in the middle of a UTF-8 character")
	}
	return nil
}
