package park_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/internal/park"
)

// patience is far more than anything here takes.
const patience = time.Minute

// handler is a Handler whose methods call the functions that a test sets. It closes its connection when reading has ended.
type handler struct {
	park.Conn
	received   func(p []byte)
	readBuffer func() ([]byte, bool) // false: nothing is read; nil: a pooled buffer
	woken      func()
	writable   func()
	flushed    atomic.Int32  // calls of Flush
	due        chan struct{} // gets a value for each call of TimerFired
	end        chan error    // gets the argument of ReadEnded

	entered atomic.Int32 // methods of the turn that are running: at most one
	overlap atomic.Bool
}

func newHandler(c net.Conn, received func(p []byte)) *handler {
	h := &handler{received: received, due: make(chan struct{}, 16), end: make(chan error, 1)}
	h.Init(c, h)
	return h
}

// pollers returns the number of the loop's goroutines.
func pollers() int {
	stacks := make([]byte, 1<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "created by github.com/edgews/edgews/internal/park.(*loop)")
}

// loopEnds waits until the loop's goroutines have ended, as they do some time after its last connection has been closed.
func loopEnds(t testing.TB) {
	t.Helper()
	for began := time.Now(); pollers() > 0; runtime.Gosched() {
		require.Less(t, time.Since(began), patience)
	}
}

func (h *handler) enter() {
	if h.entered.Add(1) != 1 {
		h.overlap.Store(true)
	}
}

func (h *handler) leave() { h.entered.Add(-1) }

func (h *handler) ReadBuffer() ([]byte, park.ReadSize) {
	h.enter()
	defer h.leave()
	if h.readBuffer == nil {
		return nil, park.UsualRead
	}
	into, ok := h.readBuffer()
	if !ok {
		return nil, park.NoRead
	}
	return into, park.UsualRead
}

func (h *handler) Received(p []byte, _ *any) bool {
	h.enter()
	defer h.leave()
	h.received(p)
	return h.readBuffer == nil
}

func (h *handler) ReadEnded(err error) {
	h.enter()
	defer h.leave()
	h.Close()
	h.end <- err
}

func (h *handler) Woken() {
	h.enter()
	defer h.leave()
	if h.woken != nil {
		h.woken()
	}
}

func (h *handler) Writable() {
	if h.writable != nil {
		h.writable()
	}
}

func (h *handler) Flush(*park.Batch) { h.flushed.Add(1) }

func (h *handler) TimerFired() {
	select {
	case h.due <- struct{}{}:
	default:
	}
}

// write writes all of p. writable gets a value when Writable has been called.
func (h *handler) write(p []byte, writable <-chan struct{}) error {
	for len(p) > 0 {
		n, err := h.TryWrite(p)
		p = p[n:]
		switch {
		case err == nil:
		case !errors.Is(err, park.ErrWouldBlock):
			return err
		case h.NotifiesWritable():
			<-writable
		default:
			n, err := h.BlockingConn().Write(p)
			p = p[n:]
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *handler) wantsEnd(t *testing.T, want error) {
	t.Helper()
	select {
	case err := <-h.end:
		if want != nil {
			assert.ErrorIs(t, err, want)
		} else {
			assert.Error(t, err)
		}
	case <-time.After(patience):
		require.FailNow(t, "ReadEnded was not called")
	}
	assert.False(t, h.overlap.Load(), "two goroutines had the turn at the same time")
}

// connect returns both ends of a connection, which are closed when the test ends.
func connect(t testing.TB, network string) (near, far net.Conn) {
	switch network {
	case "pipe":
		near, far = net.Pipe()
	case "tls":
		near, far = dial(t, "tcp")
		near, far = secure(t, near, far)
	default:
		near, far = dial(t, network)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

func dial(t testing.TB, network string) (near, far net.Conn) {
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = t.TempDir() + "/socket"
	}
	l, err := net.Listen(network, addr)
	require.NoError(t, err)
	defer l.Close()
	far, err = net.Dial(network, l.Addr().String())
	require.NoError(t, err)
	near, err = l.Accept()
	require.NoError(t, err)
	require.NoError(t, far.SetDeadline(time.Now().Add(patience)))
	return near, far
}

// each runs a test over every kind of connection.
func each(t *testing.T, test func(t *testing.T, near, far net.Conn)) {
	for _, network := range []string{"tcp", "unix", "tls", "pipe"} {
		t.Run(network, func(t *testing.T) {
			near, far := connect(t, network)
			test(t, near, far)
		})
	}
}

func noise(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7 + i>>8)
	}
	return p
}

func TestReceived(t *testing.T) {
	each(t, func(t *testing.T, near, far net.Conn) {
		var got []byte
		h := newHandler(near, func(p []byte) { got = append(got, p...) })
		h.Start()
		sent := noise(300_000)
		for _, n := range []int{1, 4095, 4096, 4097, 100_000, 300_000} {
			far.Write(sent[:n])
		}
		far.Close()
		h.wantsEnd(t, io.EOF)
		want := bytes.Join([][]byte{sent[:1], sent[:4095], sent[:4096], sent[:4097], sent[:100_000], sent}, nil)
		assert.True(t, bytes.Equal(want, got))
	})
}

func TestReadBuffer(t *testing.T) {
	each(t, func(t *testing.T, near, far net.Conn) {
		into := make([]byte, 0, 1<<20)
		h := newHandler(near, func(p []byte) { into = into[:len(into)+len(p)] })
		h.readBuffer = func() ([]byte, bool) { return into[len(into):cap(into)], true }
		h.Start()
		sent := noise(500_000)
		far.Write(sent)
		far.Close()
		h.wantsEnd(t, io.EOF)
		assert.True(t, bytes.Equal(sent, into))
	})
}

// A handler whose ReadBuffer has returned false is asked again after Wake, and loses nothing meanwhile.
func TestPause(t *testing.T) {
	each(t, func(t *testing.T, near, far net.Conn) {
		got := make(chan string, 100)
		paused := true
		h := newHandler(near, nil)
		h.received = func(p []byte) {
			paused = true
			got <- string(p)
		}
		h.readBuffer = func() ([]byte, bool) { return make([]byte, 3), !paused }
		h.woken = func() { paused = false }
		h.Start()
		go func() {
			far.Write([]byte("onetwosix"))
			far.Close()
		}()
		h.Wake()
		for _, want := range []string{"one", "two", "six"} {
			assert.Equal(t, want, <-got)
			h.Wake()
		}
		h.wantsEnd(t, io.EOF)
	})
}

// A call of Wake and a write that would block, both before Start, have their effect after it.
func TestBeforeStart(t *testing.T) {
	each(t, func(t *testing.T, near, far net.Conn) {
		woken := make(chan struct{}, 10)
		h := newHandler(near, func([]byte) {})
		h.woken = func() { woken <- struct{}{} }
		if h.NotifiesWritable() {
			_, err := h.TryWrite([]byte("too early"))
			assert.ErrorIs(t, err, park.ErrWouldBlock)
		}
		h.Wake()
		h.Start()
		<-woken
		go h.write([]byte("now"), woken)
		b := make([]byte, 3)
		_, err := io.ReadFull(far, b)
		require.NoError(t, err)
		assert.Equal(t, "now", string(b))
		far.Close()
		h.wantsEnd(t, io.EOF)
	})
}

// startWriter returns a started handler that reads nothing of use, and a channel that has an element after Writable.
func startWriter(near net.Conn) (h *handler, room chan struct{}) {
	room = make(chan struct{}, 1)
	h = newHandler(near, func([]byte) {})
	h.writable = func() {
		select {
		case room <- struct{}{}:
		default:
		}
	}
	h.Start()
	return h, room
}

func TestWriteMoreThanFits(t *testing.T) {
	each(t, func(t *testing.T, near, far net.Conn) {
		h, room := startWriter(near)
		sent := noise(20 << 20)
		wrote := make(chan error, 1)
		go func() {
			wrote <- h.write(sent, room)
			h.CloseWrite()
		}()
		got, err := io.ReadAll(far)
		require.NoError(t, err)
		assert.NoError(t, <-wrote)
		assert.True(t, bytes.Equal(sent, got))
		far.Close()
		h.wantsEnd(t, nil)
	})
}

// A gathered write of more than fits takes as much as there is room for, and says how much.
func TestWriteGathered(t *testing.T) {
	needsLoop(t)
	near, far := connect(t, "tcp")
	h, room := startWriter(near)
	sent := noise(20 << 20)
	wrote := make(chan error, 1)
	go func() {
		n, err := h.TryWriteGathered(sent[:10], sent[10:])
		if err == park.ErrWouldBlock {
			<-room
			err = h.write(sent[n:], room)
		}
		wrote <- err
		h.CloseWrite()
	}()
	got, err := io.ReadAll(far)
	require.NoError(t, err)
	assert.NoError(t, <-wrote)
	assert.True(t, bytes.Equal(sent, got))
	far.Close()
	h.wantsEnd(t, nil)
	_, err = h.TryWriteGathered(sent[:10], sent[10:])
	assert.ErrorIs(t, err, net.ErrClosed)
}

// After CloseWrite, the connection still reads.
func TestHalfClose(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			near, far := connect(t, network)
			got := make(chan string, 10)
			h := newHandler(near, func(p []byte) { got <- string(p) })
			h.Start()
			h.CloseWrite()
			_, err := far.Read(make([]byte, 1))
			assert.ErrorIs(t, err, io.EOF)
			far.Write([]byte("still read"))
			assert.Equal(t, "still read", <-got)
			far.Close()
			h.wantsEnd(t, io.EOF)
		})
	}
}

func TestShutdown(t *testing.T) {
	each(t, func(t *testing.T, near, far net.Conn) {
		h := newHandler(near, func([]byte) {})
		h.Start()
		h.Shutdown()
		h.wantsEnd(t, nil)
		_, err := h.TryWrite([]byte("x"))
		assert.Error(t, err)
		_, err = far.Read(make([]byte, 1))
		assert.Error(t, err)
		h.Wake() // and nothing happens
		h.SetTimer(time.Millisecond)
	})
}

// CloseWrite and Shutdown reach the peer also if Start moves the connection to the loop at that moment.
func TestEndWhileStarting(t *testing.T) {
	for what, end := range map[string]func(*handler){
		"CloseWrite": func(h *handler) { h.CloseWrite() },
		"Shutdown":   func(h *handler) { h.Shutdown() },
	} {
		t.Run(what, func(t *testing.T) {
			for range 300 {
				near, far := dial(t, "tcp")
				h := newHandler(near, func([]byte) {})
				var wg sync.WaitGroup
				wg.Go(func() { end(h) })
				h.Start()
				_, err := far.Read(make([]byte, 1))
				require.ErrorIs(t, err, io.EOF)
				wg.Wait()
				far.Close()
				h.wantsEnd(t, nil)
			}
		})
	}
}

// CoarseNow is not a time from before a call of Wake, however long nothing has happened on the loop before.
func TestCoarseNowAfterWake(t *testing.T) {
	each(t, func(t *testing.T, near, far net.Conn) {
		h := newHandler(near, func([]byte) {})
		times := make(chan uint32, 10)
		h.woken = func() { times <- h.CoarseNow() }
		h.Start()
		for began := park.Now(); park.Now() < began+10; {
			runtime.Gosched()
		}
		before := park.Now()
		h.Wake()
		assert.GreaterOrEqual(t, <-times, before)
		far.Close()
		h.wantsEnd(t, nil)
	})
}

func TestReset(t *testing.T) {
	near, far := connect(t, "tcp")
	h := newHandler(near, func([]byte) {})
	h.Start()
	far.(*net.TCPConn).SetLinger(0)
	far.Close()
	h.wantsEnd(t, nil)
}

func TestTimer(t *testing.T) {
	near, far := connect(t, "tcp")
	h := newHandler(near, func([]byte) {})
	h.Start()
	h.SetTimer(time.Hour)
	h.SetTimer(time.Millisecond)
	<-h.due
	h.SetTimer(time.Minute)
	h.SetTimer(time.Millisecond)
	<-h.due
	far.Close()
	h.wantsEnd(t, io.EOF)
	assert.Empty(t, h.due)
}

func TestTimerInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		h := newHandler(near, func([]byte) {})
		h.Start()
		begun := time.Now()
		h.SetTimer(time.Hour)
		<-h.due
		assert.Equal(t, time.Hour, time.Since(begun))
		far.Close()
		h.wantsEnd(t, io.EOF)
	})
}

// While a connection is corked, writes are deferred until Cork(false), or until the handler takes too long.
func TestDeferWrite(t *testing.T) {
	each(t, func(t *testing.T, near, far net.Conn) {
		loopEnds(t) // connections of earlier tests may still cork the loop
		_, tcp := near.(*net.TCPConn)
		_, unix := near.(*net.UnixConn)
		onLoop := park.HasLoop && (tcp || unix)
		handled := make(chan struct{})
		h := newHandler(near, nil)
		h.received = func([]byte) {
			assert.False(t, h.DeferWrite(), "the connection is not corked")
			h.Cork(true)
			assert.True(t, h.DeferWrite())
			h.Cork(false)
			if onLoop {
				assert.NotZero(t, h.flushed.Load())
			}
			assert.False(t, h.DeferWrite())

			h.Cork(true)
			flushed := h.flushed.Load()
			assert.True(t, h.DeferWrite())
			for h.flushed.Load() == flushed {
				runtime.Gosched() // as a busy handler does
			}
			h.Cork(false)
			close(handled)
		}
		h.Start()
		far.Write([]byte("x"))
		<-handled
		far.Close()
		h.wantsEnd(t, io.EOF)
	})
}

func TestAddrs(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		near, far := connect(t, network)
		h := newHandler(near, func([]byte) {})
		check := func() {
			local, remote := h.Addrs()
			assert.Equal(t, near.LocalAddr().String(), local.String())
			assert.Equal(t, far.LocalAddr().String(), remote.String())
			assert.Equal(t, near.LocalAddr().Network(), local.Network())
		}
		check()
		h.Start()
		check()
		far.Close()
		h.wantsEnd(t, io.EOF)
	}
}

// A peer that is silent does not look as if it had acknowledged bytes just now, on any system and under any emulator.
func TestSinceAckOfASilentPeer(t *testing.T) {
	near, far := connect(t, "tcp")
	h := newHandler(near, func([]byte) {})
	h.Start()
	for began := time.Now(); ; runtime.Gosched() {
		since, pending, ok := h.SinceAck()
		if assert.False(t, pending); !ok || since >= 20*time.Millisecond {
			break
		}
		require.Less(t, time.Since(began), patience)
	}
	far.Close()
	h.wantsEnd(t, io.EOF)
}

// A handler that calls runtime.Goexit loses nothing but the goroutine.
func TestGoexit(t *testing.T) {
	each(t, func(t *testing.T, near, far net.Conn) {
		got := make(chan string, 10)
		h := newHandler(near, func(p []byte) {
			got <- string(p)
			runtime.Goexit()
		})
		h.Start()
		for i := range 5 {
			sent := fmt.Sprint("message ", i)
			far.Write([]byte(sent))
			assert.Equal(t, sent, <-got)
		}
		far.Close()
		h.wantsEnd(t, io.EOF)
	})
}

func TestEchoAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	near, far := connect(t, "tcp")
	h := newHandler(near, nil)
	h.received = func(p []byte) { h.TryWrite(p) }
	h.Start()
	message, buf := []byte("a message"), make([]byte, 16)
	allocs := testing.AllocsPerRun(500, func() {
		far.Write(message)
		far.Read(buf)
	})
	assert.Less(t, allocs, 0.5) // a garbage collection may empty a pool
	far.Close()
	h.wantsEnd(t, io.EOF)
}

// echoes opens n connections that send back what they receive. ask has each of them do so once.
func echoes(t *testing.T, n int) (ask func()) {
	var far []net.Conn
	for range n {
		near, f := connect(t, "tcp")
		h := newHandler(near, nil)
		h.received = func(p []byte) { h.TryWrite(p) }
		h.Start()
		far = append(far, f)
	}
	return func() {
		t.Helper()
		var wg sync.WaitGroup
		for i, f := range far {
			wg.Go(func() {
				sent := []byte(fmt.Sprint("to ", i))
				f.Write(sent)
				got := make([]byte, len(sent))
				_, err := io.ReadFull(f, got)
				assert.NoError(t, err)
				assert.Equal(t, sent, got)
			})
		}
		wg.Wait()
	}
}

// Many handlers that block at the same time do not hold up other connections.
func TestBlockedHandlers(t *testing.T) {
	ask := echoes(t, 10)
	release := make(chan struct{})
	var blocked sync.WaitGroup
	var ends []*handler
	var peers []net.Conn
	for range 20 {
		near, far := connect(t, "tcp")
		blocked.Add(1)
		h := newHandler(near, func([]byte) {
			blocked.Done()
			<-release
		})
		h.Start()
		ends, peers = append(ends, h), append(peers, far)
	}
	for _, far := range peers {
		far.Write([]byte("x"))
	}
	ask()
	blocked.Wait()
	ask()
	close(release)
	for i, h := range ends {
		peers[i].Close()
		h.wantsEnd(t, io.EOF)
	}
	ask()
}
