package edgews_test

import (
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/require"
)

// BenchmarkObserver is an echo over TCP, without and with an Observer that counts, and a meter. The client's part is included.
func BenchmarkObserver(b *testing.B) {
	var messages, bytes atomic.Int64
	counting := observerFunc(func(m edgews.MessageObservation) {
		messages.Add(1)
		bytes.Add(int64(m.Bytes))
	})
	cases := []struct {
		name string
		opts edgews.Options
	}{
		{"none", edgews.Options{}},
		{"observer", edgews.Options{Observer: counting}},
		{"observer and meter", edgews.Options{Observer: counting, Meter: edgews.NewMeter(nil)}},
	}
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			s, p := overTCP.serverAndPeer(b, c.opts)
			s.OnMessage(func(e edgews.MessageEvent) { s.SendBytes(e.Data) })
			require.NoError(b, s.Accept())
			request := p.encode(binaryOf(strings.Repeat("x", 128)))
			answer := make([]byte, 4+128)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.conn.Write(request); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(p.r, answer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
