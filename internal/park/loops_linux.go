//go:build !edgews_noloop

package park

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// With 16 processors or more, the process has several loops. A connection belongs to the loop of its descriptor, and stays there: loopOf.
// The kernel gives out the lowest free descriptor, so that the loops have about equally many connections. Each loop has all that its
// pollers write while messages pass: the epoll instance, the table, the timers, the rounds, the backlog and the state of check. What the
// loops share is this file: an array that is only read, and loopMu, which is held when a connection comes or goes.
//
// A Listener is a connection like any other. What it accepts belongs to the loops of the accepted descriptors.
//
// If one loop has more to do than the others, it gets more pollers, up to GOMAXPROCS. So no processor is idle because connections with
// much traffic happen to be on one loop.

// procsPerLoop is for how many processors there is one loop. epoll_wait holds a mutex of the instance for all of the 125 ns that it takes
// to fetch an event (BenchmarkFetch). An echo takes 3 to 6 µs of a processor, so that 25 to 50 processors would do nothing but wait for the
// mutex of a single instance; with 8, it is held for a sixth to a third of the time. More loops than needed have a price, too: at a low
// load, each has a poller that must be woken, and fetches fewer events at once; and a poller in a short wait holds a processor.
const procsPerLoop = 8

// maxLoops is the largest number of loops, a power of two.
const maxLoops = 16

// loops contains the loop of a descriptor at the index that is the descriptor modulo maxLoops, nil if that has not started. With fewer
// loops than maxLoops, each is there several times.
var loops [maxLoops]atomic.Pointer[loop]

// The number of loops does not change while one of them runs, because all of a descriptor's users must find the same one.
var (
	loopMu    sync.Mutex
	loopCount int       // a power of two; 0: none runs; guarded by loopMu
	loopConns int       // connections on all loops; guarded by loopMu
	lastGone  time.Time // when the last connection went; guarded by loopMu
)

// loopsFor returns the number of loops for a GOMAXPROCS.
func loopsFor(procs int) int {
	n := min(max(procs/procsPerLoop, 1), maxLoops)
	return 1 << (bits.Len(uint(n)) - 1)
}

// loopOf returns the loop of a connection that has the descriptor. It may return nil if the connection has been closed.
func loopOf(fd int32) *loop { return loops[uint32(fd)%maxLoops].Load() }

// acquireLoop returns the loop for one more connection, and starts it if necessary.
func acquireLoop(fd int) (*loop, bool) {
	loopMu.Lock()
	defer loopMu.Unlock()
	count := loopCount
	if count == 0 {
		count = loopsFor(runtime.GOMAXPROCS(0))
	}
	l := loopOf(int32(fd))
	if l == nil {
		var err error
		if l, err = newLoop(count); err != nil {
			return nil, false
		}
		for i := fd % count; i < maxLoops; i += count {
			loops[i].Store(l)
		}
	}
	loopCount = count
	loopConns++
	return l, true
}

// unusedLoopLifetime is how long the loops keep running after the last connection has gone.
const unusedLoopLifetime = 50 * time.Millisecond

// releaseLoop is called once for each connection that acquireLoop was called for.
func releaseLoop() {
	loopMu.Lock()
	defer loopMu.Unlock()
	if loopConns--; loopConns == 0 {
		lastGone = time.Now()
		time.AfterFunc(unusedLoopLifetime, stopUnusedLoops)
	}
}

func stopUnusedLoops() {
	loopMu.Lock()
	defer loopMu.Unlock()
	if loopConns > 0 || time.Since(lastGone) < unusedLoopLifetime { // there have been connections since the timer was set
		return
	}
	for i := range loopCount {
		if l := loops[i].Load(); l != nil {
			l.stop()
		}
	}
	for i := range loops {
		loops[i].Store(nil)
	}
	loopCount = 0
}

// hasSiblings reports whether there may be further loops.
func (l *loop) hasSiblings() bool { return l.table.shift > 0 }

// deferFlushElsewhere is corks.deferFlush for a connection whose own loop has no round: a round of another loop may be sending to it.
func deferFlushElsewhere(h Handler) bool {
	for i := range loops {
		if l := loops[i].Load(); l != nil && l.corks.deferFlush(h) {
			return true
		}
	}
	return false
}
