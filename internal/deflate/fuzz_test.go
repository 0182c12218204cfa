package deflate

import (
	"bytes"
	"compress/flate"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// stdlib inflates one payload with the standard library.
func stdlib(payload, hist []byte) ([]byte, error) {
	return io.ReadAll(flate.NewReaderDict(io.MultiReader(bytes.NewReader(payload), bytes.NewReader([]byte(epilogue))), hist))
}

// cut makes messages of data: each byte says how much of what follows is one, repeated how often.
func cut(data []byte) (msgs [][]byte) {
	for len(data) > 0 && len(msgs) < 50 {
		size, times := int(data[0])*int(data[0])/40, 1
		if data[0]%8 == 7 {
			times = 1 + int(data[0]/8)
		}
		data = data[1:]
		size = min(size, len(data))
		msgs = append(msgs, bytes.Repeat(data[:size], times))
		data = data[size:]
	}
	return msgs
}

func FuzzCompress(f *testing.F) {
	r := seeded()
	for i, c := range corpora {
		f.Add(c.message(r, 3000), uint8(minBits+2*i))
	}
	f.Fuzz(func(t *testing.T, data []byte, bits uint8) {
		s := setup{windowBits(int(bits % 16)), bits < 128}
		var c Compressor
		c.Init(s.bits, s.takeover)
		var hist []byte
		for _, msg := range cut(data) {
			payload := c.Append([]byte("before"), msg)[len("before"):]
			got, err := stdlib(payload, hist)
			require.NoError(t, err)
			require.True(t, bytes.Equal(msg, got), "standard library differs")
			require.LessOrEqual(t, len(payload), len(msg)+5*(len(msg)/maxBlock+1)+1)
			c.Commit(msg)
			if s.takeover {
				hist = history(append(hist, msg...)).last(1 << s.bits)
			}
		}
	})
}
