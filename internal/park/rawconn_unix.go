//go:build unix

package park

import (
	"io"
	"net"
	"syscall"
)

// rawConn reads and writes a non-blocking descriptor under the runtime's poller. The two closures are made
// once: passing a fresh one to RawConn would allocate for every call.
type rawConn struct {
	conn syscall.RawConn

	// Owned by the reader.
	readFn  func(fd uintptr) bool
	got     *[largeBuffer]byte
	n       int
	readErr error

	// Owned by the writer.
	writeFn  func(fd uintptr) bool
	out      []byte
	wrote    int
	writeErr error
}

// newRawConn returns nil unless c is a stream socket of the operating system's and nothing else.
func newRawConn(c net.Conn) *rawConn {
	if !isSocket(c) {
		return nil
	}
	conn, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil
	}
	if conn.Control(setNonblock) != nil {
		return nil
	}
	r := &rawConn{conn: conn}
	r.readFn = r.readOnce
	r.writeFn = r.writeOnce
	return r
}

// unblock makes a descriptor one that does not block, as those of package net are until the program takes one out with File and Fd.
func setNonblock(fd uintptr) { _ = syscall.SetNonblock(int(fd), true) }

// read waits for bytes and returns a borrowed buffer that begins with them, or an error.
func (r *rawConn) read() (*[largeBuffer]byte, int, error) {
	err := r.conn.Read(r.readFn)
	b, n, readErr := r.got, r.n, r.readErr
	r.got, r.n, r.readErr = nil, 0, nil
	if err == nil {
		err = readErr
	}
	return b, n, err
}

// readOnce returns false, without a buffer, when there is nothing to read: the runtime's poller then waits. It
// has to try first, since an edge that came before the wait would be lost.
func (r *rawConn) readOnce(fd uintptr) bool {
	b := largeBuffers.Get().(*[largeBuffer]byte)
	for {
		n, errno := readSocket(int(fd), b[:])
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == syscall.EAGAIN:
			largeBuffers.Put(b)
			return false
		case errno != 0:
			r.readErr = errno
		case n == 0:
			r.readErr = io.EOF
		default:
			r.got, r.n = b, n
			return true
		}
		largeBuffers.Put(b)
		return true
	}
}

func (r *rawConn) write(p []byte) (int, error) {
	r.out, r.wrote, r.writeErr = p, 0, nil
	err := r.conn.Write(r.writeFn)
	r.out = nil
	if err == nil {
		err = r.writeErr
	}
	return r.wrote, err
}

func (r *rawConn) writeOnce(fd uintptr) bool {
	r.wrote, r.writeErr = writeFD(int(fd), r.out)
	return true
}

// TryWrite writes as much of p as goes at once, to a connection that is not parked yet. Like [Conn.TryWrite] it returns
// ErrWouldBlock with the number of bytes that did go out.
func TryWrite(c net.Conn, p []byte) (int, error) {
	if !isSocket(c) {
		return 0, ErrWouldBlock
	}
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, err
	}
	n, failed := 0, error(nil)
	if err := raw.Write(func(fd uintptr) bool {
		n, failed = writeFD(int(fd), p)
		return true
	}); err != nil {
		return 0, err
	}
	return n, failed
}

// writeFD writes as much of p as goes without waiting, which mostly is all at once.
func writeFD(fd int, p []byte) (int, error) {
	n, errno := writeSocket(fd, p)
	if n == len(p) && errno == 0 {
		return n, nil
	}
	return continueWrite(fd, p, n, errno)
}

// writeOn is writeFD after a first write has had that result.
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

func isSocket(c net.Conn) bool {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}
