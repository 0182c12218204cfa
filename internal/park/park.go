// Package park holds the network side of a socket: connections that wait without a goroutine and without a buffer
// where the platform allows it, that tell their handler what happens on them, and that can be written without
// blocking.
//
// On Linux TCP and Unix connections leave the runtime's poller for an epoll loop of the process's own, and TLS connections
// over them wait there. Everything else, and everything on other platforms, is read by a goroutine. A handler sees no
// difference.
package park

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// ErrWouldBlock: the kernel has no room for more, or this kind of connection cannot tell.
var ErrWouldBlock = errors.New("park: write would block")

// Handler is told what happens on a connection. Room, Input, HungUp and Woken make up the connection's turn, which one
// goroutine at a time has. They may block, which holds up this connection only, and they may end their goroutine. Writable,
// Flush and Due are called at any time, also while the turn blocks, and must not block.
type Handler interface {
	// Room says where the next bytes are to be read to: nil is a buffer that lasts for one call of Input. With
	// ok false nothing is read until Wake is called. While a Read into it waits, Woken may be called: into must not be used for
	// anything else before the next call of Input, HungUp or Room.
	ReadBuffer() (into []byte, ok bool)
	// Input is told what has been read. It may change it. spare, unless it is nil, is a place of the goroutine that calls it, where
	// handlers may keep something for the next call of any Input there. Who takes it out owns it: it must leave nil behind.
	Received(p []byte, spare *any)
	// HungUp is told that nothing more will come: io.EOF, or what went wrong. The handler calls Close, now or, if it has something to
	// write, later in a turn. Until then Room says no.
	ReadEnded(err error)
	// Woken follows a call of Wake.
	Woken()
	// Writable follows a TryWrite that would have blocked, when there is room again. It may also be called for no reason.
	Writable()
	// Flush follows a Defer that returned true.
	Flush()
	// Due follows Alarm.
	TimerFired()
}

// Conn is a connection that is parked until something happens on it. Init comes before use; a Conn must not be copied. Its methods
// may be called from any goroutine.
type Conn struct {
	h Handler

	// stream is how a connection works that is not on the loop, or not yet.
	stream atomic.Pointer[stream]

	slot
}

// Init makes c ready for nc, which it owns from now on.
func (c *Conn) Init(nc net.Conn, h Handler) {
	c.h = h
	c.stream.Store(newStream(nc))
}

// Start begins to read. Until then nothing can be written.
func (c *Conn) Start() {
	s := c.stream.Load()
	if s.movable && c.moveToLoop(s.Conn) {
		return
	}
	s.start(c)
}

// Wake has Woken called soon. Several calls may become one.
func (c *Conn) Wake() {
	if s := c.stream.Load(); s != nil {
		s.wake(c)
		return
	}
	c.notify(pendingWake)
}

// TryWrite writes as much of p as the kernel takes at once. It returns ErrWouldBlock together with the number of bytes
// that did go out; Writable follows when there is room, if Waits says so. One goroutine at a time may write.
func (c *Conn) TryWrite(p []byte) (int, error) {
	if s := c.stream.Load(); s != nil {
		return s.tryWrite(c, p)
	}
	return c.loopWrite(p)
}

// Waits reports whether there is no need to wait for room to write: Writable tells. If not, use Blocking.
func (c *Conn) NotifiesWritable() bool {
	s := c.stream.Load()
	return s == nil || s.awaitsStart()
}

// Blocking returns the connection for writing with deadlines. It must not be used when Waits.
func (c *Conn) BlockingConn() net.Conn { return c.stream.Load().Conn }

// Alarm has Due called after d. An Alarm that is due earlier stays, and is the only one. Due may be late by a few hundredths of a
// second.
func (c *Conn) SetTimer(d time.Duration) {
	if s := c.stream.Load(); s != nil {
		s.setTimer(c, d)
		return
	}
	c.loopSetTimer(d)
}

// Defer reports whether a write had better wait, because more is about to be handled that may have to be written too. Flush
// is then called within about a millisecond.
func (c *Conn) DeferWrite() bool {
	if s := c.stream.Load(); s != nil {
		return s.deferWrite()
	}
	return c.loopDeferWrite()
}

// Hold says, in the connection's turn, that more is to be handled of what Input was told, or no longer.
func (c *Conn) Cork(more bool) {
	if s := c.stream.Load(); s != nil {
		s.cork(c, more)
		return
	}
	c.loopCork(more)
}

// Crowded reports, in the connection's turn, whether others wait for their turn behind it. What is sent had better wait for the end
// of the turn then: if that does not come within about a millisecond, Flush is called.
func (c *Conn) OthersWait() bool { return c.stream.Load() == nil && c.loopOthersWait() }

// HandOver says, in the connection's turn, that a goroutine has been given work and may now wait for the processor on which
// the turn is.
func (c *Conn) WorkHandedOff() {
	if c.stream.Load() == nil {
		c.loopWorkHandedOff()
	}
}

var processStart = time.Now()

// Now returns the time in milliseconds since the process started, modulo 2^32: times that lie less than 24 days apart can be
// compared. It is not 0.
func Now() uint32 { return max(uint32(time.Since(processStart)/time.Millisecond), 1) }

// Recently is Now in the connection's turn, or shortly before: it costs less.
func (c *Conn) CoarseNow() uint32 {
	if c.stream.Load() == nil {
		return c.loopNow()
	}
	return Now()
}

// CloseWrite tells the peer that nothing more will come (TCP FIN, TLS close_notify). Where that cannot be said the
// connection is cut.
func (c *Conn) CloseWrite() {
	if s := c.stream.Load(); s != nil {
		s.closeWrite(closeWriteTimeout)
		return
	}
	c.loopShutdown(false)
}

// lastWords is how long saying goodbye may take.
const closeWriteTimeout = time.Second

// Cut ends the connection both ways. The handler is told by HungUp.
func (c *Conn) Shutdown() {
	if s := c.stream.Load(); s != nil {
		s.shutdown(c)
		return
	}
	c.loopShutdown(true)
}

// Close gives the connection back, in its turn. Nothing is called any more, except Writable, Flush and Due that are on their way.
func (c *Conn) Close() {
	if s := c.stream.Load(); s != nil {
		s.close(c)
		return
	}
	c.loopClose()
}

// Addrs returns our address and the peer's.
func (c *Conn) Addrs() (local, remote net.Addr) {
	if s := c.stream.Load(); s != nil {
		return s.LocalAddr(), s.RemoteAddr()
	}
	return c.loopAddrs()
}

// Buffers are borrowed only while there is something to read; small ones by connections that have to read in order to
// wait.
const (
	smallBuffer = 4 << 10
	largeBuffer = 64 << 10
)

var (
	largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
	smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
)
