package frame

import "encoding/binary"

// Whole looks for a frame of the commonest kind at the beginning of p: a message in one frame that is all there, less than
// 64 KiB, not compressed and within limit, of which a negative one means none. It returns the payload, which it has unmasked in
// place, and where the frame ends. Such a frame needs no [Decoder]; but text has still to be Valid. Everything else is for a
// Decoder, also what is wrong: then end is 0, and p as it was.
func Whole(p []byte, masked bool, limit int64) (opcode Opcode, payload []byte, end int) {
	if len(p) < 2 {
		return 0, nil, 0
	}
	opcode = Opcode(p[0] ^ finBit) // with other bits set if it is not one of these
	if opcode != Text && opcode != Binary {
		return 0, nil, 0
	}
	start, length := 2, int(p[1]) // with the mask bit if that is wrong
	if masked {
		start, length = 6, length^maskBit
	}
	if length >= length16 {
		if length != length16 || len(p) < 4 {
			return 0, nil, 0
		}
		if length = int(binary.BigEndian.Uint16(p[2:])); length < length16 {
			return 0, nil, 0
		}
		start += 2
	}
	end = start + length
	if end > len(p) || uint64(length) > uint64(limit) {
		return 0, nil, 0
	}
	payload = p[start:end:end]
	if masked {
		xor(payload, binary.LittleEndian.Uint32(p[start-4:]))
	}
	return opcode, payload, end
}

// Valid is [unicode/utf8.Valid], and faster for short text.
func Valid(p []byte) bool { return valid(p) }

// NotText returns what is wrong with the payload of a text message that is not Valid.
func NotText(payload []byte) *Error {
	var d Decoder
	return d.checkText(payload, true)
}
