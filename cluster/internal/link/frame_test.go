package link

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// naiveDecode is the slow twin of the decoder: it takes all bytes at once. ok is false if a frame is too large.
func naiveDecode(p []byte, limit int) (frames []frame, ok bool) {
	for {
		r := bytes.NewReader(p)
		var h struct {
			Length                  uint32
			Version, Kind           uint8
			Code                    uint16
			Channel                 uint64
			Seq, Received, Consumed uint32
		}
		if binary.Read(r, binary.BigEndian, &h) != nil {
			return frames, true
		}
		if int64(h.Length) > int64(limit) {
			return frames, false
		}
		if int64(h.Length) > int64(r.Len()) {
			return frames, true
		}
		start := len(p) - r.Len()
		f := frame{
			version: h.Version, kind: frameType(h.Kind), code: h.Code, channel: h.Channel, seq: h.Seq, received: h.Received, consumed: h.Consumed,
			payload: slices.Clone(p[start : start+int(h.Length)]),
		}
		frames = append(frames, f)
		p = p[start+int(h.Length):]
	}
}

// decodeInPieces decodes p, which arrives in pieces of at most size bytes.
func decodeInPieces(t *testing.T, p []byte, limit, size int) (frames []frame, ok bool) {
	d := decoder{limit: limit}
	for {
		var f frame
		complete, err := d.next(&f)
		if err != nil {
			require.ErrorIs(t, err, ErrProtocol)
			return frames, false
		}
		if complete {
			f.payload = slices.Clone(f.payload)
			frames = append(frames, f)
			continue
		}
		if len(p) == 0 {
			return frames, true
		}
		space := d.space()
		require.NotEmpty(t, space)
		require.LessOrEqual(t, len(d.buf), max(readSize, 2*(headerLen+limit)))
		n := copy(space, p[:min(size, len(p))])
		d.advance(n)
		p = p[n:]
	}
}

func checkDecoder(t *testing.T, p []byte, limit, size int) {
	want, wantOK := naiveDecode(p, limit)
	got, ok := decodeInPieces(t, p, limit, size)
	require.Equal(t, wantOK, ok)
	require.Len(t, got, len(want))
	for i := range want {
		require.True(t, bytes.Equal(want[i].payload, got[i].payload))
		want[i].payload, got[i].payload = nil, nil
	}
	require.Equal(t, want, got)

	var again []byte // what is decoded and encoded is what was there
	for _, f := range decodedFrames(t, p, limit, size) {
		again = appendFrame(again, &f)
	}
	require.True(t, bytes.HasPrefix(p, again))
}

func decodedFrames(t *testing.T, p []byte, limit, size int) []frame {
	frames, _ := decodeInPieces(t, p, limit, size)
	return frames
}

func FuzzDecoder(f *testing.F) {
	whole := appendFrame(nil, &frame{version: 1, kind: typeData, code: 2, channel: 3, seq: 4, received: 5, consumed: 6, payload: []byte("hello")})
	f.Add(whole, uint16(100), uint16(1))
	f.Add(append(whole, whole...), uint16(5), uint16(7))
	f.Add(append(whole, whole[:20]...), uint16(4), uint16(1000))
	f.Fuzz(func(t *testing.T, p []byte, limit, size uint16) {
		checkDecoder(t, p, int(limit), int(size)+1)
	})
}

// Frames larger than the buffer, next to small ones, in pieces of every kind.
func TestDecoderOfLargeFrames(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		var p []byte
		for range 20 {
			payload := make([]byte, rnd.IntN(200))
			if rnd.IntN(4) == 0 {
				payload = make([]byte, rnd.IntN(300<<10))
			}
			for i := range payload {
				payload[i] = byte(rnd.Uint32())
			}
			p = appendFrame(p, &frame{version: 1, kind: typeData, seq: rnd.Uint32(), payload: payload})
		}
		checkDecoder(t, p, 300<<10, 1+rnd.IntN(100<<10))
		checkDecoder(t, p, 100<<10, 1+rnd.IntN(100<<10))
	}
}

// The length of a frame alone allocates nothing.
func TestDecoderBelievesNoLength(t *testing.T) {
	d := decoder{limit: 1 << 30}
	p := appendFrame(nil, &frame{version: 1, kind: typeData})
	binary.BigEndian.PutUint32(p, 1<<30)
	for range 100 {
		n := copy(d.space(), p)
		d.advance(n)
		var f frame
		complete, err := d.next(&f)
		require.NoError(t, err)
		require.False(t, complete)
		p = make([]byte, 100)
	}
	assert.LessOrEqual(t, len(d.buf), readSize)
}

func TestWiden(t *testing.T) {
	for _, near := range []uint64{0, 1, 1000, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
		for _, distance := range []int64{-1 << 30, -1000, -1, 0, 1, 1000, 1 << 30} {
			seq := near + uint64(distance)
			assert.Equal(t, seq, widen(near, uint32(seq)))
			assert.Equal(t, distance > 0, after(seq, near))
		}
	}
}
