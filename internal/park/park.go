// Package park is the network side of a socket: connections that tell a [Handler] what happens on them and that can be written
// without blocking.
//
// On Linux, TCP and Unix connections move from the runtime's poller to an epoll loop of this package, where an idle connection has
// neither a goroutine nor a buffer; TLS connections over them are watched by the loop. All other connections, and all connections
// on other systems or with the build tag edgews_noloop, are each read by a goroutine. A Handler sees no difference.
//
// loop_linux.go describes the loop.
package park

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// ErrWouldBlock means that the kernel's send buffer is full, or that this kind of connection cannot tell.
var ErrWouldBlock = errors.New("park: write would block")

// Handler is told what happens on a connection.
//
// ReadBuffer, Received, ReadEnded and Woken run in the connection's turn, which one goroutine at a time has. They may block, which
// delays this connection only, and they may call runtime.Goexit. Writable, Flush and TimerFired may run at any time, also while the
// turn blocks. They must not block.
type Handler interface {
	// ReadBuffer returns where to read the next bytes to. If into is nil, they are read to a buffer that is valid during one call
	// of Received, and size says how many. If size is NoRead, nothing is read until Wake is called. Woken may run while a Read into the
	// buffer is waiting: the handler must not use the buffer for anything else before the next call of Received, ReadEnded or ReadBuffer.
	ReadBuffer() (into []byte, size ReadSize)
	// Received is called with the bytes that have been read. It may change them. spare, unless it is nil, points to a value that
	// belongs to the calling goroutine, in which handlers may leave something for the next call of any Received there. A handler
	// that takes the value owns it and must set *spare to nil. If anyBuffer is true, ReadBuffer would return nil and UsualRead at least
	// until the next call of Woken or ReadEnded, and need not be called.
	Received(p []byte, spare *any) (anyBuffer bool)
	// ReadEnded is called when nothing more will arrive, with io.EOF or an error. The handler calls Close, either now or, if it
	// still has something to write, later in a turn. Until then ReadBuffer must return NoRead.
	ReadEnded(err error)
	// Woken follows a call of Wake.
	Woken()
	// Writable is called when there is room to write after TryWrite has returned ErrWouldBlock. It may also be called without
	// such a reason.
	Writable()
	// Flush is called after DeferWrite has returned true. The write may be left to b, which may be nil.
	Flush(b *Batch)
	// TimerFired is called when the time given to SetTimer has passed.
	TimerFired()
}

// ReadSize is how many bytes a Handler wants to be read at once, at most.
type ReadSize uint8

const (
	// UsualRead means 64 KiB, but 16 KiB if other connections wait.
	UsualRead ReadSize = iota
	// LargeRead means 64 KiB, also if other connections wait: the bytes are expected to be one message, or a few.
	LargeRead
	// HugeRead means 320 KiB, unless other connections have waited for long: the bytes are expected to be one message.
	HugeRead
	// NoRead means none.
	NoRead
)

// Conn is a connection with a [Handler]. Call Init before use. A Conn must not be copied. Its methods may be called from any
// goroutine, unless they say that they belong to the turn.
type Conn struct {
	h Handler

	// offLoop is nil while the loop reads the connection. Otherwise a goroutine reads it, or Start has not been called.
	offLoop atomic.Pointer[offLoop]

	slot
}

// Init makes c ready for nc, which c owns from now on.
func (c *Conn) Init(nc net.Conn, h Handler) {
	c.h = h
	c.offLoop.Store(newOffLoop(nc))
}

// Start begins to read. TryWrite writes nothing before.
func (c *Conn) Start() {
	s := c.offLoop.Load()
	if s.movable && c.moveToLoop(s.Conn) {
		return
	}
	s.start(c)
}

// Wake makes Woken run soon. Several calls of Wake may lead to one call of Woken.
func (c *Conn) Wake() {
	if s := c.offLoop.Load(); s != nil {
		s.wake(c)
		return
	}
	c.notify(pendingWake)
}

// YieldTurn says, in the connection's turn, that the turn has taken long enough: Woken runs after other connections have had their
// turn.
func (c *Conn) YieldTurn() {
	if s := c.offLoop.Load(); s != nil { // its goroutine shares the processor anyway
		s.wake(c)
		return
	}
	c.notify(pendingWake | turnYielded)
}

// TryTurn takes the turn of a connection that waits on the loop, or that the loop watches, if nothing has happened on it that has not been
// handled. The caller must not block, and must call ReturnTurn. Where a goroutine reads the connection, TryTurn returns false.
func (c *Conn) TryTurn() bool {
	if s := c.offLoop.Load(); s != nil {
		return s.tryTLSTurn()
	}
	return c.loopTryTurn()
}

// ReturnTurn gives back the turn that TryTurn has taken. What has happened meanwhile is handled in another goroutine.
func (c *Conn) ReturnTurn() {
	if s := c.offLoop.Load(); s != nil {
		s.returnTLSTurn(c)
		return
	}
	c.loopReturnTurn()
}

// NotifiesWritable reports whether Writable follows when there is room after TryWrite has returned ErrWouldBlock. If not, write to
// BlockingConn.
func (c *Conn) NotifiesWritable() bool {
	s := c.offLoop.Load()
	return s == nil || s.awaitsStart()
}

// BlockingConn returns the connection for blocking writes with deadlines. It must not be called while NotifiesWritable returns true.
func (c *Conn) BlockingConn() net.Conn { return c.offLoop.Load().Conn }

// SetTimer makes TimerFired run after d. A Conn has one timer: a call with a later time than the pending one does nothing. TimerFired
// may run a few hundredths of a second late.
func (c *Conn) SetTimer(d time.Duration) {
	if s := c.offLoop.Load(); s != nil {
		s.setTimer(c, d)
		return
	}
	c.loopSetTimer(d)
}

// DeferWrite reports whether to delay a write, because more is about to be handled that may lead to further writes. If it returns
// true, Flush runs within about a millisecond, unless the turn calls Cork(false) before: see there.
func (c *Conn) DeferWrite() bool {
	if s := c.offLoop.Load(); s != nil {
		return s.deferWrite()
	}
	return c.loopDeferWrite()
}

// Cork, called in the connection's turn with true, makes DeferWrite return true, because Received has more to handle of its bytes.
// Cork(false) ends that. On the loop, it also runs the calls of Flush that are due, for all connections. Elsewhere, the turn itself must
// then write what it has deferred.
func (c *Conn) Cork(on bool) {
	if s := c.offLoop.Load(); s != nil {
		s.cork(c, on)
		return
	}
	c.loopCork(on)
}

// OthersWait reports, in the connection's turn, whether other connections wait for the poller. If so, writes should wait for the
// end of the turn. If it does not end within about a millisecond, Flush runs.
func (c *Conn) OthersWait() bool { return c.loopOthersWait() }

// WorkHandedOff says, in the connection's turn, that a goroutine has been given work and may be waiting for the processor that runs
// the turn.
func (c *Conn) WorkHandedOff() {
	if c.offLoop.Load() == nil {
		c.loopWorkHandedOff()
	}
}

var processStart = time.Now()

// MaxSpan is how far apart two results of Now may be so that they can be compared, which is half of 2^32 ms, and the longest
// timer.
const MaxSpan = 24 * 24 * time.Hour

// Now returns the time in milliseconds since the process started, modulo 2^32: times that are at most MaxSpan apart can be
// compared. It is never 0.
func Now() uint32 { return max(uint32(time.Since(processStart)/time.Millisecond), 1) }

// CoarseNow returns the result of Now at some moment of the connection's turn or shortly before. It is cheaper than Now.
func (c *Conn) CoarseNow() uint32 {
	if c.offLoop.Load() == nil {
		return c.loopNow()
	}
	return Now()
}

// CloseWrite tells the peer that nothing more will be sent (TCP FIN, TLS close_notify). A connection that cannot send that is closed.
func (c *Conn) CloseWrite() {
	if s := c.offLoop.Load(); s != nil {
		s.closeWrite(c)
		return
	}
	c.loopShutdown(false)
}

// closeWriteTimeout limits how long CloseWrite may take on a connection that can block.
const closeWriteTimeout = time.Second

// Shutdown ends the connection in both directions. ReadEnded follows.
func (c *Conn) Shutdown() {
	if s := c.offLoop.Load(); s != nil {
		s.shutdown(c)
		return
	}
	c.loopShutdown(true)
}

// Close closes the connection, in its turn. No method of the handler is called afterwards, except for calls of Writable, Flush and
// TimerFired that have already begun.
func (c *Conn) Close() {
	if s := c.offLoop.Load(); s != nil {
		s.close(c)
		return
	}
	c.loopClose()
}

// EndsWithHandler reports whether the connection ends when a handler returns that waits for the end of the socket. Then call Release before
// the handler learns of the end.
func (c *Conn) EndsWithHandler() bool {
	s := c.offLoop.Load()
	if s == nil {
		return false
	}
	b, ok := s.Conn.(handlerBound)
	return ok && b.EndsWithHandler()
}

// Release ends writing on a connection that ends when a handler returns. It is called in the connection's turn, which it may hold up until the
// connection has ended.
func (c *Conn) Release() { c.offLoop.Load().Conn.(handlerBound).Release() }

// Addrs returns the local address and the peer's. One that is not known is nil. While the loop reads the connection, they are asked of
// the kernel, and after Close both are nil; otherwise they are what the net.Conn says.
func (c *Conn) Addrs() (local, remote net.Addr) {
	if s := c.offLoop.Load(); s != nil {
		return s.LocalAddr(), s.RemoteAddr()
	}
	return c.loopAddrs()
}

// ForgetsPeer reports, before Start, whether Addrs may no longer know the peer's address when the connection has ended, although Close
// has not been called.
func (c *Conn) ForgetsPeer() bool { return c.offLoop.Load().movable && c.loopForgetsPeer() }

// Sizes of the pooled buffers, in bytes. A connection that waits in Read needs a buffer while it waits and takes a small one.
const (
	smallBuffer = 4 << 10
	largeBuffer = 64 << 10
	hugeBuffer  = 320 << 10
)

var (
	largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
	smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
)
