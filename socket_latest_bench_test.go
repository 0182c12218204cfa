package edgews_test

import (
	"fmt"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/require"
)

// BenchmarkSendLatest sends values of 64 bytes to a reader that keeps up, like Send, and to one that takes nothing, where they replace those
// of the same key.
func BenchmarkSendLatest(b *testing.B) {
	value := make([]byte, 64)
	ways := map[string]func(s *edgews.Socket, key string) error{
		"Send":       func(s *edgews.Socket, _ string) error { return s.SendBytes(value) },
		"SendLatest": func(s *edgews.Socket, key string) error { return s.SendLatest(key, edgews.Binary, value) },
	}
	for name, send := range ways {
		b.Run("reader keeps up/"+name, func(b *testing.B) {
			s, p := overTCP.serverAndPeer(b, edgews.Options{SendBuffer: 1 << 30, Compression: &edgews.Compression{Disable: true}})
			require.NoError(b, s.Accept())
			p.ignores()
			b.ReportAllocs()
			for b.Loop() {
				if err := send(s, "key"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, keys := range []int{1, 1000} {
		b.Run(fmt.Sprintf("reader takes nothing/%d keys", keys), func(b *testing.B) {
			_, s := edgews.NewPair()
			require.NoError(b, s.Accept())
			names := make([]string, keys)
			for i := range names {
				names[i] = fmt.Sprint("key ", i)
				require.NoError(b, s.SendLatest(names[i], edgews.Binary, value))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := s.SendLatest(names[i%keys], edgews.Binary, value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
