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
const patience = 20 * time.Second

// handler does with a connection what a test says. Its conn is closed when the peer has hung up.
type handler struct {
	park.Conn
	input    func(p []byte)
	room     func() ([]byte, bool)
	woken    func()
	writable func() // called when there is room to write
	flushed  atomic.Int32
	due      chan struct{}
	end      chan error

	entered atomic.Int32 // calls of the turn that are running: at most one
	overlap atomic.Bool
}

func newHandler(c net.Conn, input func(p []byte)) *handler {
	h := &handler{input: input, due: make(chan struct{}, 16), end: make(chan error, 1)}
	h.Init(c, h)
	return h
}

// pollers returns how many goroutines of the loop there are.
func pollers() int {
	stacks := make([]byte, 1<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "created by github.com/edgews/edgews/internal/park.(*loop)")
}

// loopEnds waits until the loop's goroutines have ended, as they do when its last connection has gone.
func loopEnds(t *testing.T) {
	t.Helper()
	for began := time.Now(); pollers() > 0; runtime.Gosched() {
		require.Less(t, time.Since(began), patience)
	}
}

func (h *handler) turn() func() {
	if h.entered.Add(1) != 1 {
		h.overlap.Store(true)
	}
	return func() { h.entered.Add(-1) }
}

func (h *handler) ReadBuffer() ([]byte, bool) {
	defer h.turn()()
	if h.room != nil {
		return h.room()
	}
	return nil, true
}

func (h *handler) Received(p []byte, _ *any) {
	defer h.turn()()
	h.input(p)
}

func (h *handler) ReadEnded(err error) {
	defer h.turn()()
	h.Close()
	h.end <- err
}

func (h *handler) Woken() {
	defer h.turn()()
	if h.woken != nil {
		h.woken()
	}
}

func (h *handler) Writable() {
	if h.writable != nil {
		h.writable()
	}
}

func (h *handler) Flush() { h.flushed.Add(1) }

func (h *handler) TimerFired() {
	select {
	case h.due <- struct{}{}:
	default:
	}
}

// write writes all of p, at the peer's pace.
func (h *handler) write(p []byte, room <-chan struct{}) error {
	for len(p) > 0 {
		n, err := h.TryWrite(p)
		p = p[n:]
		switch {
		case err == nil:
		case !errors.Is(err, park.ErrWouldBlock):
			return err
		case h.NotifiesWritable():
			<-room
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
		require.FailNow(t, "the end was not told")
	}
	assert.False(t, h.overlap.Load(), "two had the turn at once")
}

// connect returns both ends of a connection.
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

// each runs a test over sockets of the operating system's and over something that is none.
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

func TestInput(t *testing.T) {
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

func TestRoom(t *testing.T) {
	each(t, func(t *testing.T, near, far net.Conn) {
		into := make([]byte, 0, 1<<20)
		h := newHandler(near, func(p []byte) { into = into[:len(into)+len(p)] })
		h.room = func() ([]byte, bool) { return into[len(into):cap(into)], true }
		h.Start()
		sent := noise(500_000)
		far.Write(sent)
		far.Close()
		h.wantsEnd(t, io.EOF)
		assert.True(t, bytes.Equal(sent, into))
	})
}

// A handler without room is asked again after Wake, and loses nothing meanwhile.
func TestPause(t *testing.T) {
	each(t, func(t *testing.T, near, far net.Conn) {
		got := make(chan string, 100)
		paused := true
		h := newHandler(near, nil)
		h.input = func(p []byte) {
			paused = true
			got <- string(p)
		}
		h.room = func() ([]byte, bool) { return make([]byte, 3), !paused }
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

// What is asked before Start happens after it.
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

func TestWriteMoreThanThereIsRoomFor(t *testing.T) {
	each(t, func(t *testing.T, near, far net.Conn) {
		room := make(chan struct{}, 1)
		h := newHandler(near, func([]byte) {})
		h.writable = func() {
			select {
			case room <- struct{}{}:
			default:
			}
		}
		h.Start()
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

// Both sides may be closed one after the other.
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
			far.Write([]byte("still heard"))
			assert.Equal(t, "still heard", <-got)
			far.Close()
			h.wantsEnd(t, io.EOF)
		})
	}
}

func TestCut(t *testing.T) {
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

func TestReset(t *testing.T) {
	near, far := connect(t, "tcp")
	h := newHandler(near, func([]byte) {})
	h.Start()
	far.(*net.TCPConn).SetLinger(0)
	far.Close()
	h.wantsEnd(t, nil)
}

func TestAlarm(t *testing.T) {
	near, far := connect(t, "tcp")
	h := newHandler(near, func([]byte) {})
	h.Start()
	h.SetTimer(time.Hour)
	h.SetTimer(time.Millisecond)
	<-h.due
	h.SetTimer(50 * time.Millisecond)
	h.SetTimer(time.Millisecond)
	<-h.due
	far.Close()
	h.wantsEnd(t, io.EOF)
	assert.Empty(t, h.due)
}

func TestAlarmInBubble(t *testing.T) {
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

// While a batch is held, writes wait: until its end, or until its handler takes too long.
func TestDefer(t *testing.T) {
	loopEnds(t) // what other tests have left on it is a reason to defer
	near, far := connect(t, "tcp")
	handled := make(chan struct{})
	h := newHandler(near, nil)
	h.input = func([]byte) {
		assert.False(t, h.DeferWrite(), "nothing is held")
		h.Cork(true)
		assert.True(t, h.DeferWrite())
		h.Cork(false)
		assert.EqualValues(t, 1, h.flushed.Load())
		assert.False(t, h.DeferWrite())

		h.Cork(true)
		assert.True(t, h.DeferWrite())
		for h.flushed.Load() < 2 {
			runtime.Gosched() // as a handler that is busy
		}
		h.Cork(false)
		close(handled)
	}
	h.Start()
	far.Write([]byte("x"))
	<-handled
	far.Close()
	h.wantsEnd(t, io.EOF)
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

// A handler that ends its goroutine loses nothing but that.
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

func TestNothingAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	near, far := connect(t, "tcp")
	h := newHandler(near, nil)
	h.input = func(p []byte) { h.TryWrite(p) }
	h.Start()
	message, buf := []byte("a message"), make([]byte, 16)
	allocs := testing.AllocsPerRun(500, func() {
		far.Write(message)
		far.Read(buf)
	})
	assert.Less(t, allocs, 0.5) // a pool may be emptied meanwhile
	far.Close()
	h.wantsEnd(t, io.EOF)
}

// echoes makes connections that send back what they get, and asks each of them for it.
func echoes(t *testing.T, n int) (ask func()) {
	var far []net.Conn
	for range n {
		near, f := connect(t, "tcp")
		h := newHandler(near, nil)
		h.input = func(p []byte) { h.TryWrite(p) }
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

// Handlers that block, many at once, hold nobody else up.
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
