package edgews

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// NetConn returns s as a [net.Conn], to carry a stream protocol. Each Write is sent as a message of the given kind; Read returns the data
// of the received messages one after the other, without their boundaries. If s has not been accepted, its first use accepts it, as
// Receive does.
//
// Read returns [io.EOF] after a clean close with 1000, 1001 or no code. A message of another kind closes the socket with 1003. Write
// waits for room in the queue, as [Socket.Write] does. Deadlines work as net.Conn documents: they may be changed at any time, a call
// that passes one returns [os.ErrDeadlineExceeded], and the connection can be used again afterwards. Close sends Close 1000 and does
// not wait. LocalAddr and RemoteAddr are those of s: see [Socket.RemoteAddr].
//
// Reads and writes may run at the same time. Concurrent reads run one after the other, and so do concurrent writes.
func NetConn(s *Socket, kind Kind) net.Conn {
	return &netConn{s: s, kind: kind, readDeadline: newDeadline(), writeDeadline: newDeadline(), readToken: make(chan struct{}, 1)}
}

type netConn struct {
	s    *Socket
	kind Kind

	readDeadline, writeDeadline *deadline

	// readToken has one element while a Read runs. A mutex would stop the clock of a synctest bubble while a Read waits for another.
	readToken chan struct{}
	// Guarded by readToken.
	message io.Reader // the message that is being read; nil: none
}

func (c *netConn) Read(p []byte) (int, error) {
	select {
	case c.readToken <- struct{}{}:
	case <-c.readDeadline.Done():
		return 0, c.readDeadline.Err()
	}
	defer func() { <-c.readToken }()
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if err := c.nextMessage(); err != nil {
			return 0, c.readError(err)
		}
		n, err := c.message.Read(p)
		if err == io.EOF {
			c.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, c.readError(err)
		}
	}
}

// nextMessage receives a message unless one is being read. The caller has readToken.
func (c *netConn) nextMessage() error {
	if c.message != nil {
		return nil
	}
	kind, r, err := c.s.NextReader(c.readDeadline)
	if err != nil {
		return err
	}
	if kind != c.kind {
		_ = c.s.Close(StatusUnsupportedData, fmt.Sprintf("only %s messages are understood", c.kind))
		return fmt.Errorf("edgews: received a %s message on a NetConn for %s", kind, c.kind)
	}
	c.message = r
	return nil
}

// readError returns err, or io.EOF instead of it after a clean close.
func (c *netConn) readError(err error) error {
	if err != nil && endedWell(err) {
		return io.EOF
	}
	return err
}

func (c *netConn) Write(p []byte) (int, error) {
	err := c.s.Write(c.writeDeadline, c.kind, p)
	if errors.Is(err, ErrClosed) {
		return 0, fmt.Errorf("%w: %w", net.ErrClosed, err)
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *netConn) Close() error {
	c.s.mu.Lock()
	c.s.acceptForPullLocked()
	c.s.mu.Unlock()
	c.readDeadline.expire(net.ErrClosed)
	c.writeDeadline.expire(net.ErrClosed)
	if err := c.s.Close(StatusNormalClosure, ""); err != nil && !errors.Is(err, ErrClosed) {
		return err
	}
	return nil
}

func (c *netConn) LocalAddr() net.Addr  { return c.s.LocalAddr() }
func (c *netConn) RemoteAddr() net.Addr { return c.s.RemoteAddr() }

func (c *netConn) SetDeadline(t time.Time) error {
	c.readDeadline.set(t)
	c.writeDeadline.set(t)
	return nil
}

func (c *netConn) SetReadDeadline(t time.Time) error {
	c.readDeadline.set(t)
	return nil
}

func (c *netConn) SetWriteDeadline(t time.Time) error {
	c.writeDeadline.set(t)
	return nil
}
