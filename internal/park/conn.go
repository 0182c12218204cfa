// Package park holds the network side of a socket: a connection that waits without a buffer of its own where the
// platform allows it, and that can be written without blocking.
package park

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// ErrWouldBlock: the kernel has no room for more, or this kind of connection cannot tell.
var ErrWouldBlock = errors.New("park: write would block")

const (
	// smallBuffer is what a connection that has to read in order to wait holds meanwhile.
	smallBuffer = 4 << 10
	// largeBuffer is borrowed from the pool only while there is something to read.
	largeBuffer = 32 << 10
)

// Conn is a network connection as the socket layer uses it. One goroutine at a time may read, another one may
// write.
type Conn struct {
	net.Conn
	raw *rawConn // nil: not a socket of the operating system's

	// Owned by the reader.
	size int
}

// New wraps c. TCP and Unix connections wait without a buffer and write without blocking; TLS connections,
// pipes and everything else are read and written through their methods.
func New(c net.Conn) *Conn {
	return &Conn{Conn: c, raw: newRawConn(c), size: smallBuffer}
}

// Buffer is what ReadBuffer read. Release it when the bytes have been dealt with.
type Buffer struct {
	storage []byte
	n       int
}

// Bytes returns what was read. The caller may change it.
func (b *Buffer) Bytes() []byte { return b.storage[:b.n] }

// Release gives the buffer back to the pool.
func (b *Buffer) Release() {
	if len(b.storage) == largeBuffer {
		largeBuffers.Put(b)
	} else {
		smallBuffers.Put(b)
	}
}

var (
	largeBuffers = sync.Pool{New: func() any { return &Buffer{storage: make([]byte, largeBuffer)} }}
	smallBuffers = sync.Pool{New: func() any { return &Buffer{storage: make([]byte, smallBuffer)} }}
)

func borrow(size int) *Buffer {
	if size == largeBuffer {
		return largeBuffers.Get().(*Buffer)
	}
	return smallBuffers.Get().(*Buffer)
}

// ReadBuffer waits for bytes and returns them in a borrowed buffer. With an error there is no buffer.
func (c *Conn) ReadBuffer() (*Buffer, error) {
	if c.raw != nil {
		return c.raw.read()
	}
	b := borrow(c.size)
	for {
		n, err := c.Conn.Read(b.storage)
		if n > 0 {
			b.n = n
			c.adapt(n)
			return b, nil
		}
		if err != nil {
			b.Release()
			return nil, err
		}
	}
}

// adapt chooses the next buffer: large for a connection whose bytes fill it, small for one that mostly waits.
func (c *Conn) adapt(n int) {
	if n >= smallBuffer {
		c.size = largeBuffer
	} else {
		c.size = smallBuffer
	}
}

// TryWrite writes as much of p as the kernel takes at once, in one system call when it takes all.
// It returns ErrWouldBlock together with the number of bytes that did go out.
func (c *Conn) TryWrite(p []byte) (int, error) {
	if c.raw == nil {
		return 0, ErrWouldBlock
	}
	return c.raw.write(p)
}

// Interrupt makes a read that waits, and every later one, return an error until Resume is called. A connection
// that has no deadlines is closed.
func (c *Conn) Interrupt() {
	if c.SetReadDeadline(time.Unix(1, 0)) != nil {
		go c.Close() // closing may wait, for instance to say goodbye in TLS
	}
}

// Resume undoes Interrupt.
func (c *Conn) Resume() { _ = c.SetReadDeadline(time.Time{}) }

// CloseWrite tells the peer that nothing more will come (TCP FIN, TLS close_notify). Where there is no such
// thing it does nothing.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// HalfCloses reports whether CloseWrite can tell the peer anything.
func (c *Conn) HalfCloses() bool {
	_, ok := c.Conn.(interface{ CloseWrite() error })
	return ok
}

// socketOf returns the raw access to c if c is a stream socket of the operating system's and nothing else.
func socketOf(c net.Conn) syscall.RawConn {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		raw, err := c.(syscall.Conn).SyscallConn()
		if err == nil {
			return raw
		}
	}
	return nil
}
