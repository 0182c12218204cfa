//go:build unix

package park

import (
	"io"
	"net"
	"syscall"
)

// rawConn reads and writes a non-blocking descriptor that is in the runtime's poller. It takes a buffer only when there is something
// to read. readFn and writeFn are allocated once: a closure for each call of RawConn would be an allocation for each call.
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

// newRawConn returns nil unless c is a socket of the operating system and nothing else.
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

// read waits for bytes and returns a pooled buffer that begins with n of them, or an error.
func (r *rawConn) read() (b *[largeBuffer]byte, n int, err error) {
	err = r.conn.Read(r.readFn)
	b, n, readErr := r.got, r.n, r.readErr
	r.got, r.n, r.readErr = nil, 0, nil
	if err == nil {
		err = readErr
	}
	return b, n, err
}

// readOnce returns false, and keeps no buffer, if there is nothing to read: RawConn.Read then waits. It must try to read first, since
// the runtime's poller is edge-triggered and the edge may have come before the wait.
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

// TryWrite writes as much of p as the kernel takes at once, to a connection that no [Conn] owns yet. Like [Conn.TryWrite], it returns
// the number of bytes written, and ErrWouldBlock if that is not all.
func TryWrite(c net.Conn, p []byte) (int, error) {
	if d, ok := c.(*DetachedConn); ok {
		return d.tryWrite(p)
	}
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
