package frame

import "encoding/binary"

// ParseWhole parses the most common kind of frame at the beginning of p without a [Decoder]: an uncompressed message of less than
// 64 KiB in one frame that p holds to its end and that is within limit (in bytes; negative means no limit). It returns the payload,
// which it unmasks in place, and the offset at which the frame ends. The caller checks text with [Valid]. For every other frame,
// also an invalid one, end is 0 and p is unchanged: a Decoder takes it.
func ParseWhole(p []byte, masked bool, limit int64) (opcode Opcode, payload []byte, end int) {
	if len(p) < 2 {
		return 0, nil, 0
	}
	opcode = Opcode(p[0] ^ finBit) // has more bits set unless FIN is 1 and RSV1 to RSV3 are 0
	if opcode != Text && opcode != Binary {
		return 0, nil, 0
	}
	second := p[1]
	if masked {
		second ^= maskBit // the bit is then set if the peer must mask and does not, or the other way round
	}
	start, length := 2, int(second)
	if length >= extended16 {
		if length != extended16 || len(p) < 4 {
			return 0, nil, 0
		}
		if length = int(binary.BigEndian.Uint16(p[2:])); length < extended16 {
			return 0, nil, 0
		}
		start = 4
	}
	if masked {
		start += 4
	}
	end = start + length
	if end > len(p) || uint64(length) > uint64(limit) {
		return 0, nil, 0
	}
	payload = p[start:end:end]
	if masked {
		xor(payload, binary.LittleEndian.Uint32(p[start-4:start]))
	}
	return opcode, payload, end
}

// TextError returns the error for the payload of a whole text message that is not [Valid].
func TextError(payload []byte) *Error {
	var d Decoder
	return d.checkText(payload, true)
}
