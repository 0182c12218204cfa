//go:build !edgews_noloop

package park_test

import (
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// severalLoops makes the connections of a test belong to n loops. GOMAXPROCS decides how many there are when the first one starts; later
// it may change.
func severalLoops(t testing.TB, n int) {
	t.Helper()
	loopEnds(t)
	before := runtime.GOMAXPROCS(8 * n)
	near, far := dial(t, "tcp")
	h := newHandler(near, func([]byte) {})
	h.Start()
	runtime.GOMAXPROCS(before)
	t.Cleanup(func() {
		far.Close()
		<-h.end
		loopEnds(t)
	})
}

// With several loops, connections work as with one.
func TestSeveralLoops(t *testing.T) {
	needsLoop(t)
	for _, test := range []struct {
		name  string
		loops int
		run   func(t *testing.T)
	}{
		{"hammer", 2, TestHammer}, {"hammer", 4, TestHammer}, {"floods", 4, TestFloodedConnectionsShare},
		{"blocked", 4, TestBurstOfBlockedHandlers}, {"take over", 4, TestTakeOver},
	} {
		t.Run(fmt.Sprintf("%s, %d", test.name, test.loops), func(t *testing.T) {
			severalLoops(t, test.loops)
			test.run(t)
		})
	}
}

// A round delays the writes to connections of all loops.
func TestRoundOfSeveralLoops(t *testing.T) {
	needsLoop(t)
	severalLoops(t, 4)
	var others []*handler
	for range 8 {
		near, _ := connect(t, "tcp")
		h := newHandler(near, func([]byte) {})
		h.Start()
		others = append(others, h)
	}
	near, far := connect(t, "tcp")
	h, handled := newHandler(near, nil), make(chan struct{})
	allDeferred := func() bool {
		h.Cork(true)
		defer h.Cork(false)
		return !slices.ContainsFunc(others, func(other *handler) bool { return !other.DeferWrite() })
	}
	h.received = func([]byte) {
		defer close(handled)
		for late := time.Now().Add(patience); !allDeferred(); { // a round that seems blocked ends early
			if !assert.True(t, time.Now().Before(late), "writes are not deferred") {
				return
			}
		}
	}
	h.Start()
	_, err := far.Write([]byte{1})
	require.NoError(t, err)
	<-handled
	for _, other := range others {
		for late := time.Now().Add(patience); other.flushed.Load() == 0; runtime.Gosched() {
			require.True(t, time.Now().Before(late), "Flush was not called")
		}
		other.Shutdown()
		<-other.end
	}
	far.Close()
	h.wantsEnd(t, nil)
}

// BenchmarkPairs has connections of one loop, or of two, answer each other, so that nothing but the loops uses the processors.
//
//	go test -run '^$' -bench Pairs -benchtime 200000x -count 5 -cpu 1,2 ./internal/park
func BenchmarkPairs(b *testing.B) {
	for _, network := range []string{"unix", "tcp"} {
		for _, loops := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s, %d", network, loops), func(b *testing.B) {
				severalLoops(b, loops)
				benchmarkPairs(b, network, 64)
			})
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

// BenchmarkFetch measures how long the epoll instance of a loop is busy with one event while a poller fetches: the kernel holds a mutex of
// the instance meanwhile. Two pollers that fetch at the same time wait for each other if they have the same instance.
//
//	go test -run '^$' -bench Fetch -benchtime 2000x -count 20 -cpu 2 ./internal/park
func BenchmarkFetch(b *testing.B) {
	for _, test := range []struct {
		name                 string
		pollers, perInstance int
	}{{"1 poller", 1, 1}, {"2 pollers, 1 instance", 2, 2}, {"2 pollers, 2 instances", 2, 1}} {
		b.Run(test.name, func(b *testing.B) {
			instances := make([]int, test.pollers/test.perInstance)
			for i := range instances {
				instances[i] = readableSockets(b, 64*test.perInstance)
			}
			var total, started atomic.Int64
			var wg sync.WaitGroup
			var began time.Time
			for i := range test.pollers {
				wg.Go(func() {
					if started.Add(1) == int64(test.pollers) {
						began = time.Now()
					}
					for started.Load() < int64(test.pollers) { // both run from here on
					}
					total.Add(fetchAll(instances[i%len(instances)], b.N))
				})
			}
			wg.Wait()
			b.ReportMetric(float64(time.Since(began))/float64(total.Load()), "ns/event")
		})
	}
}

// readableSockets returns an epoll instance with n sockets that always have something to read.
func readableSockets(b *testing.B, n int) (epfd int) {
	epfd, err := syscall.EpollCreate1(0)
	require.NoError(b, err)
	b.Cleanup(func() { syscall.Close(epfd) })
	for range n {
		near, far := connect(b, "tcp")
		_, err := far.Write([]byte{1})
		require.NoError(b, err)
		raw, err := near.(*net.TCPConn).SyscallConn()
		require.NoError(b, err)
		require.NoError(b, raw.Control(func(fd uintptr) {
			err = syscall.EpollCtl(epfd, syscall.EPOLL_CTL_ADD, int(fd), &syscall.EpollEvent{Events: syscall.EPOLLIN})
		}))
		require.NoError(b, err)
	}
	return epfd
}

// fetchAll fetches up to 64 events, as often as rounds says, and returns how many it has fetched.
func fetchAll(epfd, rounds int) (total int64) {
	var events [64]syscall.EpollEvent
	for range rounds {
		n, _, _ := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(&events)), uintptr(len(events)), 0, 0, 0)
		total += int64(n)
	}
	return total
}

// cpuTime returns the user and system time of the process.
func cpuTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
