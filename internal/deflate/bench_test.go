package deflate

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestAllocations pins the allocations per message once buffers and pools are filled.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops at random under the race detector")
	}
	r := seeded()
	small, large := chat(r, 1000), chat(r, 9000)
	var c, tiny Compressor
	c.Init(1, 15, true)
	tiny.Init(1, 9, true)
	var d Decompressor
	d.Init(15, true)
	payload := AppendStateless(nil, small, 1, 15)
	dst := make([]byte, 0, 16<<10)
	for _, pin := range []struct {
		name string
		want float64
		do   func()
	}{
		{"stateless", 0, func() { AppendStateless(dst, small, 1, 15) }},
		{"stateless large", 0, func() { AppendStateless(dst, large, 1, 15) }},
		{"commit", 0, func() { c.Commit(small) }},
		{"large with history", 0, func() { c.Append(dst, large) }},
		{"small window", 0, func() { tiny.Append(dst, large) }},
		{"small with history", 0, func() { c.Append(dst, small) }},
		{"inflate", 0, func() { _, _ = d.Append(dst, payload, 1<<20) }},
	} {
		pin.do()
		// The mean is rounded down, so that a garbage collection that empties a pool does not matter.
		assert.Equal(t, pin.want, testing.AllocsPerRun(200, pin.do), pin.name)
	}
}

// differentMessages returns messages that together are longer than any history.
func differentMessages(size int) [][]byte {
	r := seeded()
	msgs := make([][]byte, 256)
	for i := range msgs {
		msgs[i] = chat(r, size)
	}
	return msgs
}

func BenchmarkCompress(b *testing.B) {
	for _, size := range []int{64, 256, 1024, 4096, 65536} {
		for _, s := range []setup{{1, 15, false}, {1, 15, true}, {1, 12, true}, {1, 9, true}} {
			b.Run(fmt.Sprintf("size=%d/%s", size, s), func(b *testing.B) { benchCompress(b, size, s) })
		}
	}
}

// BenchmarkLevels compresses messages of 1 KiB at each level, with the window of most peers and with the one that edgews as a
// server asks for.
func BenchmarkLevels(b *testing.B) {
	for level := 1; level <= 9; level++ {
		for _, s := range []setup{{level, 15, false}, {level, 15, true}, {level, 12, true}} {
			b.Run(fmt.Sprintf("size=1024/%s", s), func(b *testing.B) { benchCompress(b, 1024, s) })
		}
	}
}

func benchCompress(b *testing.B, size int, s setup) {
	msgs := differentMessages(size)
	var c Compressor
	c.Init(s.level, s.bits, s.takeover)
	var dst []byte
	packed, n := 0, 0
	b.ReportAllocs()
	b.SetBytes(int64(size))
	for b.Loop() {
		msg := msgs[n%len(msgs)]
		dst = c.Append(dst[:0], msg)
		c.Commit(msg)
		packed += len(dst)
		n++
	}
	b.ReportMetric(float64(packed)/float64(n*size), "ratio")
	b.ReportMetric(float64(packed)/float64(n), "out-B")
	b.ReportMetric(float64(c.Memory()), "history-B")
}

func BenchmarkInflate(b *testing.B) {
	for _, size := range []int{64, 1024, 65536} {
		for _, s := range []setup{{1, 15, false}, {1, 15, true}, {1, 12, true}} {
			b.Run(fmt.Sprintf("size=%d/%s", size, s), func(b *testing.B) { benchInflate(b, size, s) })
		}
	}
}

func benchInflate(b *testing.B, size int, s setup) {
	var payloads [][]byte
	for _, msg := range differentMessages(size) {
		payloads = append(payloads, AppendStateless(nil, msg, 1, s.bits))
	}
	var d Decompressor
	d.Init(s.bits, s.takeover)
	var dst []byte
	n := 0
	b.ReportAllocs()
	b.SetBytes(int64(size))
	for b.Loop() {
		dst, _ = d.Append(dst[:0], payloads[n%len(payloads)], 1<<20)
		n++
	}
	b.ReportMetric(float64(d.Memory()), "history-B")
}
