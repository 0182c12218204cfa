package frame

import (
	"encoding/binary"
	"math/bits"

	"github.com/gobwas/ws"
)

// vectorFrom is the number of bytes from which gobwas's vector instructions win over the loop in xor,
// measured on amd64: below, their call and their odd ends cost more than they save.
const vectorFrom = 256

// Mask masks or unmasks p in place, both being the same XOR (RFC 6455 §5.3). pos is how many bytes of the
// payload came before p; only its remainder by 4 matters.
func Mask(p []byte, key [4]byte, pos int) {
	xor(p, rotate(binary.LittleEndian.Uint32(key[:]), pos))
}

// rotate returns the key word for what follows after n more bytes. A word that is rotated, instead of an
// index into the key, lets every run start with whole words.
func rotate(key uint32, n int) uint32 { return bits.RotateLeft32(key, -8*(n&3)) }

// xor applies key, whose lowest byte is for p[0].
func xor(p []byte, key uint32) {
	if len(p) >= vectorFrom {
		var k [4]byte
		binary.LittleEndian.PutUint32(k[:], key)
		ws.Cipher(p, k, 0)
		return
	}
	word := uint64(key)<<32 | uint64(key)
	for len(p) >= 32 {
		xorWord(p[0:8], word)
		xorWord(p[8:16], word)
		xorWord(p[16:24], word)
		xorWord(p[24:32], word)
		p = p[32:]
	}
	for len(p) >= 8 {
		xorWord(p[:8], word)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= byte(word)
		word >>= 8
	}
}

func xorWord(p []byte, word uint64) {
	binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^word)
}
