//go:build !edgews_noloop

package park

import (
	"io"
	"net"
	"syscall"
)

// OnLoop reports whether the loop reads the connection. It does so for plain sockets from Start on.
func (c *Conn) OnLoop() bool { return c.offLoop.Load() == nil }

// The flags of splice(2).
const (
	spliceMove     = 1
	spliceNonblock = 2
)

// SpliceTo moves up to n bytes that have arrived into a pipe, in the connection's turn, without copying them. Like reading, it fails
// with io.EOF at the end, and with ErrWouldBlock if there is nothing to read. The pipe must have room. The connection must be on the
// loop.
func (c *Conn) SpliceTo(pipe, n int) (int, error) {
	for {
		moved, err := syscall.Splice(int(c.fd), nil, pipe, nil, n, spliceMove|spliceNonblock)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return 0, ErrWouldBlock
		case err != nil:
			return 0, err
		case moved == 0:
			return 0, io.EOF
		default:
			return int(moved), nil
		}
	}
}

// SpliceFrom is TryWrite for n bytes that are in a pipe. The connection must be on the loop.
func (c *Conn) SpliceFrom(pipe, n int) (int, error) {
	if !c.acquireFD() {
		return 0, net.ErrClosed
	}
	defer c.releaseFD()
	sent := 0
	for sent < n {
		moved, err := syscall.Splice(pipe, nil, int(c.fd), nil, n-sent, spliceMove|spliceNonblock)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return sent, c.awaitWritable()
		case err != nil:
			return sent, err
		case moved == 0:
			return sent, io.ErrUnexpectedEOF
		default:
			sent += int(moved)
		}
	}
	return sent, nil
}

// awaitWritable has Writable called when there is room to write, and returns ErrWouldBlock. EPOLL_CTL_MOD makes the kernel check the
// socket again, so an edge that came before it is not missed. The caller uses the descriptor.
func (c *Conn) awaitWritable() error {
	if err := loopOf(c.fd).register(c, syscall.EPOLL_CTL_MOD, syscall.EPOLLIN|syscall.EPOLLOUT); err != nil {
		return err
	}
	return ErrWouldBlock
}

// loopDiscardOnClose makes closing the descriptor reset the connection.
func (c *Conn) loopDiscardOnClose() {
	c.loopWithFD(func(fd int32) {
		_ = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	})
}
