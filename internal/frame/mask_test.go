package frame

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// naiveMask is the algorithm of RFC 6455 §5.3.
func naiveMask(p []byte, key [4]byte, pos int) []byte {
	out := make([]byte, len(p))
	for i, b := range p {
		out[i] = b ^ key[(pos+i)%4]
	}
	return out
}

func checkMask(t *testing.T, p []byte, key [4]byte, pos int) {
	t.Helper()
	want := naiveMask(p, key, pos)
	Mask(p, key, pos)
	require.True(t, bytes.Equal(want, p), "len %d, pos %d", len(p), pos)
}

func TestMask(t *testing.T) {
	key := [4]byte{0x12, 0x34, 0x56, 0x78}
	for n := range 2*vectorMin + 3 {
		for pos := range 5 {
			checkMask(t, bytes.Repeat([]byte{'x'}, n), key, pos)
		}
	}
}

// Mask does not change the bytes around p.
func TestMaskStaysInside(t *testing.T) {
	for n := range 2*vectorMin + 3 {
		buf := make([]byte, n+64)
		Mask(buf[32:32+n], [4]byte{1, 2, 3, 4}, 0)
		require.Equal(t, make([]byte, 32), buf[:32])
		require.Equal(t, make([]byte, 32), buf[32+n:])
	}
}

func FuzzMask(f *testing.F) {
	f.Add([]byte(""), []byte("abcd"), uint8(0))
	f.Add([]byte("Hello"), []byte{0x37, 0xfa, 0x21, 0x3d}, uint8(3))
	f.Add(make([]byte, 300), []byte("abcd"), uint8(1))
	f.Fuzz(func(t *testing.T, p, keyBytes []byte, pos uint8) {
		var key [4]byte
		copy(key[:], keyBytes)
		checkMask(t, bytes.Clone(p), key, int(pos))
	})
}

func BenchmarkMask(b *testing.B) {
	for _, size := range []int{5, 16, 32, 64, 125, 255, 256, 1024, 4096, 65536} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			p := make([]byte, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				Mask(p, [4]byte{1, 2, 3, 4}, 0)
			}
		})
	}
}
