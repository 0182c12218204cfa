package frame

import (
	"encoding/binary"
	"math"
	"math/big"
)

// message is a control frame, or the part of a data message that has arrived.
type message struct {
	Opcode  Opcode
	Payload string
	RSV1    bool
	Whole   bool
}

// naiveDecode is slow and obviously right: it gets the whole input at once and applies the rules of the RFC one after the other. It
// returns the messages and the status code for the rule that was broken, or 0.
func naiveDecode(c Config, in []byte) (got []message, code uint16) {
	var open *message                 // the data message that has begun
	var size, empty = new(big.Int), 0 // of open: its bytes, and its empty frames
	var text string                   // of open
	shown := false                    // open is in got
	for len(in) >= 2 {
		fin, rsv1, rsv23 := in[0]&0x80 != 0, in[0]&0x40 != 0, in[0]&0x30 != 0
		opcode, masked, short := Opcode(in[0]&15), in[1]&0x80 != 0, in[1]&0x7f
		control := opcode >= 8
		switch {
		case rsv23, rsv1 && (!c.Compressed || control || opcode == 0):
			return got, 1002
		case masked != c.Masked:
			return got, 1002
		case opcode != 0 && opcode != 1 && opcode != 2 && opcode != 8 && opcode != 9 && opcode != 10:
			return got, 1002
		case control && (!fin || short > 125):
			return got, 1002
		case opcode == 0 && open == nil, !control && opcode != 0 && open != nil:
			return got, 1002
		}
		in = in[2:]
		length, extra := uint64(short), map[byte]int{126: 2, 127: 8}[short]
		key, keySize := [4]byte{}, 0
		if masked {
			keySize = 4
		}
		if len(in) < extra+keySize {
			return got, 0
		}
		if extra == 2 {
			length = uint64(binary.BigEndian.Uint16(in))
		}
		if extra == 8 {
			length = binary.BigEndian.Uint64(in)
		}
		if extra == 2 && length < 126 || extra == 8 && (length < 65536 || length >= 1<<63) {
			return got, 1002
		}
		copy(key[:], in[extra:extra+keySize])
		in = in[extra+keySize:]

		if !control {
			if opcode != 0 {
				open, shown, text, empty = &message{Opcode: opcode, RSV1: rsv1}, false, "", 0
				size.SetInt64(0)
			}
			size.Add(size, new(big.Int).SetUint64(length))
			limit := big.NewInt(math.MaxInt64)
			if c.Limit >= 0 {
				limit.SetInt64(c.Limit)
			}
			if open.RSV1 && c.Limit >= 0 {
				limit.Add(limit, big.NewInt(c.Limit/8+1024))
			}
			if size.Cmp(limit) > 0 {
				return got, 1009
			}
			if length == 0 {
				empty++
			}
			if empty > 65536 {
				return got, 1008
			}
		}

		n := min(uint64(len(in)), length)
		payload, whole := naiveMask(in[:n], key, 0), n == length
		in = in[n:]
		if control {
			if !whole {
				return got, 0
			}
			if opcode == Close {
				if code := naiveClose(payload); code != 0 {
					return got, code
				}
			}
			got = append(got, message{opcode, string(payload), false, true})
			continue
		}
		text += string(payload)
		if open.Opcode == Text && !open.RSV1 {
			if !naiveBegins(text) || fin && whole && !naiveValid(text) {
				return got, 1007
			}
		}
		if !shown && (whole || n > 0) {
			got, shown = append(got, *open), true
		}
		if shown {
			for i := range got {
				if !got[i].Whole {
					got[i].Payload = text
				}
			}
		}
		if whole && fin {
			for i := range got {
				got[i].Whole = true
			}
			open = nil
		}
	}
	return got, 0
}

func naiveClose(payload []byte) uint16 {
	if len(payload) == 0 {
		return 0
	}
	if len(payload) == 1 {
		return 1002
	}
	switch code := int(payload[0])<<8 | int(payload[1]); {
	case code < 1000, code == 1004, code == 1005, code == 1006, 1015 <= code && code < 3000, code >= 5000:
		return 1002
	}
	if !naiveValid(string(payload[2:])) {
		return 1007
	}
	return 0
}

// wholeOnly drops a message that has not ended: a decoder that fails may have returned less of it.
func wholeOnly(all []message) (whole []message) {
	for _, m := range all {
		if m.Whole {
			whole = append(whole, m)
		}
	}
	return whole
}
