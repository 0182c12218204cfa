//go:build linux

package main

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/edgews/edgews/internal/frame"
	"github.com/gobwas/ws"
)

var sizes = []int{32, 128, 1 << 10, 16 << 10, 64 << 10}

// clientFrame is a masked binary message of n bytes.
func clientFrame(tb testing.TB, n int) []byte {
	p, err := ws.CompileFrame(ws.MaskFrameWith(ws.NewBinaryFrame(bytes.Repeat([]byte{'x'}, n)), [4]byte{1, 2, 3, 4}))
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// BenchmarkDecode finds a frame in memory and unmasks it where it lies. What the second run unmasks is the first one's
// payload, masked again: to a decoder of binary messages that makes no difference.
func BenchmarkDecode(b *testing.B) {
	for _, size := range sizes {
		wire := clientFrame(b, size)
		b.Run(fmt.Sprintf("lib=edgews/size=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			var d frame.Decoder
			d.Init(frame.Config{Masked: true, Limit: 1 << 20})
			for b.Loop() {
				piece, _, ok, err := d.Next(wire)
				if err != nil || !ok || len(piece.Payload) != size {
					b.Fatal(len(piece.Payload), ok, err)
				}
			}
		})
		b.Run(fmt.Sprintf("lib=gobwas/size=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			var r bytes.Reader
			for b.Loop() {
				r.Reset(wire)
				h, err := ws.ReadHeader(&r)
				if err != nil {
					b.Fatal(err)
				}
				ws.Cipher(wire[len(wire)-r.Len():], h.Mask, 0)
			}
		})
	}
}

func BenchmarkMask(b *testing.B) {
	for _, size := range sizes {
		p := make([]byte, size)
		key := [4]byte{1, 2, 3, 4}
		b.Run(fmt.Sprintf("lib=edgews/size=%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				frame.Mask(p, key, 0)
			}
		})
		b.Run(fmt.Sprintf("lib=gobwas/size=%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				ws.Cipher(p, key, 0)
			}
		})
	}
}
