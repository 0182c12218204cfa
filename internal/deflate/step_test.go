package deflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// large returns messages of many steps, with blocks of all types. With -short and under the race detector, which makes them slow, the
// largest ones are smaller.
func large() map[string][]byte {
	zeros, ofWords := 5<<20, 1<<20
	if testing.Short() || raceEnabled {
		zeros, ofWords = 1<<20, 300<<10
	}
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 300<<10)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	words := []byte{}
	for len(words) < ofWords {
		words = append(words, strings.Repeat("abcdefghij"[:1+r.IntN(10)], 1+r.IntN(5))...)
	}
	return map[string][]byte{
		"empty":        {},
		"short":        []byte("short"),
		"zeros":        make([]byte, zeros),
		"noise":        noise,
		"words":        words,
		"a bit of all": bytes.Join([][]byte{words[:100_000], noise[:70_000], make([]byte, 200_000), words[100_000:300_000]}, nil),
		"one step":     words[:step],
		"just beyond":  words[:step+1],
	}
}

func flated(p, dict []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriterDict(&b, flate.BestCompression, dict)
	w.Write(p)
	w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte(syncMark))
}

func TestSteps(t *testing.T) {
	dict := []byte(strings.Repeat("history that is referred to ", 100))
	for name, text := range large() {
		for _, hist := range [][]byte{nil, dict} {
			text := append(bytes.Clone(hist), text...)
			payload := flated(text, hist)
			t.Run(name, func(t *testing.T) {
				pauses := 0
				pause := func() { pauses++ }
				decompressor := func() *Decompressor {
					var d Decompressor
					d.Init(15, true)
					d.hist.add(hist, maxWindow)
					return &d
				}
				d := decompressor()
				want, err := d.Append(nil, payload, -1)
				require.NoError(t, err)
				require.True(t, bytes.Equal(text, want))

				sized := decompressor()
				n, err := sized.Size(payload, -1, pause)
				require.NoError(t, err)
				require.Equal(t, len(text), n)
				assert.GreaterOrEqual(t, pauses, len(text)/countStep-1)
				_, err = sized.Size(payload, int64(n), nil)
				require.NoError(t, err)

				pauses = 0
				got, err := sized.AppendSized(make([]byte, 0, n), payload, n, pause)
				require.NoError(t, err)
				require.True(t, bytes.Equal(text, got))
				assert.GreaterOrEqual(t, pauses, len(text)/step-1)
				assert.Equal(t, d.hist, sized.hist)

				skipped := decompressor()
				got = nil
				n, err = skipped.Skip(make([]byte, 0, step), payload, int64(len(text)), func(p []byte) error {
					require.LessOrEqual(t, len(p), step)
					got = append(got, p...)
					return nil
				})
				require.NoError(t, err)
				require.Equal(t, len(text), n)
				require.True(t, bytes.Equal(text, got))
				assert.Equal(t, d.hist, skipped.hist)

				if len(text) == 0 {
					return
				}
				_, err = decompressor().Size(payload, int64(len(text)-1), pause)
				assert.ErrorIs(t, err, ErrTooBig)
				_, err = decompressor().AppendSized(make([]byte, 0, len(text)), payload, len(text)-1, pause)
				assert.ErrorIs(t, err, ErrTooBig)
				_, err = decompressor().Skip(make([]byte, 0, step), payload, int64(len(text)-1), func([]byte) error { return nil })
				assert.ErrorIs(t, err, ErrTooBig)
				stop := errors.New("stop")
				_, err = decompressor().Skip(make([]byte, 0, step), payload, -1, func([]byte) error { return stop })
				assert.ErrorIs(t, err, stop)
				if len(payload) > 100 {
					_, err = decompressor().Size(payload[:len(payload)/2], -1, nil)
					assert.Error(t, err)
				}
			})
		}
	}
}

// FuzzSteps: all ways to inflate a payload agree.
func FuzzSteps(f *testing.F) {
	for _, text := range large() {
		f.Add(flated(text, nil))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var d, e Decompressor
		d.Init(15, true)
		e.Init(15, true)
		const limit = 1 << 20
		want, err := d.Append(nil, payload, limit)
		n, sizeErr := new(Decompressor).Size(payload, limit, nil)
		var got []byte
		_, skipErr := e.Skip(make([]byte, 0, step), payload, limit, func(p []byte) error { got = append(got, p...); return nil })
		require.Equal(t, err == nil, skipErr == nil, "%v, %v", err, skipErr)
		if err == nil { // otherwise a distance may be wrong, which Size does not check
			require.NoError(t, sizeErr)
			require.Equal(t, len(want), n)
			require.True(t, bytes.Equal(want, got))
		}
	})
}
