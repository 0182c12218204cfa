package deflate

import (
	"bytes"
	"compress/flate"
	"io"
	"testing"

	fast "github.com/klauspost/compress/flate"
	"github.com/stretchr/testify/require"
)

// epilogue follows a payload so that the standard library ends cleanly: what the sender cut off, and an empty final
// block.
const epilogue = syncMark + "\x01\x00\x00\xff\xff"

// stdlib inflates one payload with the standard library.
func stdlib(payload, hist []byte) ([]byte, error) {
	return io.ReadAll(flate.NewReaderDict(io.MultiReader(bytes.NewReader(payload), bytes.NewReader([]byte(epilogue))), hist))
}

// klauspost does the same with klauspost/compress.
func klauspost(payload, hist []byte) ([]byte, error) {
	return io.ReadAll(fast.NewReaderDict(io.MultiReader(bytes.NewReader(payload), bytes.NewReader([]byte(epilogue))), hist))
}

// cut makes messages of data: each byte says how many of the next bytes are a message, and how often they are repeated.
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
		f.Add(c.message(r, 3000), uint8(MinWindowBits+2*i), uint8(3*i))
	}
	f.Fuzz(func(t *testing.T, data []byte, bits, level uint8) {
		s := setup{int(level % 10), windowBits(int(bits % 16)), bits < 128}
		var c Compressor
		c.Init(s.level, s.bits, s.takeover)
		var hist []byte
		for _, msg := range cut(data) {
			payload := c.Append([]byte("before"), msg)[len("before"):]
			got, err := stdlib(payload, hist)
			require.NoError(t, err)
			require.True(t, bytes.Equal(msg, got), "standard library differs")
			require.LessOrEqual(t, len(payload), len(msg)+5*(len(msg)/maxBlock+1)+1, "level %d", s.level)
			c.Commit(msg)
			if s.takeover {
				hist = history(append(hist, msg...)).last(1 << s.bits)
			}
		}
	})
}

// FuzzOthersAgree inflates arbitrary bytes and expects the result of the standard library and of klauspost/compress: the same message, or
// an error.
func FuzzOthersAgree(f *testing.F) {
	r := seeded()
	for i, c := range corpora {
		var packed bytes.Buffer
		w, err := flate.NewWriter(&packed, []int{1, 6, 9, flate.HuffmanOnly}[i])
		require.NoError(f, err)
		_, _ = w.Write(c.message(r, 2000))
		require.NoError(f, w.Flush())
		f.Add(bytes.TrimSuffix(packed.Bytes(), []byte(syncMark)), []byte("history"))
	}
	f.Fuzz(func(t *testing.T, payload, hist []byte) {
		if len(payload) == 0 {
			return // an empty payload is accepted as an empty message
		}
		hist = history(hist).last(1 << 15)
		var d Decompressor
		d.Init(15, true)
		d.hist.add(hist, 1<<15)
		got, err := d.Append(nil, payload, -1)
		for name, inflate := range map[string]func(payload, hist []byte) ([]byte, error){"stdlib": stdlib, "klauspost": klauspost} {
			want, wantErr := inflate(payload, hist)
			if err == nil {
				// The other inflaters do not read beyond a final block.
				require.NoError(t, wantErr, name)
				require.True(t, bytes.HasPrefix(got, want), "inflated differs from %s", name)
				continue
			}
			require.ErrorIs(t, err, ErrCorrupt)
			if wantErr == nil {
				_, _, naive := naiveMessage(payload, hist, 1<<15)
				require.Error(t, naive, "the payload does not end with the block, but inflates with %s", name)
			}
		}
	})
}
