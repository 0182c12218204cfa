package frame

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// Every connection that is receiving has a Decoder.
func TestDecoderSize(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) == 8 {
		require.EqualValues(t, 64, unsafe.Sizeof(Decoder{}))
	}
}

// fin, part and masked return frames of a peer.
func fin(o Opcode, payload string) []byte {
	return AppendFrame(nil, Header{Fin: true, Opcode: o}, []byte(payload))
}

func part(o Opcode, payload string) []byte {
	return AppendFrame(nil, Header{Opcode: o}, []byte(payload))
}

func masked(o Opcode, payload string) []byte {
	return AppendFrame(nil, Header{Fin: true, Masked: true, Opcode: o, Key: testKey}, []byte(payload))
}

func join(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

func unlimited() Config { return Config{Limit: -1} }

// decode passes in to a decoder in parts whose sizes next returns, and checks invariants that hold for every input.
func decode(t *testing.T, c Config, in []byte, next func(rest int) int) (got []message, err error) {
	t.Helper()
	in = bytes.Clone(in)
	var d Decoder
	d.Init(c)
	open := -1 // the index in got of the message that has begun
	for len(in) > 0 {
		size := min(max(next(len(in)), 1), len(in))
		p := in[:size]
		in = in[size:]
		for len(p) > 0 {
			remaining := d.Remaining()
			piece, n, ok, err := d.Next(p)
			if err != nil {
				_, _, again, err2 := d.Next([]byte("more"))
				require.False(t, ok || again)
				require.Same(t, err, err2, "the error was not final")
				return got, err
			}
			if !ok {
				require.Equal(t, len(p), n)
				require.Zero(t, piece)
				break
			}
			require.True(t, n > 0 && n <= len(p))
			require.Equal(t, len(piece.Payload), cap(piece.Payload), "appending would overwrite what follows")
			p = p[n:]
			if piece.Opcode.Control() {
				require.True(t, piece.Last && !piece.First && !piece.RSV1)
				require.LessOrEqual(t, len(piece.Payload), MaxControl)
				require.Zero(t, d.Remaining())
				got = append(got, message{piece.Opcode, string(piece.Payload), false, true})
				continue
			}
			if remaining > 0 {
				require.EqualValues(t, remaining-int64(n), d.Remaining())
			}
			require.Equal(t, open < 0, piece.First)
			if piece.First {
				open = len(got)
				got = append(got, message{Opcode: piece.Opcode, RSV1: piece.RSV1})
			}
			m := &got[open]
			require.Equal(t, m.Opcode, piece.Opcode)
			require.Equal(t, m.RSV1, piece.RSV1)
			m.Payload += string(piece.Payload)
			if m.Whole = piece.Last; m.Whole {
				open = -1
			}
		}
	}
	return got, nil
}

func atOnce(rest int) int { return rest }

func by(n int) func(int) int { return func(int) int { return n } }

// checkDecoder compares with the naive decoder.
func checkDecoder(t *testing.T, c Config, in []byte, next func(int) int) {
	t.Helper()
	want, code := naiveDecode(c, in)
	got, err := decode(t, c, in, next)
	if code == 0 {
		require.NoError(t, err, "%+v % x", c, in)
		require.Equal(t, want, got, "%+v % x", c, in)
		return
	}
	require.Error(t, err, "%+v % x", c, in)
	require.Equal(t, code, err.(*Error).Code, "%+v % x: %v", c, in, err)
	require.Equal(t, wholeOnly(want), wholeOnly(got), "%+v % x", c, in)
}

// checkSplits runs checkDecoder with in split in two at every offset, and in equal parts.
func checkSplits(t *testing.T, c Config, in []byte) {
	t.Helper()
	for cut := 1; cut <= len(in); cut++ {
		first := true
		checkDecoder(t, c, in, func(rest int) int {
			if first {
				first = false
				return cut
			}
			return rest
		})
	}
	for size := 1; size <= 16; size++ {
		checkDecoder(t, c, in, by(size))
	}
}

func TestDecoderMessages(t *testing.T) {
	long := strings.Repeat("0123456789", 30)
	tests := []struct {
		name string
		in   []byte
		want []message
	}{
		{"text", fin(Text, "Hello"), []message{{Text, "Hello", false, true}}},
		{"binary", fin(Binary, "\xff\x00"), []message{{Binary, "\xff\x00", false, true}}},
		{"empty", fin(Text, ""), []message{{Text, "", false, true}}},
		{"two", join(fin(Text, "a"), fin(Binary, "b")),
			[]message{{Text, "a", false, true}, {Binary, "b", false, true}}},
		{"fragments", join(part(Text, "Hel"), fin(Continuation, "lo")),
			[]message{{Text, "Hello", false, true}}},
		{"three fragments", join(part(Binary, "a"), part(Continuation, "b"), fin(Continuation, "c")),
			[]message{{Binary, "abc", false, true}}},
		{"empty fragments", join(part(Text, ""), part(Continuation, ""), part(Continuation, ""), fin(Continuation, "")),
			[]message{{Text, "", false, true}}},
		{"empty fragments around", join(part(Text, ""), part(Continuation, "x"), part(Continuation, ""), fin(Continuation, "")),
			[]message{{Text, "x", false, true}}},
		{"message without its end", join(part(Text, "a"), part(Continuation, "b")),
			[]message{{Text, "ab", false, false}}},
		{"control frames", join(fin(Ping, "p"), fin(Pong, ""), fin(Close, "\x03\xe8bye")),
			[]message{{Ping, "p", false, true}, {Pong, "", false, true}, {Close, "\x03\xe8bye", false, true}}},
		{"largest control frame", fin(Ping, long[:125]), []message{{Ping, long[:125], false, true}}},
		{"control frames between fragments",
			join(part(Text, "Hel"), fin(Ping, "p"), part(Continuation, "l"), fin(Pong, "q"), fin(Ping, ""), fin(Continuation, "o")),
			[]message{{Text, "Hello", false, true}, {Ping, "p", false, true}, {Pong, "q", false, true}, {Ping, "", false, true}}},
		{"character across fragments", join(part(Text, "\xf0\x9f"), part(Continuation, "\x98"), fin(Ping, "\xff"), fin(Continuation, "\x80")),
			[]message{{Text, "😀", false, true}, {Ping, "\xff", false, true}}},
		{"frames after Close", join(fin(Close, ""), fin(Text, "x")),
			[]message{{Close, "", false, true}, {Text, "x", false, true}}},
		{"16-bit length", join(fin(Text, long), fin(Text, "x")),
			[]message{{Text, long, false, true}, {Text, "x", false, true}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := decode(t, unlimited(), test.in, atOnce)
			require.NoError(t, err)
			require.Equal(t, test.want, got)
			checkSplits(t, unlimited(), test.in)
		})
	}
}

func TestDecoderMasked(t *testing.T) {
	in := join(masked(Text, "Hello"), masked(Ping, "ping"), masked(Binary, strings.Repeat("x", 300)), masked(Text, ""))
	checkSplits(t, Config{Masked: true, Limit: -1}, in)
}

func TestDecoderCompressed(t *testing.T) {
	first := AppendFrame(nil, Header{RSV1: true, Opcode: Text}, []byte("\xff\xfe"))
	in := join(first, fin(Ping, ""), fin(Continuation, "\xc0"), fin(Text, "plain"))
	got, err := decode(t, Config{Compressed: true, Limit: -1}, in, atOnce)
	require.NoError(t, err)
	require.Equal(t, []message{{Text, "\xff\xfe\xc0", true, true}, {Ping, "", false, true}, {Text, "plain", false, true}}, got)
	checkSplits(t, Config{Compressed: true, Limit: -1}, in)
}

func TestDecoderLengths(t *testing.T) {
	for _, n := range boundaries {
		for _, masked := range []bool{false, true} {
			payload := strings.Repeat("x", n)
			in := AppendFrame(nil, Header{Fin: true, Masked: masked, Opcode: Text, Key: testKey}, []byte(payload))
			for _, next := range []func(int) int{atOnce, by(1000), by(n + 1), by(len(in) - 1)} {
				got, err := decode(t, Config{Masked: masked, Limit: int64(n)}, in, next)
				require.NoError(t, err)
				require.Equal(t, []message{{Text, payload, false, true}}, got)
			}
		}
	}
}

func TestDecoderPieces(t *testing.T) {
	var d Decoder
	d.Init(Config{Masked: true, Limit: -1})
	in := masked(Binary, "Hello")

	_, n, ok, err := d.Next(in[:6]) // the header
	require.NoError(t, err)
	require.False(t, ok)
	require.Equal(t, 6, n)
	require.EqualValues(t, 5, d.Remaining())

	piece, n, ok, err := d.Next(in[6:9])
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, 3, n)
	require.Equal(t, Piece{Opcode: Binary, Payload: []byte("Hel"), First: true}, piece)
	require.Same(t, &in[6], &piece.Payload[0], "the payload was copied")
	require.EqualValues(t, 2, d.Remaining())

	piece, n, ok, err = d.Next(append(in[9:11:11], masked(Ping, "")...))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, 2, n)
	require.Equal(t, Piece{Opcode: Binary, Payload: []byte("lo"), Last: true}, piece)
	require.Zero(t, d.Remaining())

	_, n, ok, err = d.Next(nil)
	require.NoError(t, err)
	require.False(t, ok)
	require.Zero(t, n)
}

// The caller may keep the payload of a control frame that arrived in parts: the decoder does not use its memory again.
func TestDecoderControlParts(t *testing.T) {
	var d Decoder
	d.Init(unlimited())
	next := func(p string) Piece {
		t.Helper()
		piece, n, _, err := d.Next([]byte(p))
		require.NoError(t, err)
		require.Equal(t, len(p), n)
		require.Zero(t, d.Remaining())
		return piece
	}
	require.Zero(t, next("\x89\x05"))
	require.Nil(t, d.rare, "no payload has arrived yet")
	require.Zero(t, next("He"))
	require.NotNil(t, d.rare)
	hello := next("llo")
	require.Nil(t, d.rare)
	require.Zero(t, next("\x89\x05Wo"))
	require.Equal(t, "World", string(next("rld").Payload))
	require.Equal(t, "Hello", string(hello.Payload))
}

func TestDecoderRules(t *testing.T) {
	server, compressed := Config{Masked: true, Limit: -1}, Config{Compressed: true, Limit: -1}
	limit := Config{Compressed: true, Limit: 1000}
	big := func(o Opcode, n int64) []byte { return AppendHeader(nil, Header{Fin: true, Opcode: o, Length: n}) }
	rsv1 := func(n int64) []byte { return AppendHeader(nil, Header{RSV1: true, Opcode: Text, Length: n}) }
	tests := []struct {
		name    string
		config  Config
		in      []byte
		code    uint16
		section string
		detail  string
	}{
		{"RSV2", unlimited(), []byte{0xa1, 0}, 1002, "§5.2", "received frame had RSV bits 2 or 3 set"},
		{"RSV3", compressed, []byte{0x91, 0}, 1002, "§5.2", "received frame had RSV bits 2 or 3 set"},
		{"RSV1 and 2", unlimited(), []byte{0xe1, 0}, 1002, "§5.2", "received frame had RSV bits 2 or 3 set"},
		{"RSV1 without compression", unlimited(), []byte{0xc1, 0}, 1002, "§5.2",
			"received frame had RSV bit 1 set, but compression was not negotiated"},
		{"RSV1 of a continuation", compressed, join(part(Text, "a"), []byte{0xc0, 0}), 1002, "§5.2",
			"received continuation frame had RSV bit 1 set: only a message's first frame may"},
		{"RSV1 of a ping", compressed, []byte{0xc9, 0}, 1002, "§5.2", "received control frame had RSV bit 1 set"},
		{"opcode 3", unlimited(), []byte{0x83, 0}, 1002, "§5.2", "unknown opcode 3"},
		{"opcode 7", unlimited(), []byte{0x87, 0}, 1002, "§5.2", "unknown opcode 7"},
		{"opcode 11", unlimited(), []byte{0x8b, 0}, 1002, "§5.2", "unknown opcode 11"},
		{"opcode 15", unlimited(), []byte{0x8f, 0}, 1002, "§5.2", "unknown opcode 15"},
		{"fragmented ping", unlimited(), []byte{0x09, 0}, 1002, "§5.5", "received fragmented control frame"},
		{"fragmented close", unlimited(), []byte{0x08, 0}, 1002, "§5.5", "received fragmented control frame"},
		{"large ping", unlimited(), []byte{0x89, 126}, 1002, "§5.5",
			"control frame is too large: its payload may have 125 bytes"},
		{"continuation of nothing", unlimited(), fin(Continuation, ""), 1002, "§5.4",
			"unexpected continuation frame: no message has begun"},
		{"continuation of what has ended", unlimited(), join(fin(Text, "x"), part(Continuation, "")), 1002, "§5.4",
			"unexpected continuation frame: no message has begun"},
		{"message in a message", unlimited(), join(part(Text, "x"), fin(Ping, ""), fin(Text, "y")), 1002, "§5.4",
			"unexpected start frame: the message before it has not ended"},
		{"unmasked at a server", server, fin(Text, ""), 1002, "§5.1", "received frame was not masked: a client must mask"},
		{"masked at a client", unlimited(), masked(Text, ""), 1002, "§5.1", "received frame was masked: a server must not mask"},
		{"125 in 16 bits", unlimited(), []byte{0x82, 126, 0, 125}, 1002, "§5.2",
			"payload length 125 was not sent in the fewest bytes"},
		{"5 in 64 bits", unlimited(), []byte{0x82, 127, 0, 0, 0, 0, 0, 0, 0, 5}, 1002, "§5.2",
			"payload length 5 was not sent in the fewest bytes"},
		{"65535 in 64 bits", unlimited(), []byte{0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 1002, "§5.2",
			"payload length 65535 was not sent in the fewest bytes"},
		{"top bit", unlimited(), []byte{0x82, 127, 0x80, 0, 0, 0, 0, 1, 0, 0}, 1002, "§5.2",
			"payload length has its most significant bit set"},
		{"over the limit", limit, big(Text, 1001), 1009, "§10.4", "message is too large: 1001 > 1000 bytes"},
		{"fragments over the limit", limit, join(part(Text, strings.Repeat("x", 900)), fin(Ping, "p"), big(Continuation, 101)),
			1009, "§10.4", "message is too large: 1001 > 1000 bytes"},
		{"compressed over the limit", limit, rsv1(2150), 1009, "§10.4", "message is too large: 2150 > 2149 bytes"},
		{"limit 0", Config{}, big(Text, 1), 1009, "§10.4", "message is too large: 1 > 0 bytes"},
		{"64-bit length", limit, big(Binary, math.MaxInt64), 1009, "§10.4",
			"message is too large: 9223372036854775807 > 1000 bytes"},
		{"sum overflows, limit", limit, join(part(Text, "x"), big(Continuation, math.MaxInt64)), 1009, "§10.4",
			"message is too large: 9223372036854775808 > 1000 bytes"},
		{"sum overflows, no limit", unlimited(), join(part(Text, "x"), big(Continuation, math.MaxInt64)), 1009, "§10.4",
			"message is too large: 9223372036854775808 > 9223372036854775807 bytes"},
		{"too many fragments", unlimited(), join(part(Text, ""), bytes.Repeat(part(Continuation, ""), 1<<16)), 1008, "§10.4",
			"message is in too many fragments: more than 65536 of them are empty"},
		{"too many empty fragments among others", unlimited(), join(part(Text, "x"), bytes.Repeat(join(part(Continuation, ""), part(Continuation, "x")), 1<<16+1)), 1008, "§10.4",
			"message is in too many fragments: more than 65536 of them are empty"},
		{"F5", unlimited(), fin(Text, "\xf5"), 1007, "§8.1", "text message is not valid UTF-8"},
		{"E0 80, early", unlimited(), join(part(Text, "a\xe0"), big(Continuation, 100), []byte{0x80}), 1007, "§8.1",
			"text message is not valid UTF-8"},
		{"text ends in a character", unlimited(), fin(Text, "\xe2\x82"), 1007, "§8.1",
			"text message ends in the middle of a UTF-8 character"},
		{"empty end in a character", unlimited(), join(part(Text, "\xe2\x82"), fin(Continuation, "")), 1007, "§8.1",
			"text message ends in the middle of a UTF-8 character"},
		{"uncompressed text on a compressed connection", compressed, fin(Text, "\xff"), 1007, "§8.1",
			"text message is not valid UTF-8"},
		{"close of one byte", unlimited(), fin(Close, "x"), 1002, "§5.5.1",
			"close frame has half a status code: 1 byte of payload"},
		{"close code 1005", unlimited(), fin(Close, "\x03\xed"), 1002, "§7.4",
			"close frame has status code 1005, which must not be sent"},
		{"close reason", unlimited(), fin(Close, "\x03\xe8\xff"), 1007, "§8.1",
			"reason of the close frame is not valid UTF-8"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := decode(t, test.config, test.in, atOnce)
			require.Equal(t, &Error{test.code, "RFC 6455 " + test.section, test.detail}, err)
			require.EqualError(t, err, test.detail+" (RFC 6455 "+test.section+")")
			if len(test.in) < 100 {
				checkSplits(t, test.config, test.in)
			}
		})
	}
}

// Input just within the limits.
func TestDecoderLimits(t *testing.T) {
	tests := []struct {
		name   string
		config Config
		in     []byte
	}{
		{"limit", Config{Limit: 5}, fin(Text, "Hello")},
		{"limit is per message", Config{Limit: 5}, join(fin(Text, "Hello"), fin(Text, "Hello"))},
		{"limit is not for control frames", Config{Limit: 0}, fin(Ping, "Hello")},
		{"limit 0", Config{Limit: 0}, fin(Text, "")},
		{"compressed", Config{Compressed: true, Limit: 80},
			AppendFrame(nil, Header{Fin: true, RSV1: true, Opcode: Text}, []byte(strings.Repeat("x", 80+10+1024)))},
		{"compressed, largest limit", Config{Compressed: true, Limit: math.MaxInt64},
			AppendHeader(nil, Header{RSV1: true, Opcode: Text, Length: math.MaxInt64})},
		{"largest frame", unlimited(), AppendHeader(nil, Header{Opcode: Text, Length: math.MaxInt64})},
		{"empty fragments", unlimited(), join(part(Text, ""), bytes.Repeat(part(Continuation, ""), 1<<16-2), fin(Continuation, ""))},
		{"one-byte fragments", unlimited(), join(part(Text, "x"), bytes.Repeat(part(Continuation, "x"), 100_000), fin(Continuation, "x"))},
		{"fragments of 16", unlimited(), join(part(Text, "x"), bytes.Repeat(part(Continuation, "0123456789abcdef"), 10000))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := decode(t, test.config, test.in, atOnce)
			require.NoError(t, err)
		})
	}
}

func TestDecoderInit(t *testing.T) {
	var d Decoder
	d.Init(Config{})
	_, _, _, err := d.Next([]byte{0xff, 0xff})
	require.Error(t, err)
	d.Init(unlimited())
	piece, _, ok, err := d.Next(fin(Text, "x"))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, Piece{Opcode: Text, Payload: []byte("x"), First: true, Last: true}, piece)
}

func TestDecoderAllocatesNothing(t *testing.T) {
	fragment := AppendFrame(nil, Header{Masked: true, Opcode: Text, Key: testKey}, []byte("fragment"))
	in := join(masked(Text, "Hello, 世界"), masked(Ping, "ping"), fragment, masked(Continuation, strings.Repeat("x", 300)),
		masked(Close, "\x03\xe8bye"))
	buf := make([]byte, len(in))
	tests := []struct {
		name string
		cuts []int // as offsets in in; none inside a control frame's payload
	}{
		{"whole", nil},
		{"cut headers and data", []int{1, 3, 7, 12, 22, 30, 33, 41, 50, 99}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var d Decoder
			d.Init(Config{Masked: true, Limit: 1000})
			require.Zero(t, testing.AllocsPerRun(100, func() {
				copy(buf, in)
				start := 0
				for i := 0; i <= len(test.cuts); i++ {
					end := len(buf)
					if i < len(test.cuts) {
						end = test.cuts[i]
					}
					drain(t, &d, buf[start:end])
					start = end
				}
			}))
		})
	}
}

func drain(tb testing.TB, d *Decoder, p []byte) {
	for len(p) > 0 {
		_, n, _, err := d.Next(p)
		if err != nil {
			tb.Fatal(err)
		}
		p = p[n:]
	}
}

// stream returns frames that are mostly valid, and sometimes invalid in one place.
func stream(r *rand.Rand, c Config) []byte {
	var out []byte
	open := false
	for range 1 + r.IntN(6) {
		h := Header{Fin: r.IntN(2) == 0, Masked: c.Masked}
		binary.LittleEndian.PutUint32(h.Key[:], r.Uint32())
		size := []int{0, 1, r.IntN(20), 125, 126, r.IntN(400)}[r.IntN(6)]
		switch {
		case r.IntN(4) == 0:
			h.Fin, h.Opcode, size = true, []Opcode{Close, Ping, Pong}[r.IntN(3)], min(size, MaxControl)
		case open:
			open = !h.Fin
		default:
			h.Opcode, h.RSV1 = Text+Opcode(r.IntN(2)), c.Compressed && r.IntN(2) == 0
			open = !h.Fin
		}
		out = AppendFrame(out, h, text(r, h.Opcode, size))
	}
	if r.IntN(3) == 0 {
		out[r.IntN(len(out))] ^= byte(1 << r.IntN(8))
	}
	return out[:len(out)-r.IntN(2)*r.IntN(len(out))]
}

// text returns a payload for o: valid UTF-8, whose last character may be incomplete.
func text(r *rand.Rand, o Opcode, size int) []byte {
	var p []byte
	if o == Close && size > 1 {
		p = binary.BigEndian.AppendUint16(p, uint16(995+r.IntN(25)))
	}
	for len(p) < size {
		p = append(p, []string{"a", "é", "€", "😀"}[r.IntN(4)]...)
	}
	return p[:size]
}

func TestDecoderRandom(t *testing.T) {
	for seed := range uint64(20000) {
		r := rand.New(rand.NewPCG(seed, 0))
		c := Config{Masked: r.IntN(2) == 0, Compressed: r.IntN(2) == 0, Limit: int64(r.IntN(1000)) - 200}
		size := 1 + r.IntN(40)
		checkDecoder(t, c, stream(r, c), func(int) int { return r.IntN(size) })
	}
}

func FuzzDecoder(f *testing.F) {
	for seed := range uint64(32) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := Config{Masked: seed&1 == 0, Compressed: seed&2 == 0}
		f.Add(stream(r, c), seed, c.Masked, c.Compressed, int16(500))
	}
	f.Add(join(part(Binary, "x"), bytes.Repeat(part(Continuation, "y"), 2000)), uint64(1), false, false, int16(-1))
	f.Add([]byte{0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, uint64(2), false, true, int16(-1))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64, masked, compressed bool, limit int16) {
		r := rand.New(rand.NewPCG(seed, 2))
		size := 1 + r.IntN(40)
		c := Config{Masked: masked, Compressed: compressed, Limit: int64(limit)}
		checkDecoder(t, c, in, func(int) int { return r.IntN(size) })
	})
}

var benchSizes = []int{0, 5, 32, 125, 1024, 65536}

func sizeName(n int) string { return fmt.Sprintf("size=%d", n) }

// Next unmasks in place, so every second run would see a masked payload. With a payload and a key of zeros it does not matter, and
// the cost is the same.
func BenchmarkDecode(b *testing.B) {
	for _, opcode := range []struct {
		name string
		o    Opcode
	}{{"binary", Binary}, {"text", Text}, {"ping", Ping}} {
		for _, size := range benchSizes {
			if opcode.o.Control() && size > MaxControl {
				continue
			}
			b.Run(opcode.name+"/"+sizeName(size), func(b *testing.B) {
				in := AppendFrame(nil, Header{Fin: true, Masked: true, Opcode: opcode.o}, make([]byte, size))
				var d Decoder
				d.Init(Config{Masked: true, Limit: 1 << 20})
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if _, _, ok, err := d.Next(in); !ok || err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func TestIdle(t *testing.T) {
	message := AppendFrame(nil, Header{Fin: true, Masked: true, Opcode: Text}, []byte("whole"))
	part := AppendFrame(nil, Header{Masked: true, Opcode: Text}, []byte("part"))
	ping := AppendFrame(nil, Header{Fin: true, Masked: true, Opcode: Ping}, []byte("ping"))
	for _, c := range []struct {
		name string
		in   []byte
		idle bool
	}{
		{"nothing", nil, true},
		{"a message", message, true},
		{"half a header", message[:1], false},
		{"half a message", message[:8], false},
		{"a fragment", part, false},
		{"a ping", ping, true},
		{"half a ping", ping[:8], false},
	} {
		var d Decoder
		d.Init(Config{Masked: true, Limit: 100})
		for in := bytes.Clone(c.in); len(in) > 0; {
			_, n, _, err := d.Next(in)
			if err != nil {
				t.Fatal(err)
			}
			in = in[n:]
		}
		if d.Idle() != c.idle {
			t.Errorf("%s: idle is %t", c.name, d.Idle())
		}
	}
}
