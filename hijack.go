package edgews

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"reflect"
	"time"
)

// Connections change hands here: net/http has carried the handshake, and from now on the connection is ours.
// What it has read ahead comes along; its buffers, its request and its context stay behind for the garbage
// collector.

// answered returns why w can take no answer any more, or nil. A Hijack after WriteHeader would succeed, and send both answers. Only
// net/http knows, and has no method that tells: its fields do. Of a ResponseWriter that is not net/http's, nothing is known.
func answered(w http.ResponseWriter) *HandshakeError {
	v := reflect.ValueOf(innermost(w))
	if v.Kind() != reflect.Pointer || v.IsNil() || !isPackageOfHTTP(v.Type().Elem().PkgPath()) {
		return nil
	}
	switch v = v.Elem(); {
	case flag(v, "wroteHeader"):
		return &HandshakeError{Detail: "the answer has begun already: call Upgrade before WriteHeader and Write"}
	case flag(v, "conn", "hijackedv"):
		return &HandshakeError{Detail: "the connection was taken over already", Err: http.ErrHijacked}
	}
	return nil
}

func isPackageOfHTTP(path string) bool { return path == "net/http" || path == "net/http/httptest" }

// flag returns the bool at a path of fields, in structs and pointers to structs, or false if there is none.
func flag(v reflect.Value, path ...string) bool {
	for _, name := range path {
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			return false
		}
		v = v.FieldByName(name)
	}
	return v.Kind() == reflect.Bool && v.Bool()
}

// takeOver hijacks a server's connection, through any wrappers of w that have an Unwrap method.
func takeOver(w http.ResponseWriter) (conn net.Conn, buffered []byte, refused *HandshakeError) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, hijackError(w, err)
	}
	// Server.ReadTimeout and WriteTimeout may have left deadlines. A connection that cannot clear them is
	// dead, and the first write will say so.
	_ = conn.SetDeadline(time.Time{})
	if rw != nil {
		buffered = readAhead(rw.Reader)
	}
	return conn, buffered, nil
}

// readAhead copies what r has buffered, so that r is not kept for the sake of a few bytes.
func readAhead(r *bufio.Reader) []byte {
	if r == nil || r.Buffered() == 0 {
		return nil
	}
	ahead, _ := r.Peek(r.Buffered())
	return bytes.Clone(ahead)
}

// hijackError says whose fault it is that there is no connection to be had.
func hijackError(w http.ResponseWriter, err error) *HandshakeError {
	if !errors.Is(err, http.ErrNotSupported) {
		return &HandshakeError{StatusCode: http.StatusInternalServerError, Detail: "cannot take the connection over", Err: err}
	}
	return &HandshakeError{
		StatusCode: http.StatusInternalServerError,
		Detail: fmt.Sprintf("%T cannot hand over its connection: if it wraps another ResponseWriter, add Unwrap() http.ResponseWriter to it, or keep it off this route",
			innermost(w)),
		Err: err,
	}
}

// innermost returns the wrapper at which unwrapping ends.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = u.Unwrap()
	}
}

// adopt takes over the connection of a 101 answer. The answer's body is the only thing net/http hands out, and a
// body has neither deadlines nor a file descriptor; the connection below has both. Which one that is, net/http's body itself tells.
//
// A body from anybody but net/http stays in the path: its author may count, limit or record what passes through. traced is
// the connection below it, for its deadlines and addresses, or nil if that is not known.
func adopt(resp *http.Response, traced net.Conn) (conn net.Conn, buffered []byte, err error) {
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

// transportConn returns the connection in a body of net/http's own: buffered bytes first, then the bare connection, which
// it embeds as an io.ReadWriteCloser. Should that ever change, it is traced.
func transportConn(body io.ReadWriteCloser, traced net.Conn) (net.Conn, bool) {
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

// hasDeadlines says whether the deadlines of conn are known to work. Those of a net.Conn that came out of the
// user's dialer may do nothing, and then drain would wait for the peer.
func hasDeadlines(conn net.Conn) bool {
	switch conn := conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	case *tls.Conn:
		return hasDeadlines(conn.NetConn())
	}
	return false
}

// drain returns what net/http, or TLS, has already read from conn. With a deadline in the past body gives only that
// and the network is not touched. Nothing is lost: a read time-out is not final, neither for TCP nor for TLS. Any
// other error is for the socket's first read to find.
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

// bodyConn is the body of a 101 answer as a connection. Its deadlines are those of the connection below, if
// there is one; otherwise it has none.
type bodyConn struct {
	io.ReadWriteCloser
	below net.Conn // may be nil
}

// LocalAddr returns our address, or a placeholder if the body is not a network connection.
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

// bodyAddr is the address of a body that came out of no network connection.
type bodyAddr struct{}

func (bodyAddr) Network() string { return "http" }
func (bodyAddr) String() string  { return "response body" }
