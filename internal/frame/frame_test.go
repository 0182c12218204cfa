package frame

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var testKey = [4]byte{0x37, 0xfa, 0x21, 0x3d}

func TestOpcodeControl(t *testing.T) {
	for _, o := range []Opcode{Continuation, Text, Binary} {
		require.False(t, o.Control(), o)
	}
	for _, o := range []Opcode{Close, Ping, Pong} {
		require.True(t, o.Control(), o)
	}
}

func TestAppendHeader(t *testing.T) {
	tests := []struct {
		name   string
		header Header
		want   []byte
	}{
		{"empty", Header{}, []byte{0x00, 0}},
		{"fin", Header{Fin: true, Opcode: Text}, []byte{0x81, 0}},
		{"rsv1", Header{RSV1: true, Opcode: Binary}, []byte{0x42, 0}},
		{"125", Header{Fin: true, Opcode: Ping, Length: 125}, []byte{0x89, 125}},
		{"126", Header{Opcode: Text, Length: 126}, []byte{0x01, 126, 0, 126}},
		{"65535", Header{Opcode: Text, Length: 65535}, []byte{0x01, 126, 0xff, 0xff}},
		{"65536", Header{Opcode: Text, Length: 65536}, []byte{0x01, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
		{"largest", Header{Opcode: Text, Length: 1<<63 - 1},
			[]byte{0x01, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		{"masked", Header{Fin: true, Masked: true, Opcode: Text, Key: testKey, Length: 5},
			[]byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d}},
		{"masked 126", Header{Masked: true, Opcode: Text, Key: testKey, Length: 126},
			[]byte{0x01, 0xfe, 0, 126, 0x37, 0xfa, 0x21, 0x3d}},
		{"key of an unmasked frame", Header{Opcode: Text, Key: testKey}, []byte{0x01, 0}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := AppendHeader([]byte("before"), test.header)
			require.Equal(t, append([]byte("before"), test.want...), got)
			require.LessOrEqual(t, len(test.want), MaxHeader)
		})
	}
}

// The examples of RFC 6455 §5.7.
func TestAppendFrame(t *testing.T) {
	tests := []struct {
		name    string
		header  Header
		payload string
		want    string
	}{
		{"unmasked text", Header{Fin: true, Opcode: Text}, "Hello", "\x81\x05Hello"},
		{"masked text", Header{Fin: true, Masked: true, Opcode: Text, Key: testKey}, "Hello",
			"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"},
		{"fragment", Header{Opcode: Text}, "Hel", "\x01\x03Hel"},
		{"last fragment", Header{Fin: true}, "lo", "\x80\x02lo"},
		{"ping", Header{Fin: true, Opcode: Ping}, "Hello", "\x89\x05Hello"},
		{"length is ignored", Header{Fin: true, Opcode: Ping, Length: 77}, "Hello", "\x89\x05Hello"},
		{"256 bytes", Header{Fin: true, Opcode: Binary}, strings.Repeat("x", 256),
			"\x82\x7e\x01\x00" + strings.Repeat("x", 256)},
		{"65536 bytes", Header{Fin: true, Opcode: Binary}, strings.Repeat("x", 65536),
			"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + strings.Repeat("x", 65536)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			payload := []byte(test.payload)
			require.Equal(t, test.want, string(AppendFrame(nil, test.header, payload)))
			require.Equal(t, test.payload, string(payload), "the payload was changed")
		})
	}
}

var boundaries = []int{0, 1, 125, 126, 127, 65535, 65536, 65537}

func TestSize(t *testing.T) {
	for _, n := range boundaries {
		for _, masked := range []bool{false, true} {
			got := AppendFrame(nil, Header{Fin: true, Masked: masked, Opcode: Binary}, make([]byte, n))
			require.Equal(t, len(got), Size(n, masked), "%d bytes, masked %t", n, masked)
		}
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	dst, payload := make([]byte, 0, 1024), bytes.Repeat([]byte("x"), 300)
	text := string(payload)
	h := Header{Fin: true, Masked: true, Opcode: Text, Key: testKey}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		AppendFrame(dst, h, payload)
		AppendClosePayload(dst, 1000, text)
	}))
}

func BenchmarkAppendFrame(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(sizeName(size), func(b *testing.B) {
			dst, payload := make([]byte, 0, size+MaxHeader), make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				AppendFrame(dst, Header{Fin: true, Opcode: Binary}, payload)
			}
		})
	}
}
