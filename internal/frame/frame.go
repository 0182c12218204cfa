// Package frame is the RFC 6455 frame codec: bytes in, frames out, and back. It knows no connections and
// no goroutines, and allocates nothing for well-behaved peers beyond the payload of a control frame that
// arrives in parts.
//
// [Decoder] is strict: a rule the peer breaks ends in an [*Error] with the status code to close with and
// the section of the RFC. The Append functions are the other direction; they trust their caller.
package frame

import "encoding/binary"

// Opcode says what a frame is (RFC 6455 §5.2).
type Opcode uint8

// The defined opcodes; 3 to 7 and 11 to 15 are reserved.
const (
	Continuation Opcode = 0
	Text         Opcode = 1
	Binary       Opcode = 2
	Close        Opcode = 8
	Ping         Opcode = 9
	Pong         Opcode = 10
)

// Control reports whether o is a control opcode: those have the top bit of the four (RFC 6455 §5.5).
func (o Opcode) Control() bool { return o&8 != 0 }

const (
	// MaxHeader is the longest header in bytes: 2, a 64-bit length and a masking key.
	MaxHeader = 14

	// MaxControl is the largest payload of a control frame in bytes (RFC 6455 §5.5).
	MaxControl = 125
)

// The bits of a header's first two bytes (RFC 6455 §5.2).
const (
	finBit     = 0x80
	rsv1Bit    = 0x40
	rsv23Bits  = 0x30
	opcodeBits = 0x0f

	maskBit    = 0x80
	lengthBits = 0x7f

	length16 = 126 // the length follows in 2 bytes
	length64 = 127 // the length follows in 8 bytes
)

// Header is what precedes a payload. Key counts only when Masked.
type Header struct {
	Fin, RSV1, Masked bool
	Opcode            Opcode
	Key               [4]byte
	Length            int64 // of the payload, in bytes; not negative
}

// AppendHeader appends h as it goes over the wire, its length in the fewest bytes, as RFC 6455 §5.2 demands.
func AppendHeader(dst []byte, h Header) []byte {
	mask := bit(h.Masked, maskBit)
	dst = append(dst, bit(h.Fin, finBit)|bit(h.RSV1, rsv1Bit)|byte(h.Opcode)&opcodeBits)
	switch {
	case h.Length < length16:
		dst = append(dst, mask|byte(h.Length))
	case h.Length <= 0xffff:
		dst = binary.BigEndian.AppendUint16(append(dst, mask|length16), uint16(h.Length))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, mask|length64), uint64(h.Length))
	}
	if h.Masked {
		dst = append(dst, h.Key[:]...)
	}
	return dst
}

// Size returns how many bytes a frame with that payload is on the wire.
func Size(payload int, masked bool) int {
	switch {
	case payload < length16:
		payload += 2
	case payload <= 0xffff:
		payload += 4
	default:
		payload += 10
	}
	if masked {
		payload += 4
	}
	return payload
}

// AppendFrame appends a frame with the given payload, masked when h.Masked. The length is the payload's;
// h.Length is ignored. payload is left as it was and may not overlap dst's spare capacity.
func AppendFrame(dst []byte, h Header, payload []byte) []byte {
	h.Length = int64(len(payload))
	dst = AppendHeader(dst, h)
	start := len(dst)
	dst = append(dst, payload...)
	if h.Masked {
		Mask(dst[start:], h.Key, 0)
	}
	return dst
}

// PutHeader writes the header of a message of n bytes as a server sends it, in one frame, not masked and not compressed, and
// returns its length.
func PutHeader(dst *[MaxHeader]byte, opcode Opcode, n int) int {
	dst[0] = finBit | byte(opcode)
	switch {
	case n < length16:
		dst[1] = byte(n)
		return 2
	case n <= 0xffff:
		dst[1], dst[2], dst[3] = length16, byte(n>>8), byte(n)
		return 4
	}
	dst[1] = length64
	binary.BigEndian.PutUint64(dst[2:], uint64(n))
	return 10
}

func bit(set bool, b byte) byte {
	if set {
		return b
	}
	return 0
}
