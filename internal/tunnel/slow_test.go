package tunnel_test

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/internal/tunnel"
)

// TestEndTimeoutWaitsForASlowReader: one side sends much and ends. The other one reads slowly what the kernel holds for it, for longer than
// the end time-out, and gets all of it.
func TestEndTimeoutWaitsForASlowReader(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the kernel is asked on Linux only")
	}
	outerA, innerA := tcpLink(t)
	outerB, innerB := tcpLink(t)
	require.NoError(t, outerB.(*net.TCPConn).SetReadBuffer(16<<10))
	ended := make(chan error, 1)
	tunnel.Start(innerA, innerB, nil, nil, &tunnel.Options{WriteTimeout: patience, EndTimeout: 3 * time.Second, Ended: func(err error) { ended <- err }})
	sent := random(512 << 10)
	_, err := outerA.Write(sent)
	require.NoError(t, err)
	closeWrite(outerA)
	var got []byte
	for p := make([]byte, 32<<10); err == nil; {
		time.Sleep(250 * time.Millisecond) // a slow reader
		var n int
		n, err = outerB.Read(p)
		got = append(got, p[:n]...)
	}
	assert.ErrorIs(t, err, io.EOF)
	assert.True(t, bytes.Equal(sent, got), "%d of %d bytes", len(got), len(sent))
	outerB.Close()
	select {
	case err := <-ended:
		assert.NoError(t, err)
	case <-time.After(patience):
		assert.Fail(t, "no end")
	}
}

// TestWriteTimeoutOfEarlyBytes: the time-out also passes if already the bytes that were given to Start find no room.
func TestWriteTimeoutOfEarlyBytes(t *testing.T) {
	eachPair(t, func(t *testing.T, a, b link) {
		t.Parallel()
		_, innerA := a.make(t)
		_, innerB := b.make(t)
		ended := make(chan error, 1)
		tunnel.Start(innerA, innerB, make([]byte, 16<<20), nil, &tunnel.Options{WriteTimeout: 50 * time.Millisecond, Ended: func(err error) { ended <- err }})
		select {
		case err := <-ended:
			assert.ErrorIs(t, err, tunnel.ErrWriteTimeout)
		case <-time.After(patience):
			assert.Fail(t, "no end")
		}
	})
}

// TestSpliceAfterRoom: the other connection has no room, and then has it before the tunnel waits for it. What has arrived meanwhile, and its
// end, lead to no further event. A Unix connection gets room at once when its reader reads.
func TestSpliceAfterRoom(t *testing.T) {
	const tunnels = 250 // one in about 30 met this
	sent := random(1 << 20)
	for range tunnels {
		outerA, innerA := tcpLink(t)
		outerB, innerB := unixLink(t)
		tunnel.Start(innerA, innerB, nil, nil, &tunnel.Options{WriteTimeout: patience})
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := outerA.Write(sent)
			assert.NoError(t, err)
			closeWrite(outerA)
		})
		require.NoError(t, outerB.SetReadDeadline(time.Now().Add(patience)))
		got, err := io.ReadAll(outerB)
		require.NoError(t, err, "%d of %d bytes", len(got), len(sent))
		require.True(t, bytes.Equal(sent, got))
		wg.Wait()
		outerB.Close()
	}
}
