package handshake

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"reflect"
	"time"
)

// Adopt takes over the connection of resp, a 101. net/http hands out its body alone, which has neither deadlines nor a file descriptor.
// The connection below has both, and net/http's body says which one it is.
//
// Any other body, as of a RoundTripper that counts, limits or records the traffic, is used as the connection. traced is the
// connection below it, for its deadlines and addresses, or nil if that is unknown.
//
// buffered is what was read from the connection behind the response; the caller owns it. Without an error resp.Body is http.NoBody afterwards.
func Adopt(resp *http.Response, traced net.Conn) (conn net.Conn, buffered []byte, err error) {
	body, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		resp.Body.Close()
		return nil, nil, fmt.Errorf("the answer's body is a %T, to which nothing can be written: the RoundTripper has to pass the body of a 101 on", resp.Body)
	}
	resp.Body = http.NoBody
	if conn, ok := body.(net.Conn); ok {
		return conn, nil, nil
	}
	if below, ok := transportConn(body, traced); ok {
		if hasDeadlines(below) {
			buffered, err = drain(body, below)
			return below, buffered, err
		}
		traced = below
	}
	return &bodyConn{body, traced}, nil, nil
}

// transportConn returns the connection in a body of net/http's own type, which reads buffered bytes first and then the connection that it
// embeds as an io.ReadWriteCloser. Should a version of Go change that, the connection is traced. ok is false if there is none, or if
// the body is of another type.
func transportConn(body io.ReadWriteCloser, traced net.Conn) (conn net.Conn, ok bool) {
	v := reflect.ValueOf(body)
	if v.Kind() != reflect.Pointer || v.Type().Elem().PkgPath() != "net/http" || v.Elem().Kind() != reflect.Struct {
		return nil, false
	}
	if f := v.Elem().FieldByName("ReadWriteCloser"); f.IsValid() && f.CanInterface() {
		if conn, ok := f.Interface().(net.Conn); ok {
			return conn, true
		}
	}
	return traced, traced != nil
}

// hasDeadlines reports whether the deadlines of conn are known to work. Those of another net.Conn, from the user's dialer, may do
// nothing; drain would then wait for the peer.
func hasDeadlines(conn net.Conn) bool {
	switch conn := conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	case *tls.Conn:
		return hasDeadlines(conn.NetConn())
	}
	return false
}

// drain returns what net/http, or TLS, has already read from conn. With a deadline in the past, body returns only that and reads
// nothing from the network. Nothing is lost: neither TCP nor TLS treats a read time-out as final. Any other error comes again with the
// socket's first read.
func drain(body io.Reader, conn net.Conn) (buffered []byte, err error) {
	if err := conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return nil, err
	}
	chunk := make([]byte, 4<<10) // as much as http.Transport buffers by default
	for err == nil {
		var n int
		n, err = body.Read(chunk)
		buffered = append(buffered, chunk[:n]...)
	}
	return buffered, conn.SetReadDeadline(time.Time{})
}

// bodyConn is the body of a 101 as a connection. Its deadlines are those of the connection below; without one, setting a deadline
// returns os.ErrNoDeadline.
type bodyConn struct {
	io.ReadWriteCloser
	below net.Conn // may be nil
}

// LocalAddr returns the local address, or a placeholder if the body is not a network connection.
func (c *bodyConn) LocalAddr() net.Addr {
	if c.below == nil {
		return bodyAddr{}
	}
	return c.below.LocalAddr()
}

// RemoteAddr returns the peer's address, or a placeholder if the body is not a network connection.
func (c *bodyConn) RemoteAddr() net.Addr {
	if c.below == nil {
		return bodyAddr{}
	}
	return c.below.RemoteAddr()
}

// SetDeadline sets both deadlines.
func (c *bodyConn) SetDeadline(t time.Time) error {
	if c.below == nil {
		return os.ErrNoDeadline
	}
	return c.below.SetDeadline(t)
}

// SetReadDeadline bounds Read.
func (c *bodyConn) SetReadDeadline(t time.Time) error {
	if c.below == nil {
		return os.ErrNoDeadline
	}
	return c.below.SetReadDeadline(t)
}

// SetWriteDeadline bounds Write.
func (c *bodyConn) SetWriteDeadline(t time.Time) error {
	if c.below == nil {
		return os.ErrNoDeadline
	}
	return c.below.SetWriteDeadline(t)
}

// bodyAddr is the address of a body that is not known to be a network connection.
type bodyAddr struct{}

func (bodyAddr) Network() string { return "http" }
func (bodyAddr) String() string  { return "response body" }
