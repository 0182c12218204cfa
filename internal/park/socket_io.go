//go:build unix

package park

import (
	"net"
	"syscall"
)

// isSocket reports whether c is a socket of the operating system and nothing else: bytes may be read and written directly.
func isSocket(c net.Conn) bool {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// setNonblock sets O_NONBLOCK, which package net sets too. But the program clears it if it calls File on the connection and Fd on the
// result.
func setNonblock(fd uintptr) { _ = syscall.SetNonblock(int(fd), true) }

// writeFD writes as much of p as the kernel takes without waiting, which is mostly all of it.
func writeFD(fd int, p []byte) (int, error) {
	n, errno := writeSocket(fd, p)
	if n == len(p) && errno == 0 {
		return n, nil
	}
	return continueWrite(fd, p, n, errno)
}

// continueWrite is the rest of writeFD after a first write has returned n and errno.
func continueWrite(fd int, p []byte, n int, errno syscall.Errno) (int, error) {
	sent := 0
	for {
		switch errno {
		case 0:
			if sent += n; sent == len(p) {
				return sent, nil
			}
		case syscall.EINTR:
		case syscall.EAGAIN:
			return sent, ErrWouldBlock
		default:
			return sent, errno
		}
		n, errno = writeSocket(fd, p[sent:])
	}
}
