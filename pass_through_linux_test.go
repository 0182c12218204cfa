package edgews_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPassThroughOfManyConnections echoes messages through 1 000 proxied connections at once. Memory, descriptors and goroutines are back
// where they were afterwards.
func TestPassThroughOfManyConnections(t *testing.T) {
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	connections := min(1000, int(limit.Cur/8))
	if testing.Short() {
		connections = min(100, connections)
	}
	p := serveProxied(t, false, false, echoTo(t, nil, nil), &edgews.ProxyOptions{HTTPClient: &http.Client{Transport: &http.Transport{}}})
	round := func() {
		var open, done sync.WaitGroup
		open.Add(connections)
		for range connections {
			done.Go(func() {
				s, _, err := edgews.Dial(t.Context(), p.front.URL, nil)
				open.Done()
				open.Wait()
				if !assert.NoError(t, err) {
					return
				}
				for range 10 {
					sent := make([]byte, rand.IntN(2000))
					if !assert.NoError(t, s.Write(t.Context(), edgews.Binary, sent)) {
						return
					}
					got, err := s.Receive(t.Context())
					if !assert.NoError(t, err) || !assert.Equal(t, sent, got.Data) {
						return
					}
				}
				assert.NoError(t, s.Close(1000, ""))
				<-s.Done()
			})
		}
		done.Wait()
	}
	settled := func() (heap uint64, descriptors, goroutines int) {
		names, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, len(names), runtime.NumGoroutine()
	}
	// A leak shows after every round. Pools, tables and the runtime's list of goroutines grow with the most connections that were open at a
	// time, which later rounds may exceed, but not each of them.
	const rounds = 8
	var grown string
	for range rounds {
		heap, descriptors, goroutines := settled()
		round()
		for began := time.Now(); time.Since(began) < patience/rounds; time.Sleep(10 * time.Millisecond) {
			h, d, g := settled()
			if h < heap+uint64(connections)*200 && d <= descriptors && g <= goroutines {
				return
			}
			grown = fmt.Sprintf("heap %d, %d before; %d descriptors, %d before; %d goroutines, %d before", h, heap, d, descriptors, g, goroutines)
		}
	}
	t.Fatalf("each of %d rounds has left something: the last one %s", rounds, grown)
}
