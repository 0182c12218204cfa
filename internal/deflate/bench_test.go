package deflate

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestAllocations pins what is allocated per message once buffers and pools are warm.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops at random under the race detector")
	}
	r := seeded()
	small, large := chat(r, 1000), chat(r, 9000)
	var c, tiny Compressor
	c.Init(15, true)
	tiny.Init(9, true)
	var d Decompressor
	d.Init(15, true)
	payload := AppendStateless(nil, small, 15)
	dst := make([]byte, 0, 16<<10)
	for _, pin := range []struct {
		name string
		want float64
		do   func()
	}{
		{"stateless", 0, func() { AppendStateless(dst, small, 15) }},
		{"stateless large", 0, func() { AppendStateless(dst, large, 15) }},
		{"commit", 0, func() { c.Commit(small) }},
		{"large with history", 0, func() { c.Append(dst, large) }},
		{"small window", 0, func() { tiny.Append(dst, large) }},
		{"small with history", 0, func() { c.Append(dst, small) }},
		{"inflate", 0, func() { _, _ = d.Append(dst, payload, 1<<20) }},
	} {
		pin.do()
		// The mean is rounded down, which forgives a collection that empties a pool.
		assert.Equal(t, pin.want, testing.AllocsPerRun(200, pin.do), pin.name)
	}
}

// feed is as many different messages as no history remembers.
func feed(size int) [][]byte {
	r := seeded()
	msgs := make([][]byte, 256)
	for i := range msgs {
		msgs[i] = chat(r, size)
	}
	return msgs
}

func BenchmarkCompress(b *testing.B) {
	for _, size := range []int{64, 256, 1024, 4096, 65536} {
		for _, s := range []setup{{15, false}, {15, true}, {12, true}, {9, true}} {
			b.Run(fmt.Sprintf("size=%d/%s", size, s), func(b *testing.B) { benchCompress(b, size, s) })
		}
	}
}

func benchCompress(b *testing.B, size int, s setup) {
	msgs := feed(size)
	var c Compressor
	c.Init(s.bits, s.takeover)
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
	b.ReportMetric(float64(c.Memory()), "held-B")
}

func BenchmarkInflate(b *testing.B) {
	for _, size := range []int{64, 1024, 65536} {
		for _, s := range []setup{{15, false}, {15, true}, {12, true}} {
			b.Run(fmt.Sprintf("size=%d/%s", size, s), func(b *testing.B) { benchInflate(b, size, s) })
		}
	}
}

func benchInflate(b *testing.B, size int, s setup) {
	var payloads [][]byte
	for _, msg := range feed(size) {
		payloads = append(payloads, AppendStateless(nil, msg, s.bits))
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
	b.ReportMetric(float64(d.Memory()), "held-B")
}
