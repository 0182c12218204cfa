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

// BenchmarkDecode decodes a frame in memory and unmasks it in place.
func BenchmarkDecode(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("lib=edgews/size=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			d := newDecoder(size)
			for b.Loop() {
				if err := d.decode(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("lib=gobwas/size=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			wire := clientFrame(size)
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
