//go:build !unix

package park

import "net"

// rawConn does not exist here: every connection is read and written through its methods.
type rawConn struct{}

func newRawConn(net.Conn) *rawConn { return nil }

func (*rawConn) read() (*[largeBuffer]byte, int, error) { return nil, 0, ErrWouldBlock }

func (*rawConn) write([]byte) (int, error) { return 0, ErrWouldBlock }

// TryWrite leaves everything to the connection's methods.
func TryWrite(net.Conn, []byte) (int, error) { return 0, ErrWouldBlock }
