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
	got     *Buffer
	readErr error

	// Owned by the writer.
	writeFn  func(fd uintptr) bool
	out      []byte
	wrote    int
	writeErr error
}

func newRawConn(c net.Conn) *rawConn {
	conn := socketOf(c)
	if conn == nil {
		return nil
	}
	r := &rawConn{conn: conn}
	r.readFn = r.readOnce
	r.writeFn = r.writeOnce
	return r
}

func (r *rawConn) read() (*Buffer, error) {
	err := r.conn.Read(r.readFn)
	b, readErr := r.got, r.readErr
	r.got, r.readErr = nil, nil
	if err == nil {
		err = readErr
	}
	if err != nil && b != nil {
		b.Release()
		b = nil
	}
	return b, err
}

// readOnce returns false, without a buffer, when there is nothing to read: the runtime's poller then waits. It
// has to try first, since an edge that came before the wait would be lost.
func (r *rawConn) readOnce(fd uintptr) bool {
	b := borrow(largeBuffer)
	for {
		n, err := syscall.Read(int(fd), b.storage)
		switch {
		case n > 0:
			b.n = n
			r.got = b
			return true
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			b.Release()
			return false
		case err == nil:
			err = io.EOF
		}
		b.Release()
		r.readErr = err
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
	for r.wrote < len(r.out) {
		n, err := syscall.Write(int(fd), r.out[r.wrote:])
		switch {
		case n > 0:
			r.wrote += n
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			r.writeErr = ErrWouldBlock
			return true
		default:
			r.writeErr = err
			return true
		}
	}
	return true
}
