package bolt

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/require"
)

// BenchmarkCommit measures commits of two keys, each writer with an object of its own.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 64, 256} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			s, err := Open(filepath.Join(b.TempDir(), "objects.db"), nil)
			require.NoError(b, err)
			defer s.Close()
			objects := make([]edgews.ObjectStore, writers)
			for i := range objects {
				objects[i] = openObject(b, s, "room", i)
			}
			before := transactions(b, s)
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for _, o := range objects {
				wg.Go(func() {
					value := make([]byte, 100)
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						binary.BigEndian.PutUint64(value, uint64(n)) // a new value each time
						err := o.Commit(context.Background(), edgews.Batch{Puts: []edgews.Entry{{Key: "state", Value: value}, {Key: "seen", Value: value[:8]}}})
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
			b.ReportMetric(2*float64(transactions(b, s)-before)/float64(b.N), "fsyncs/op") // bbolt: the pages, then the meta page
		})
	}
}

func BenchmarkGet(b *testing.B) {
	s, err := Open(filepath.Join(b.TempDir(), "objects.db"), nil)
	require.NoError(b, err)
	defer s.Close()
	o := openObject(b, s, "room", 1)
	require.NoError(b, o.Commit(context.Background(), edgews.Batch{Puts: []edgews.Entry{{Key: "state", Value: make([]byte, 100)}}}))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := o.Get(context.Background(), "state"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkScan reads ten entries of few and of a million, in both orders.
func BenchmarkScan(b *testing.B) {
	for _, size := range []int{10, 1_000_000} {
		s, err := Open(filepath.Join(b.TempDir(), "objects.db"), nil)
		require.NoError(b, err)
		defer s.Close()
		o := openObject(b, s, "room", 1)
		manyKeys(b, o, size)
		for name, r := range map[string]edgews.Range{
			"forward":  {Start: numbered(size/2 - 5), Limit: 10},
			"reverse":  {End: numbered(size/2 + 5), Limit: 10, Reverse: true},
			"keysonly": {Start: numbered(size/2 - 5), Limit: 10, KeysOnly: true},
		} {
			b.Run(fmt.Sprint(name, "/stored=", size), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					n := 0
					for _, err := range o.Scan(context.Background(), r) {
						if err != nil {
							b.Fatal(err)
						}
						n++
					}
					if n < 5 || n > 10 {
						b.Fatal(n)
					}
				}
			})
		}
	}
}
