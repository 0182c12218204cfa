package park_test

import (
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// spin is busy for about d, as a listener that receives many small messages is.
func spin(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
	}
}

// flood writes to c until that fails.
func flood(c net.Conn) {
	b := make([]byte, 256<<10)
	for {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// startFloods floods n connections, whose handlers take 50 µs for each read, until the end of the test. It returns the number of bytes that
// they have read.
func startFloods(t *testing.T, n int) *atomic.Int64 {
	flooded := new(atomic.Int64)
	handlers, fars := make([]*handler, n), make([]net.Conn, n)
	for i := range n {
		near, far := connect(t, "tcp")
		h := newHandler(near, func(p []byte) {
			spin(50 * time.Microsecond)
			flooded.Add(int64(len(p)))
		})
		h.Start()
		go flood(far)
		handlers[i], fars[i] = h, far
	}
	t.Cleanup(func() {
		for _, far := range fars { // all before the first wait, since what the others still send is read meanwhile
			far.Close()
		}
		for _, h := range handlers {
			h.wantsEnd(t, nil)
		}
	})
	return flooded
}

// Connections that always have more to read do not keep others from their turn.
func TestFloodedConnectionsShare(t *testing.T) {
	needsLoop(t) // without it, the scheduler decides
	flooded := startFloods(t, 20)
	near, far := connect(t, "tcp")
	arrived := make(chan struct{}, 1)
	quiet := newHandler(near, func([]byte) { arrived <- struct{}{} })
	quiet.Start()

	const rounds = 100
	began := flooded.Load()
	for range rounds {
		_, err := far.Write([]byte{1})
		require.NoError(t, err)
		select {
		case <-arrived:
		case <-time.After(patience):
			require.FailNow(t, "a byte never arrived beside the floods")
		}
	}
	t.Logf("%d KiB of floods were read for each byte of the quiet connection", (flooded.Load()-began)/rounds>>10)
	// If a turn had no budget, it would be hundreds of MiB: everything that arrives until a flood pauses.
	require.Less(t, (flooded.Load()-began)/rounds, int64(32<<20))
	far.Close()
	quiet.wantsEnd(t, nil)
}

// Many handlers that block at the same time hold up the events behind them for a few checks in all, not for one check each.
func TestBurstOfBlockedHandlers(t *testing.T) {
	const blockers = 200
	release := make(chan struct{})
	var blocked atomic.Int32
	fars := make([]net.Conn, blockers)
	for i := range fars {
		near, far := connect(t, "tcp")
		fars[i] = far
		h := newHandler(near, func([]byte) {
			blocked.Add(1)
			<-release
		})
		h.Start()
		t.Cleanup(func() {
			far.Close()
			h.wantsEnd(t, nil)
		})
	}
	t.Cleanup(func() { close(release) })
	for _, far := range fars {
		_, err := far.Write([]byte{1})
		require.NoError(t, err)
	}
	began := time.Now()
	for blocked.Load() < blockers {
		require.Less(t, time.Since(began), patience)
		<-time.After(time.Millisecond)
	}
	t.Logf("%d handlers block after %v, with %d pollers", blockers, time.Since(began), pollers())
	require.LessOrEqual(t, pollers(), 3*blockers)
}

// A poller that has work, and only waits for a P, is not taken for one whose handler blocks: on one P, others would only wait with it.
func TestBusyPollersAreNotBlocked(t *testing.T) {
	needsLoop(t)
	loopEnds(t) // there may have been several
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	flooded := startFloods(t, 100)
	// On a busy machine the system takes the processor away from a poller, which is like a blocked handler. So there must be one second without.
	few := 0
	for deadline := time.Now().Add(2 * time.Minute); few < 20; few++ {
		<-time.After(50 * time.Millisecond)
		if n := pollers(); n > 10 {
			require.Less(t, time.Now(), deadline, "%d pollers", n)
			few = -1
		}
	}
	require.Positive(t, flooded.Load())
}
