package park_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The loop's goroutines end after its connections have been closed, and start again with the next one.
func TestLoopEnds(t *testing.T) {
	needsLoop(t)
	for range 3 {
		near, far := dial(t, "tcp")
		h := newHandler(near, func([]byte) {})
		h.Start()
		assert.Positive(t, pollers())
		far.Close()
		h.wantsEnd(t, io.EOF)
		loopEnds(t)
	}
}

// Pollers that a high load has added end after it.
func TestFewPollers(t *testing.T) {
	ask := echoes(t, 50)
	for range 50 {
		ask()
	}
	assert.Less(t, pollers(), 10*max(1, runtime.GOMAXPROCS(0)/8)) // of all loops
}

// Without a free descriptor, a connection is not moved to the loop, and works.
func TestNoDescriptorsLeft(t *testing.T) {
	for _, network := range []string{"tcp", "tls"} {
		t.Run(network, func(t *testing.T) {
			near, far := connect(t, network)
			h := newHandler(near, nil)
			h.received = func(p []byte) { _ = h.write(p, nil) }
			var limit syscall.Rlimit
			require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
			require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Max: limit.Max}))
			h.Start()
			require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
			wantsEcho(t, far, noise(100_000))
			far.Close()
			h.wantsEnd(t, io.EOF)
		})
	}
}

// Signals interrupt waits and have no other effect.
func TestSignals(t *testing.T) {
	near, far := connect(t, "tcp")
	h := newHandler(near, nil)
	h.received = func(p []byte) { _ = h.write(p, nil) }
	h.Start()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for self := syscall.Getpid(); ; runtime.Gosched() {
			select {
			case <-stop:
				return
			default:
				_ = syscall.Kill(self, syscall.SIGURG) // the runtime's preemption signal
			}
		}
	})
	for range 100 {
		wantsEcho(t, far, noise(100))
	}
	close(stop)
	wg.Wait()
	far.Close()
	h.wantsEnd(t, io.EOF)
}

// wantsEcho sends p and expects it back.
func wantsEcho(t *testing.T, far net.Conn, p []byte) {
	t.Helper()
	go far.Write(p)
	got := make([]byte, len(p))
	_, err := io.ReadFull(far, got)
	require.NoError(t, err)
	require.True(t, bytes.Equal(p, got))
}

// token is what a connection of TestHammer sends repeatedly: bytes that arrive on another connection are detected.
type token [8]byte

func newToken(n uint64) (t token) {
	binary.BigEndian.PutUint64(t[:], n|1<<63)
	return t
}

// follows reports whether p continues a sequence of tokens after n bytes.
func (t token) follows(p []byte, n int) bool {
	for i, b := range p {
		if b != t[(n+i)%len(t)] {
			return false
		}
	}
	return true
}

// TestHammer opens, closes, resets, wakes, blocks and writes at random for two seconds, or for the time in EDGEWS_HAMMER.
func TestHammer(t *testing.T) {
	length := 2 * time.Second
	if d, err := time.ParseDuration(os.Getenv("EDGEWS_HAMMER")); err == nil {
		length = d
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	var number atomic.Uint64
	var wg sync.WaitGroup
	until := time.Now().Add(length)
	for range 8 {
		wg.Go(func() {
			for time.Now().Before(until) && !t.Failed() {
				hammer(t, l, newToken(number.Add(1)))
			}
		})
	}
	wg.Wait()
	t.Logf("%d connections", number.Load())
}

var accepting sync.Mutex

// open returns both ends of a connection.
func open(t *testing.T, l net.Listener) (near, far net.Conn) {
	accepting.Lock()
	defer accepting.Unlock()
	far, err := net.Dial("tcp", l.Addr().String())
	if !assert.NoError(t, err) {
		runtime.Goexit()
	}
	near, err = l.Accept()
	if !assert.NoError(t, err) {
		runtime.Goexit()
	}
	return near, far
}

// hammer runs one connection. Both ends send the token and check that they receive it.
func hammer(t *testing.T, l net.Listener, tok token) {
	near, far := open(t, l)
	if rand.IntN(8) == 0 {
		near, far = secure(t, near, far)
	}
	var got int
	var paused atomic.Bool
	h := newHandler(near, nil)
	h.readBuffer = func() ([]byte, bool) { return nil, !paused.Load() }
	h.received = func(p []byte) {
		if !assert.True(t, tok.follows(p, got), "bytes of another connection") {
			return
		}
		got += len(p)
		switch rand.IntN(40) {
		case 0:
			time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		case 1:
			paused.Store(true)
			go func() {
				paused.Store(false)
				h.Wake()
			}()
		case 2:
			runtime.Goexit()
		case 3:
			h.Cork(true)
			h.DeferWrite()
			h.Cork(false)
		}
	}
	h.Start()

	var wg sync.WaitGroup
	wg.Go(func() { // the handler's writer: whole tokens, until a write fails
		for {
			if n, err := h.TryWrite(tok[:]); n < len(tok) || err != nil || rand.IntN(200) == 0 {
				return
			}
		}
	})
	wg.Go(func() { // another goroutine
		for range rand.IntN(20) {
			h.Wake()
			h.SetTimer(time.Duration(rand.IntN(2000)) * time.Microsecond)
			runtime.Gosched()
		}
		switch rand.IntN(3) {
		case 0:
			h.Shutdown()
		case 1:
			h.CloseWrite()
		}
	})
	wg.Go(func() { // the peer's writer
		defer endAtRandom(far)
		for range rand.IntN(100) {
			if _, err := far.Write(tok[:]); err != nil {
				return
			}
		}
	})
	read := 0
	for buf := make([]byte, 4096); ; {
		n, err := far.Read(buf)
		if !assert.True(t, tok.follows(buf[:n], read), "bytes of another connection") || err != nil {
			break
		}
		read += n
	}
	wg.Wait()
	far.Close()
	for drained := false; !drained; {
		select {
		case <-h.due:
		case <-h.end:
			drained = true
		case <-time.After(patience):
			assert.Fail(t, "ReadEnded was not called")
			return
		}
	}
	assert.False(t, h.overlap.Load(), "two goroutines had the turn at the same time")
}

func endAtRandom(c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		tcp = c.(*tls.Conn).NetConn().(*net.TCPConn)
	}
	switch rand.IntN(3) {
	case 0:
		tcp.SetLinger(0)
		tcp.Close()
	case 1:
		c.(interface{ CloseWrite() error }).CloseWrite()
	default:
		c.Close()
	}
}

// A descriptor on which the program has cleared O_NONBLOCK, before or after the connection moved to the loop, does no harm. If the loop
// waited in a raw system call, the next garbage collection would wait for it, and all goroutines for that.
func TestBlockingDescriptor(t *testing.T) {
	for _, network := range []string{"tcp", "unix", "tls"} {
		for _, when := range []string{"before", "after"} {
			t.Run(network+", "+when, func(t *testing.T) {
				near, far := connect(t, network)
				file := fileOf(t, near)
				if when == "before" {
					file.Fd() // this clears O_NONBLOCK
				}
				h := newHandler(near, nil)
				writable, got := make(chan struct{}, 1), make(chan int, 1000)
				h.received = func(p []byte) { got <- len(p) }
				h.writable = func() {
					select {
					case writable <- struct{}{}:
					default:
					}
				}
				h.Start()
				if when == "after" {
					file.Fd()
				}
				wrote := make(chan error)
				go func() { wrote <- h.write(noise(8<<20), writable) }()
				total := 0
				for _, n := range []int{1, 64 << 10, 128 << 10} { // a read that fills the buffer is followed by another
					far.Write(noise(n))
					for total += n; total > 0; {
						total -= <-got
					}
					runtime.GC()
				}
				_, err := io.ReadFull(far, make([]byte, 8<<20))
				require.NoError(t, err)
				require.NoError(t, <-wrote)
				far.Close()
				h.wantsEnd(t, io.EOF)
			})
		}
	}
}

func fileOf(t *testing.T, c net.Conn) *os.File {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	file, err := c.(interface{ File() (*os.File, error) }).File()
	require.NoError(t, err)
	t.Cleanup(func() { file.Close() })
	return file
}
