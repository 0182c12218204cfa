// Package frame encodes and decodes RFC 6455 frames. It works on byte slices: it uses no connections and starts no goroutines.
// Unless the peer breaks a rule, decoding allocates only for a control frame that arrives in parts.
//
// A [Decoder] is strict: when the peer breaks a rule, it returns an [*Error] with the status code to close with and the section of
// the RFC. The Append functions encode; they do not check their arguments.
package frame

import "encoding/binary"

// Opcode is the type of a frame (RFC 6455 §5.2).
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

// Control reports whether o is a control opcode: its most significant bit is 1 (RFC 6455 §5.5).
func (o Opcode) Control() bool { return o&8 != 0 }

const (
	// MaxHeader is the length of the longest header in bytes: 2, a 64-bit length and a masking key.
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

	extended16 = 126 // the length follows in 2 bytes
	extended64 = 127 // the length follows in 8 bytes
)

// Header is what precedes a payload. Key is used only if Masked is true.
type Header struct {
	Fin, RSV1, Masked bool
	Opcode            Opcode
	Key               [4]byte
	Length            int64 // of the payload, in bytes; not negative
}

// AppendHeader appends h as it is sent. The payload length takes the fewest bytes, as RFC 6455 §5.2 requires.
func AppendHeader(dst []byte, h Header) []byte {
	mask := bitIf(h.Masked, maskBit)
	dst = append(dst, bitIf(h.Fin, finBit)|bitIf(h.RSV1, rsv1Bit)|byte(h.Opcode)&opcodeBits)
	switch {
	case h.Length < extended16:
		dst = append(dst, mask|byte(h.Length))
	case h.Length <= 0xffff:
		dst = binary.BigEndian.AppendUint16(append(dst, mask|extended16), uint16(h.Length))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, mask|extended64), uint64(h.Length))
	}
	if h.Masked {
		dst = append(dst, h.Key[:]...)
	}
	return dst
}

// Size returns the size in bytes of a frame with a payload of that many bytes.
func Size(payload int, masked bool) int {
	switch {
	case payload < extended16:
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

// AppendFrame appends a frame with the given payload, masked if h.Masked is true. h.Length is ignored. payload does not change; it
// must not overlap the spare capacity of dst.
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

// PutHeader writes the header of an uncompressed message of n bytes that a server sends in one frame. It returns the header's
// length.
func PutHeader(dst *[MaxHeader]byte, opcode Opcode, n int) int {
	dst[0] = finBit | byte(opcode)
	switch {
	case n < extended16:
		dst[1] = byte(n)
		return 2
	case n <= 0xffff:
		dst[1], dst[2], dst[3] = extended16, byte(n>>8), byte(n)
		return 4
	}
	dst[1] = extended64
	binary.BigEndian.PutUint64(dst[2:], uint64(n))
	return 10
}

// bitIf returns b if set is true, otherwise 0.
func bitIf(set bool, b byte) byte {
	if set {
		return b
	}
	return 0
}
