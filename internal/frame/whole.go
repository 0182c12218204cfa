package frame

import "encoding/binary"

// Whole looks at p[i:] for a frame of the commonest kind: a message in one frame that is all there, less than 64 KiB, not
// compressed and within limit, of which a negative one means none. It returns where the payload begins and ends, and has unmasked it in
// place. Such a frame needs no [Decoder]; but text has still to be Valid. Everything else is for a Decoder, also what is wrong:
// then end is 0, and p as it was.
func Whole(p []byte, i int, masked bool, limit int64) (opcode Opcode, start, end int) {
	left := len(p) - i
	if left < 2 || p[i] != finBit|byte(Text) && p[i] != finBit|byte(Binary) {
		return 0, 0, 0
	}
	opcode = Opcode(p[i] &^ finBit)
	start, length := i+2, int(p[i+1]) // with the mask bit if that is wrong
	if masked {
		start, length = i+6, length^maskBit
	}
	if length >= length16 {
		if length != length16 || left < 4 {
			return 0, 0, 0
		}
		if length = int(p[i+2])<<8 | int(p[i+3]); length < length16 {
			return 0, 0, 0
		}
		start += 2
	}
	end = start + length
	if end > len(p) || uint64(length) > uint64(limit) {
		return 0, 0, 0
	}
	if masked {
		xor(p[start:end], binary.LittleEndian.Uint32(p[start-4:]))
	}
	return opcode, start, end
}

// Valid is [unicode/utf8.Valid], and faster for short text.
func Valid(p []byte) bool { return valid(p) }

// NotText returns what is wrong with the payload of a text message that is not Valid.
func NotText(payload []byte) *Error {
	var d Decoder
	return d.checkText(payload, true)
}
