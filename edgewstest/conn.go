package edgewstest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Conn is one end of a connection in memory. It behaves like a TCP connection: each direction has a buffer, a Write waits only when
// that is full, deadlines work, CloseWrite ends one direction, and after Close the other end still reads what had been written. Its
// methods may be called from any goroutine at any time, and inside a synctest bubble their waiting lets time pass. Unlike TCP, closing an end
// that has not read everything does not reset the connection.
//
// Each direction is a [Flow], which can be given [Faults].
type Conn struct {
	in, out       *Flow
	local, remote net.Addr
	closed        chan struct{} // closed by Close
	onClose       func()        // called once by Close; may be nil
}

var _ net.Conn = (*Conn)(nil)

// Pipe returns the two ends of a connection.
func Pipe() (client, server *Conn) {
	return newConns(clientAddr(1), serverAddr)
}

// serverAddr is the address of every server in memory. 192.0.2.0/24 is reserved for documentation (RFC 5737).
var serverAddr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 80}

// clientAddr returns the address of the n-th client.
func clientAddr(n int) net.Addr {
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1024 + n%60000}
}

// newConns returns the two ends of a connection. client is the local address of the first and the remote address of the second.
func newConns(client, server net.Addr) (a, b *Conn) {
	l := &link{broken: make(chan struct{})}
	l.changed.L = &l.mu
	for i := range l.flows {
		l.flows[i].init(l)
	}
	there, back := &l.flows[0], &l.flows[1]
	a = &Conn{in: back, out: there, local: client, remote: server, closed: make(chan struct{})}
	b = &Conn{in: there, out: back, local: server, remote: client, closed: make(chan struct{})}
	return a, b
}

// Incoming returns the direction that this end reads. It is the other end's Outgoing.
func (c *Conn) Incoming() *Flow { return c.in }

// Outgoing returns the direction that this end writes.
func (c *Conn) Outgoing() *Flow { return c.out }

// Read reads what the other end has written. After the other end's Close or CloseWrite it returns io.EOF.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.readBytes(p)
	return n, c.opError("read", err)
}

// Write writes p. It waits while the buffer of the direction is full, for at most as long as the deadline allows.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.writeBytes(p)
	return n, c.opError("write", err)
}

// Close closes this end. The other end can read what was written before. Calling it again does nothing.
func (c *Conn) Close() error {
	l := c.out.link
	l.mu.Lock()
	if c.in.readerClosed {
		l.mu.Unlock()
		return nil
	}
	lost := c.out.isDroppingLocked() // the other end does not notice
	c.out.closeWriterLocked()
	c.in.closeReaderLocked(lost)
	close(c.closed)
	l.changed.Broadcast()
	l.mu.Unlock()
	if c.onClose != nil {
		c.onClose()
	}
	return nil
}

// CloseWrite ends the direction that this end writes: the other end reads io.EOF behind what was written, as after a FIN of TCP.
func (c *Conn) CloseWrite() error {
	l := c.out.link
	l.mu.Lock()
	defer l.mu.Unlock()
	c.out.closeWriterLocked()
	l.changed.Broadcast()
	return nil
}

// Cut ends the connection in both directions. Each end can read what the other had written, and then reads io.EOF; writing returns
// syscall.EPIPE. Both ends still have to be closed.
func (c *Conn) Cut() {
	l := c.out.link
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cutLocked()
}

// Reset ends the connection at once, as a RST of TCP does: what has not been read is lost, also what is held by a fault, and both ends
// get syscall.ECONNRESET from reading and writing. Both ends still have to be closed.
func (c *Conn) Reset() { c.out.link.reset(nil) }

// LocalAddr returns the address of this end.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address of the other end.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.readDeadline, t)
	c.out.setDeadline(&c.out.writeDeadline, t)
	return nil
}

// SetReadDeadline sets the time at which reading returns os.ErrDeadlineExceeded. The zero time means never.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.readDeadline, t)
	return nil
}

// SetWriteDeadline sets the time at which writing returns os.ErrDeadlineExceeded. The zero time means never.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(&c.out.writeDeadline, t)
	return nil
}

// opError returns err as package net returns it.
func (c *Conn) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if errno, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(op, errno)
	}
	return &net.OpError{Op: op, Net: "memory", Source: c.local, Addr: c.remote, Err: err}
}

// link is what the two ends of a connection share.
type link struct {
	mu      sync.Mutex
	changed sync.Cond     // with mu; broadcast whenever something may have changed for a waiting Read or Write
	broken  chan struct{} // closed when the connection is cut or reset

	// Guarded by mu.
	flows    [2]Flow
	wasReset bool
}

// wake lets waiting calls look at the clock.
func (l *link) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed.Broadcast()
}

// cutLocked ends both directions, behind what has been written. mu must be held.
func (l *link) cutLocked() {
	for i := range l.flows {
		l.flows[i].endLocked(io.EOF, syscall.EPIPE)
	}
	l.breakLocked()
}

// hangUp cuts the connection through all faults.
func (l *link) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.flows {
		l.flows[i].hurryLocked()
	}
	l.cutLocked()
}

// reset ends both directions as resetLocked does.
func (l *link) reset(keep *Flow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.resetLocked(keep)
}

// resetLocked ends both directions with ECONNRESET, and drops what has not been read. The bytes of keep can still be read; it may be
// nil. mu must be held.
func (l *link) resetLocked(keep *Flow) {
	l.wasReset = true
	for i := range l.flows {
		f := &l.flows[i]
		if f != keep {
			f.discardLocked()
		}
		f.readerEnd, f.writerEnd = nil, nil // an io.EOF that has not been read yet is lost too
		f.endLocked(syscall.ECONNRESET, syscall.ECONNRESET)
	}
	l.breakLocked()
}

// breakLocked notes that the connection has ended in both directions. mu must be held.
func (l *link) breakLocked() {
	select {
	case <-l.broken:
	default:
		close(l.broken)
	}
	l.changed.Broadcast()
}
