package frame

import (
	"encoding/binary"
	"unicode/utf8"
)

// UTF8 checks text that arrives in pieces, at the speed of [utf8.Valid]. It fails at the first byte that no continuation can make
// valid: RFC 6455 §8.1 lets an endpoint fail that early, and Autobahn's cases 6.4 require it. The zero value is ready for use.
type UTF8 struct {
	carry   [3]byte // the first bytes of a character that the next piece continues
	carried uint8   // bytes in carry, or invalid
}

// invalid is the value of UTF8.carried after the text has been found invalid.
const invalid = 0xff

// Write takes the next piece and reports whether the text can still be valid. After it has returned false, it always returns false.
func (u *UTF8) Write(p []byte) bool {
	if u.carried != 0 && u.carried != invalid {
		p = u.finish(p)
	}
	if u.carried != 0 {
		return u.carried != invalid
	}
	whole := wholeRunes(p)
	if !Valid(p[:whole]) {
		u.carried = invalid
		return false
	}
	u.carried = uint8(copy(u.carry[:], p[whole:]))
	return true
}

// Done reports whether the text is valid if it ends here: it must not end in the middle of a character.
func (u *UTF8) Done() bool { return u.carried == 0 }

// Reset makes u ready for another text.
func (u *UTF8) Reset() { u.carried = 0 }

// finish adds bytes of p to the carried character until the character is complete or invalid. It returns the rest of p.
func (u *UTF8) finish(p []byte) []byte {
	for i, b := range p {
		if u.add(b) {
			return p[i+1:]
		}
	}
	return nil
}

// add appends b to the carried character and reports whether the character is now complete or invalid.
func (u *UTF8) add(b byte) bool {
	char := [utf8.UTFMax]byte{u.carry[0], u.carry[1], u.carry[2]}
	char[u.carried] = b
	u.carried++
	if !utf8.FullRune(char[:u.carried]) {
		u.carry[u.carried-1] = b
		return false
	}
	if utf8.Valid(char[:u.carried]) {
		u.carried = 0
	} else {
		u.carried = invalid
	}
	return true
}

// wholeRunes returns the length of p without an incomplete character at its end. Bytes that no valid character begins with are not
// incomplete: [utf8.FullRune] is false only for the beginning of a valid character.
func wholeRunes(p []byte) int {
	for i := len(p) - 1; i >= 0 && i >= len(p)-3; i-- {
		if utf8.RuneStart(p[i]) {
			if utf8.FullRune(p[i:]) {
				break
			}
			return i
		}
	}
	return len(p)
}

// asciiMax is the number of bytes up to which looking for ASCII in words is faster than [utf8.Valid]: 4 ns instead of
// 16 for 32 bytes. Most chat messages are ASCII of that size.
const asciiMax = 64

// Valid is [utf8.Valid], and faster for short text.
func Valid(p []byte) bool {
	return len(p) <= asciiMax && isASCII(p) || utf8.Valid(p)
}

func isASCII(p []byte) bool {
	var all uint64
	for len(p) >= 8 {
		all |= binary.LittleEndian.Uint64(p)
		p = p[8:]
	}
	for _, b := range p {
		all |= uint64(b)
	}
	return all&0x8080808080808080 == 0
}
