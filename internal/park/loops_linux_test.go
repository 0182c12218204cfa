//go:build !edgews_noloop

package park_test

import (
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkPairs has connections of the loops answer each other, so that nothing but the loops uses the processors. It shows what more
// pollers, and more loops, cost and gain:
//
//	go test -run '^$' -bench Pairs -benchtime 2s -count 5 -cpu 1,2 ./internal/park
//	go test -run '^$' -bench Pairs -benchtime 2s -count 5 -cpu 1,2 -ldflags '-X github.com/edgews/edgews/internal/park.forcedLoops=2' ./internal/park
func BenchmarkPairs(b *testing.B) {
	for _, network := range []string{"unix", "tcp"} {
		for _, pairs := range []int{4, 64, 1000} {
			b.Run(fmt.Sprintf("%s/%d", network, pairs), func(b *testing.B) { benchmarkPairs(b, network, pairs) })
		}
	}
}

func benchmarkPairs(b *testing.B, network string, pairs int) {
	each := b.N/pairs/2 + 1
	ended := make(chan struct{}, 2*pairs)
	handlers := make([]*handler, 0, 2*pairs)
	for range pairs {
		near, far := dial(b, network)
		for _, c := range []net.Conn{near, far} {
			h, left := newHandler(c, nil), each
			h.received = func(p []byte) {
				if left--; left >= 0 {
					_, _ = h.TryWrite(p)
				}
				if left == 0 {
					ended <- struct{}{}
				}
			}
			h.Start()
			handlers = append(handlers, h)
		}
	}
	before := cpuTime(b)
	b.ResetTimer()
	for i := range pairs {
		_, _ = handlers[2*i].TryWrite(make([]byte, 128))
	}
	for range 2 * pairs {
		select {
		case <-ended:
		case <-time.After(patience):
			b.Fatal("no progress")
		}
	}
	b.StopTimer()
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(2*pairs*each), "cpu-ns/op")
	for _, h := range handlers {
		h.Shutdown()
		<-h.end
	}
}

// cpuTime returns the user and system time of the process.
func cpuTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
