package dialh2

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// stream is a stream of an HTTP/2 connection as a net.Conn. What is written goes through a pipe, whose other end is the body of the request.
type stream struct {
	request  net.Conn      // the end that package http2 reads
	pipe     net.Conn      // the end that is written
	response io.ReadCloser // the body of the response

	mu   sync.Mutex
	conn net.Conn // the connection, which all its streams share; guarded by mu; nil: unknown
}

func newStream() *stream {
	s := new(stream)
	s.request, s.pipe = net.Pipe()
	return s
}

func (s *stream) setConn(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = conn
}

// metOtherProtocol reports whether the server has answered the connection without TLS in HTTP/1. With TLS, both sides agree on a protocol before.
func (s *stream) metOtherProtocol() bool {
	plain, ok := s.connection().(*plainConn)
	return ok && plain.r.otherProtocol.Load()
}

func (s *stream) Read(p []byte) (int, error) { return s.response.Read(p) }

// Write returns when package http2 has taken p. It fails when the stream has ended, or was reset.
func (s *stream) Write(p []byte) (int, error) { return s.pipe.Write(p) }

// CloseWrite sends END_STREAM.
func (s *stream) CloseWrite() error { return s.pipe.Close() }

// closePatience bounds how long Close waits for the reset to be written. It is written later if the connection is congested.
const closePatience = time.Second

// Close resets the stream, unless both sides have ended it.
func (s *stream) Close() error {
	if s.response != nil {
		closed := make(chan struct{})
		go func() { // it ends with the connection at the latest
			defer close(closed)
			_ = s.response.Close()
		}()
		patience := time.NewTimer(closePatience)
		defer patience.Stop()
		select {
		case <-closed:
		case <-patience.C:
		}
	}
	return s.pipe.Close()
}

func (s *stream) LocalAddr() net.Addr {
	if conn := s.connection(); conn != nil {
		return conn.LocalAddr()
	}
	return s.pipe.LocalAddr()
}

func (s *stream) RemoteAddr() net.Addr {
	if conn := s.connection(); conn != nil {
		return conn.RemoteAddr()
	}
	return s.pipe.RemoteAddr()
}

func (s *stream) connection() net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn
}

func (s *stream) SetDeadline(t time.Time) error {
	_ = s.SetWriteDeadline(t)
	return s.SetReadDeadline(t)
}

// SetReadDeadline returns os.ErrNoDeadline, unless t is zero.
func (s *stream) SetReadDeadline(t time.Time) error {
	if t.IsZero() {
		return nil
	}
	return os.ErrNoDeadline
}

func (s *stream) SetWriteDeadline(t time.Time) error { return s.pipe.SetWriteDeadline(t) }
