//go:build !unix

package park

import "net"

// rawConn is unused on this system: every connection is read and written through the methods of net.Conn.
type rawConn struct{}

func newRawConn(net.Conn) *rawConn { return nil }

func (*rawConn) read() (*[largeBuffer]byte, int, error) { return nil, 0, ErrWouldBlock }

func (*rawConn) write([]byte) (int, error) { return 0, ErrWouldBlock }

// TryWrite writes nothing on this system.
func TryWrite(net.Conn, []byte) (int, error) { return 0, ErrWouldBlock }
