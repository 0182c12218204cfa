package deflate

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

// TestInflatesEveryEnd has the examples of RFC 7692 §7.2.3 and other ways to end a message.
func TestInflatesEveryEnd(t *testing.T) {
	for _, c := range []struct{ name, payload, msg string }{
		{"one block, §7.2.3.1", "f2 48 cd c9 c9 07 00", "Hello"},
		{"no compression, §7.2.3.3", "00 05 00 fa ff 48 65 6c 6c 6f 00", "Hello"},
		{"final block, §7.2.3.4", "f3 48 cd c9 c9 07 00 00", "Hello"},
		{"two blocks, §7.2.3.5", "f2 48 05 00 00 00 ff ff ca c9 c9 07 00", "Hello"},
		{"empty, §7.2.3.6", "00", ""},
		{"nothing", "", ""},
		{"empty fixed block, §7.2.3.6", "02 00", ""},
		{"final block and nothing behind", "f3 48 cd c9 c9 07 00", "Hello"},
		{"empty final stored block, cut", "f2 48 cd c9 c9 07 00 00 00 ff ff 01", "Hello"},
		{"empty final stored block, whole", "f2 48 cd c9 c9 07 00 00 00 ff ff 01 00 00 ff ff", "Hello"},
		{"final stored block", "01 05 00 fa ff 48 65 6c 6c 6f", "Hello"},
		{"two final blocks", "f3 48 cd c9 c9 07 00 f3 48 cd c9 c9 07 00", "HelloHello"},
		{"final block, then another", "f3 48 cd c9 c9 07 00 f2 48 cd c9 c9 07 00", "HelloHello"},
		{"refers across a final block", "f3 48 cd c9 c9 07 00 02 13 00 00", "HelloHello"},
		{"several empty blocks", "00 00 00 ff ff 02 00 00 00 ff ff 00", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, takeover := range []bool{false, true} {
				p := newPeer(setup{1, 15, takeover})
				p.receives(t, fromHex(t, c.payload), []byte(c.msg))
				p.receives(t, fromHex(t, "f2 48 cd c9 c9 07 00"), []byte("Hello"))
			}
		})
	}
}

// TestContextTakeover is the example of RFC 7692 §7.2.3.2.
func TestContextTakeover(t *testing.T) {
	p := newPeer(setup{1, 15, true})
	p.receives(t, fromHex(t, "f2 48 cd c9 c9 07 00"), []byte("Hello"))
	p.receives(t, fromHex(t, "f2 00 11 00 00"), []byte("Hello"))

	var d Decompressor
	d.Init(15, false)
	_, err := d.Append(nil, fromHex(t, "f2 00 11 00 00"), -1)
	assert.ErrorIs(t, err, ErrCorrupt, "without takeover there is nothing to refer to")
}

func TestCorrupt(t *testing.T) {
	for _, c := range []struct{ name, payload string }{
		{"reserved block type", "ff ff ff ff ff ff"},
		{"stored length", "00 05 00 fa fe 48 65 6c 6c 6f 00"},
		{"in the middle of a stored block", "00 ff 00 00 ff 48 65"},
		{"in the middle of a fixed block", "f2 48 cd c9"},
		{"in the middle of a dynamic header", "04 c0"},
		{"final block cut short", "f3 48 cd c9 c9"},
		{"final stored block cut short", "01 07 00 f8 ff 48 65 6c 6c 6f"},
		{"distance before the start", "f2 00 11 00 00"},
		{"garbage behind a final block", "f3 48 cd c9 c9 07 00 ff ff"},
		{"sync flush not cut", "f2 48 cd c9 c9 07 00 00 00 ff ff"},
		{"many final blocks", strings.Repeat("0300", 2*maxStreams)},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d Decompressor
			d.Init(0, true)
			out, err := d.Append([]byte("before"), fromHex(t, c.payload), -1)
			assert.ErrorIs(t, err, ErrCorrupt)
			assert.Equal(t, "before", string(out))
		})
	}
}

func TestCorruptWrapsTheCause(t *testing.T) {
	var d Decompressor
	d.Init(0, true)
	_, err := d.Append(nil, fromHex(t, "00 ff 00 00 ff 48 65"), -1)
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestDistanceBeyondTheHistory(t *testing.T) {
	r := seeded()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, 9)
	require.NoError(t, err)
	first := noise(r, 300)
	_, _ = w.Write(first)
	_ = w.Flush()
	payload1 := slices.Clone(out.Bytes()[:out.Len()-4])
	out.Reset()
	_, _ = w.Write(first[:40])
	_ = w.Flush()

	var d Decompressor
	d.Init(8, true)
	_, err = d.Append(nil, payload1, -1)
	require.NoError(t, err)
	_, err = d.Append(nil, out.Bytes()[:out.Len()-4], -1)
	assert.ErrorIs(t, err, ErrCorrupt)
}

func TestLimit(t *testing.T) {
	msg := make([]byte, 100_000)
	payload := AppendStateless(nil, msg, 1, 15)
	for _, c := range []struct {
		limit int64
		err   error
	}{
		{0, ErrTooBig}, {1, ErrTooBig}, {512, ErrTooBig}, {99_999, ErrTooBig}, {100_000, nil}, {1 << 62, nil}, {1<<63 - 1, nil}, {-1, nil},
	} {
		var d Decompressor
		d.Init(0, true)
		out, err := d.Append([]byte("before"), payload, c.limit)
		assert.ErrorIs(t, err, c.err)
		if c.err != nil {
			assert.Equal(t, "before", string(out))
		}
	}
	var d Decompressor
	out, err := d.Append(nil, []byte{0}, 0)
	assert.NoError(t, err)
	assert.Empty(t, out)
}

func TestLimitHoldsAcrossFinalBlocks(t *testing.T) {
	var d Decompressor
	d.Init(0, true)
	_, err := d.Append(nil, fromHex(t, strings.Repeat("f348cdc9c90700", 3)), 14)
	assert.ErrorIs(t, err, ErrTooBig)
	d.Init(0, true)
	_, err = d.Append(nil, fromHex(t, strings.Repeat("f348cdc9c90700", 3)), 15)
	assert.NoError(t, err)
}

// TestBomb inflates 64 KiB to 64 MiB. It must not take much more memory than the limit.
func TestBomb(t *testing.T) {
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, 9)
	require.NoError(t, err)
	_, _ = w.Write(make([]byte, 16<<20))
	require.NoError(t, w.Close())

	const limit = 1 << 20
	var d Decompressor
	d.Init(0, true)
	out, err := d.Append(nil, packed.Bytes(), limit)
	require.ErrorIs(t, err, ErrTooBig)
	assert.LessOrEqual(t, cap(out), 2*limit)
	assert.Zero(t, d.Memory())
}

// TestReleaseDropsReferences: pooled state refers to no message.
func TestReleaseDropsReferences(t *testing.T) {
	f := newInflater()
	f.payload, f.hist, f.grower = AppendStateless(nil, []byte("payload"), 1, 15), []byte("history"), heapGrower{}
	_, err := f.message([]byte("before"), -1)
	require.NoError(t, err)
	f.release()
	assert.Zero(t, f.input)
	assert.Nil(t, f.hist)
	assert.Nil(t, f.out)
	assert.Nil(t, f.grower)

	d := new(deflater)
	d.writer.open(heapGrower{}, []byte("before"))
	d.deflate([]byte("message"), []byte("history"), maxWindow)
	d.writer.close()
	assert.Nil(t, d.writer.out)
	assert.Nil(t, d.writer.grower)
}

// TestReuseRefusesCorrupt has a payload with a block that uses a distance without having a code for distances. FuzzInflate found that
// klauspost's inflater accepts it when it is reused.
func TestReuseRefusesCorrupt(t *testing.T) {
	corrupt := fromHex(t, "ecc001090000000090ffaf1d5100")
	f := newInflater()
	for _, payload := range [][]byte{AppendStateless(nil, chat(seeded(), 1000), 1, 15), corrupt} {
		f.input, f.hist, f.grower = input{payload: payload}, make([]byte, 32<<10), heapGrower{}
		out, err := f.message(nil, -1)
		if bytes.Equal(payload, corrupt) {
			assert.ErrorIs(t, err, ErrCorrupt)
			assert.Empty(t, out)
		} else {
			require.NoError(t, err)
		}
	}
}

func FuzzInflate(f *testing.F) {
	r := seeded()
	for _, c := range corpora {
		f.Add(AppendStateless(nil, c.message(r, 200), 1, 15), []byte("history"))
	}
	for _, s := range []string{"f348cdc9c9070000", "010500faff48656c6c6f", "f348cdc9c90700f348cdc9c90700", "0300030003000200", "ffff"} {
		f.Add(fromHex(f, s), []byte{})
	}
	f.Fuzz(func(t *testing.T, payload, hist []byte) {
		hist = history(hist).last(1 << 15)
		d := Decompressor{hist: slices.Clone(hist), bits: 15, takeover: true}
		want, _, naiveErr := naiveMessage(payload, hist, 1<<15)
		got, err := d.Append(nil, payload, -1)
		if len(payload) > maxStreams && err != nil {
			return
		}
		require.Equal(t, naiveErr == nil, err == nil, "%v, oracle %v", err, naiveErr)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		require.True(t, bytes.Equal(want, got), "inflated differs")
		whole := append(slices.Clone(hist), got...)
		if len(payload) > 0 {
			require.True(t, bytes.Equal(history(whole).last(1<<15), d.hist), "history differs")
		}
		if len(want) > 0 {
			d = Decompressor{hist: slices.Clone(hist), bits: 15, takeover: true}
			_, err = d.Append(nil, payload, int64(len(want)-1))
			require.ErrorIs(t, err, ErrTooBig)
		}
	})
}
