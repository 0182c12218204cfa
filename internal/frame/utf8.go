package frame

import (
	"encoding/binary"
	"unicode/utf8"
)

// UTF8 checks a stream that arrives in pieces, at the speed of [utf8.Valid], and finds it invalid at the
// first byte after which nothing could make it valid: RFC 6455 §8.1 lets an endpoint fail that early, and
// Autobahn's cases 6.4 ask for it. The zero value is ready.
type UTF8 struct {
	carry [3]byte // the beginning of a character whose rest is in the next piece
	n     uint8   // bytes in carry, or invalid
}

// invalid as UTF8.n says that the stream was found to be wrong.
const invalid = 0xff

// Write takes the next piece and reports whether the stream may still be valid. Once false, it stays false.
func (u *UTF8) Write(p []byte) bool {
	if u.n != 0 && u.n != invalid {
		p = u.finish(p)
	}
	if u.n != 0 {
		return u.n != invalid
	}
	whole := wholeRunes(p)
	if !valid(p[:whole]) {
		u.n = invalid
		return false
	}
	u.n = uint8(copy(u.carry[:], p[whole:]))
	return true
}

// Done reports whether the stream is valid if it ends here, and not in the middle of a character.
func (u *UTF8) Done() bool { return u.n == 0 }

// Reset makes u ready for another stream.
func (u *UTF8) Reset() { u.n = 0 }

// finish adds bytes of p to the carried character until it is complete or wrong, and returns the rest.
func (u *UTF8) finish(p []byte) []byte {
	for i, b := range p {
		if u.add(b) {
			return p[i+1:]
		}
	}
	return nil
}

// add appends b to the carried character and reports whether that settled it, one way or the other.
func (u *UTF8) add(b byte) bool {
	char := [utf8.UTFMax]byte{u.carry[0], u.carry[1], u.carry[2]}
	char[u.n] = b
	u.n++
	if !utf8.FullRune(char[:u.n]) {
		u.carry[u.n-1] = b
		return false
	}
	if utf8.Valid(char[:u.n]) {
		u.n = 0
	} else {
		u.n = invalid
	}
	return true
}

// wholeRunes returns the length of p without the character its end cuts off. What cannot begin a character
// is not cut off: [utf8.FullRune] is false only for the beginning of a valid one.
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

// wordwise is the number of bytes up to which looking for ASCII in words is faster than [utf8.Valid], which
// takes its time to get going: 4 ns instead of 16 for 32 bytes. Chat is mostly that.
const wordwise = 64

func valid(p []byte) bool {
	return len(p) <= wordwise && ascii(p) || utf8.Valid(p)
}

func ascii(p []byte) bool {
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
