package frame

import (
	"encoding/binary"
	"math/bits"

	"github.com/gobwas/ws"
)

// vectorMin is the size in bytes from which gobwas's vector instructions are faster than the loop in xor, measured on amd64. Below
// it, the call and the bytes that do not fill a vector cost more than the vectors save.
const vectorMin = 256

// Mask masks or unmasks p in place: both are the same XOR (RFC 6455 §5.3). pos is the number of payload bytes before p; only pos
// modulo 4 matters.
func Mask(p []byte, key [4]byte, pos int) {
	xor(p, rotate(binary.LittleEndian.Uint32(key[:]), pos))
}

// rotate returns the key for the payload that follows after n more bytes. With a rotated key, instead of an index into it, xor always
// begins with whole words.
func rotate(key uint32, n int) uint32 { return bits.RotateLeft32(key, -8*(n&3)) }

// xor applies key, whose lowest byte is for p[0].
func xor(p []byte, key uint32) {
	if len(p) >= vectorMin {
		var k [4]byte
		binary.LittleEndian.PutUint32(k[:], key)
		ws.Cipher(p, k, 0)
		return
	}
	word := uint64(key)<<32 | uint64(key)
	i := 0
	for ; i <= len(p)-64; i += 64 {
		b := (*[64]byte)(p[i:]) // with the bounds known, each line is one instruction
		binary.LittleEndian.PutUint64(b[0:], binary.LittleEndian.Uint64(b[0:])^word)
		binary.LittleEndian.PutUint64(b[8:], binary.LittleEndian.Uint64(b[8:])^word)
		binary.LittleEndian.PutUint64(b[16:], binary.LittleEndian.Uint64(b[16:])^word)
		binary.LittleEndian.PutUint64(b[24:], binary.LittleEndian.Uint64(b[24:])^word)
		binary.LittleEndian.PutUint64(b[32:], binary.LittleEndian.Uint64(b[32:])^word)
		binary.LittleEndian.PutUint64(b[40:], binary.LittleEndian.Uint64(b[40:])^word)
		binary.LittleEndian.PutUint64(b[48:], binary.LittleEndian.Uint64(b[48:])^word)
		binary.LittleEndian.PutUint64(b[56:], binary.LittleEndian.Uint64(b[56:])^word)
	}
	for ; i <= len(p)-8; i += 8 {
		b := (*[8]byte)(p[i:])
		binary.LittleEndian.PutUint64(b[:], binary.LittleEndian.Uint64(b[:])^word)
	}
	for ; i < len(p); i++ {
		p[i] ^= byte(word)
		word >>= 8
	}
}
