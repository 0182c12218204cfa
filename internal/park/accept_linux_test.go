//go:build !edgews_noloop

package park_test

import (
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/internal/park"
)

// acceptor is an AcceptHandler that starts a handler for each connection.
type acceptor struct {
	t        *testing.T
	received func(h *handler, p []byte)
	handlers chan *handler
	remotes  chan string

	mu     sync.Mutex
	failed []error
	retry  time.Duration // the result of AcceptFailed
}

func (a *acceptor) Accepted(c park.Accepted) {
	h := &handler{due: make(chan struct{}, 16), end: make(chan error, 1)}
	h.received = func(p []byte) { a.received(h, p) }
	a.remotes <- c.Remote.String()
	assert.NoError(a.t, h.StartAccepted(c, h))
	a.handlers <- h
}

func (a *acceptor) AcceptFailed(err error) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed = append(a.failed, err)
	return a.retry
}

// listen accepts connections on the loop until the test ends.
func listen(t *testing.T, received func(h *handler, p []byte)) (a *acceptor, ln *park.Listener, l *net.TCPListener) {
	t.Helper()
	needsLoop(t)
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	a = &acceptor{t: t, received: received, handlers: make(chan *handler, 100), remotes: make(chan string, 100)}
	ln, err = park.Listen(l, a)
	require.NoError(t, err)
	t.Cleanup(func() {
		ln.Close()
		l.Close()
	})
	return a, ln, l
}

func dialTCP(t *testing.T, l net.Listener) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

func TestListen(t *testing.T) {
	a, ln, l := listen(t, func(h *handler, p []byte) { assert.NoError(t, h.write(p, nil)) })
	var conns []*net.TCPConn
	for range 50 {
		conns = append(conns, dialTCP(t, l))
	}
	for _, c := range conns {
		wantsEcho(t, c, noise(1000))
	}
	remotes := make(map[string]bool)
	for _, c := range conns {
		remotes[<-a.remotes] = true
		require.NoError(t, c.Close())
	}
	for _, c := range conns {
		assert.True(t, remotes[c.LocalAddr().String()])
		(<-a.handlers).wantsEnd(t, io.EOF)
	}
	ln.Close()
	ln.Close()
	_, err := net.Dial("tcp", l.Addr().String())
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	loopEnds(t)
	assert.Empty(t, a.failed)
}

// Accepted sockets have the options that package net sets.
func TestListenOptions(t *testing.T) {
	a, _, l := listen(t, func(*handler, []byte) {})
	ours := dialTCP(t, l)
	<-a.handlers
	other, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer other.Close()
	theirs := dialTCP(t, other)
	accepted, err := other.Accept()
	require.NoError(t, err)
	defer accepted.Close()
	for name, option := range map[string][2]int{
		"no delay":   {syscall.IPPROTO_TCP, syscall.TCP_NODELAY},
		"keep-alive": {syscall.SOL_SOCKET, syscall.SO_KEEPALIVE},
		"idle":       {syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE},
		"interval":   {syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL},
		"count":      {syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT},
	} {
		got, err := syscall.GetsockoptInt(socketOf(t, ours), option[0], option[1])
		require.NoError(t, err)
		want, err := syscall.GetsockoptInt(socketOf(t, theirs), option[0], option[1])
		require.NoError(t, err)
		assert.Equal(t, want, got, name)
	}
}

// socketOf returns the descriptor of the socket, in this process, to which c is connected.
func socketOf(t *testing.T, c *net.TCPConn) int {
	t.Helper()
	port := c.LocalAddr().(*net.TCPAddr).Port
	for fd := range 2000 {
		if peer, err := syscall.Getpeername(fd); err == nil {
			if peer, ok := peer.(*syscall.SockaddrInet4); ok && peer.Port == port {
				return fd
			}
		}
	}
	require.FailNow(t, "no such socket")
	return -1
}

// detach takes the connection of a handler that has received something.
func detach(t *testing.T) (d *park.DetachedConn, far *net.TCPConn) {
	t.Helper()
	detached := make(chan *park.DetachedConn, 1)
	a, _, l := listen(t, func(h *handler, p []byte) {
		assert.Equal(t, "hello", string(p))
		h.readBuffer = func() ([]byte, bool) { return nil, false }
		detached <- h.Detach()
	})
	far = dialTCP(t, l)
	<-a.handlers
	_, err := far.Write([]byte("hello"))
	require.NoError(t, err)
	return <-detached, far
}

// A Conn that takes over a detached connection misses nothing that has happened meanwhile.
func TestTakeOver(t *testing.T) {
	for _, meanwhile := range []string{"nothing", "bytes", "the end", "bytes and the end", "a TCPConn", "a reset"} {
		t.Run(meanwhile, func(t *testing.T) {
			d, far := detach(t)
			assert.Equal(t, far.LocalAddr().String(), d.RemoteAddr().String())
			assert.Equal(t, far.RemoteAddr().String(), d.LocalAddr().String())
			n, err := park.TryWrite(d, []byte("answer"))
			require.NoError(t, err)
			assert.Equal(t, 6, n)
			wants(t, far, "answer")
			switch meanwhile {
			case "bytes":
				_, err = far.Write([]byte("more"))
			case "the end":
				err = far.CloseWrite()
			case "bytes and the end":
				_, err = far.Write([]byte("more"))
				require.NoError(t, err)
				err = far.CloseWrite()
			case "a TCPConn":
				err = d.SetWriteDeadline(time.Now().Add(patience))
			case "a reset":
				require.NoError(t, far.SetLinger(0))
				err = far.Close()
			}
			require.NoError(t, err)

			got := make(chan string, 10)
			h := newHandler(d, func(p []byte) { got <- string(p) })
			h.Start()
			if meanwhile == "bytes" || meanwhile == "bytes and the end" {
				assert.Equal(t, "more", <-got)
			}
			switch meanwhile {
			case "a reset":
				h.wantsEnd(t, syscall.ECONNRESET)
				return
			case "the end", "bytes and the end": // the handler closes the connection then
				h.wantsEnd(t, io.EOF)
				return
			}
			if meanwhile != "a TCPConn" {
				_, err = park.TryWrite(d, []byte("x"))
				assert.ErrorIs(t, err, net.ErrClosed)
				assert.ErrorIs(t, d.Close(), net.ErrClosed)
			}
			require.NoError(t, h.write([]byte("again"), nil))
			wants(t, far, "again")
			_, err = far.Write([]byte("last"))
			require.NoError(t, err)
			assert.Equal(t, "last", <-got)
			require.NoError(t, far.CloseWrite())
			h.wantsEnd(t, io.EOF)
		})
	}
}

func wants(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_, err := io.ReadFull(c, got)
	require.NoError(t, err)
	assert.Equal(t, want, string(got))
}

// A detached connection works as a net.Conn with deadlines.
func TestDetachedConn(t *testing.T) {
	d, far := detach(t)
	require.NoError(t, d.SetDeadline(time.Time{}))
	require.NoError(t, d.SetReadDeadline(time.Now().Add(-time.Second)))
	_, err := d.Read(make([]byte, 1))
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	assert.True(t, timeout.Timeout())
	require.NoError(t, d.SetReadDeadline(time.Time{}))
	_, err = far.Write([]byte("later"))
	require.NoError(t, err)
	wants(t, d, "later")
	_, err = d.Write([]byte("back"))
	require.NoError(t, err)
	wants(t, far, "back")
	n, err := park.TryWrite(d, []byte("at once"))
	require.NoError(t, err)
	assert.Equal(t, 7, n)
	wants(t, far, "at once")
	tcp, err := d.TCPConn()
	require.NoError(t, err)
	assert.Equal(t, far.LocalAddr().String(), tcp.RemoteAddr().String())
	assert.Equal(t, far.LocalAddr().String(), d.RemoteAddr().String())
	require.NoError(t, d.CloseWrite())
	_, err = far.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF)
	require.NoError(t, d.Close())
}

// Closing a detached connection that nothing has taken over closes its socket.
func TestDetachedConnClose(t *testing.T) {
	d, far := detach(t)
	require.NoError(t, d.Close())
	_, err := far.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF)
	assert.ErrorIs(t, d.Close(), net.ErrClosed)
	_, err = d.Write([]byte("x"))
	assert.ErrorIs(t, err, net.ErrClosed)
	_, err = d.TCPConn()
	assert.ErrorIs(t, err, net.ErrClosed)
	assert.NotNil(t, d.RemoteAddr())
	assert.NotNil(t, d.LocalAddr())
}

// A Conn for a detached connection can be closed before it is started.
func TestCloseBeforeTakeOver(t *testing.T) {
	d, far := detach(t)
	h := newHandler(d, func([]byte) {})
	h.Shutdown()
	_, err := far.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF)
}

// Close ends a Listener also while there are no descriptors left, so that accepting fails for another reason.
func TestListenerClosedWithoutDescriptors(t *testing.T) {
	a, ln, l := listen(t, func(*handler, []byte) {})
	a.mu.Lock()
	a.retry = time.Millisecond
	a.mu.Unlock()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	defer syscall.Close(fd)
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	restore := func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)) }
	defer restore()
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: limit.Max}))
	require.NoError(t, syscall.Connect(fd, &syscall.SockaddrInet4{Port: l.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}))
	failures := func() int {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.failed)
	}
	for late := time.Now().Add(patience); failures() < 3; time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(late), "accepting does not fail")
	}
	ln.Close()
	loopEnds(t)
}
