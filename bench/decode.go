//go:build linux

package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/edgews/edgews/internal/frame"
	"github.com/gobwas/ws"
)

// clientFrame returns a masked binary message of n bytes.
func clientFrame(n int) []byte {
	return ws.MustCompileFrame(ws.MaskFrameWith(ws.NewBinaryFrame(bytes.Repeat([]byte{'x'}, n)), [4]byte{1, 2, 3, 4}))
}

// decoder decodes a frame in memory and unmasks it in place. So every second run unmasks a payload that is not masked, which makes
// no difference for binary messages.
type decoder struct {
	wire []byte
	size int
	d    frame.Decoder
}

func newDecoder(size int) *decoder {
	d := &decoder{wire: clientFrame(size), size: size}
	d.d.Init(frame.Config{Masked: true, Limit: 1 << 20})
	return d
}

func (d *decoder) decode() error {
	piece, _, ok, err := d.d.Next(d.wire)
	if err != nil || !ok || len(piece.Payload) != d.size {
		return fmt.Errorf("decoded %d bytes: %v, %w", len(piece.Payload), ok, err)
	}
	return nil
}

// decodeTime returns the best time of many runs for one frame. Only other load on the machine makes a run slower.
func decodeTime(size int) (nanoseconds float64, err error) {
	const runs, length, pause = 100, 1000, 5 * time.Millisecond
	d := newDecoder(size)
	best := time.Duration(1<<63 - 1)
	for range runs {
		begin := time.Now()
		for range length {
			if err := d.decode(); err != nil {
				return 0, err
			}
		}
		best = min(best, time.Since(begin))
		time.Sleep(pause)
	}
	return float64(best) / length, nil
}
