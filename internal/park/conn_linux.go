//go:build !edgews_noloop

package park

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// slot is the state of a connection on the loop. The fields down to gen are also used by a TLS connection that the loop watches.
type slot struct {
	pending atomic.Uint32 // what has happened and has not been handled; see turn_linux.go
	fdUsers atomic.Uint32 // goroutines that use fd, other than the one with the turn, and fdClosing

	// Immutable once the connection is on the loop.
	fd  int32
	gen uint32 // distinguishes the connection from earlier ones with the same fd

	// Owned by the turn.
	corkRound uint32 // the result of corks.beginRound, while the connection is corked; otherwise 0
	mayRead   bool   // there may be bytes to read, and Close has not been called
	anyBuffer bool   // the result of Received: ReadBuffer need not be called
	hangup    bool   // the peer has ended the connection, or it has failed: also after a short read there is more to read
	crowd     bool   // other connections waited for the poller when it called serve; false if the loop does not read the connection
}

// canMoveToLoop reports whether nc may move to the loop.
func canMoveToLoop(nc net.Conn) bool {
	if _, ok := nc.(*DetachedConn); ok {
		return true
	}
	return isSocket(nc) && !inBubble()
}

// CanListen reports whether Listen may be called.
func CanListen() bool { return !inBubble() }

// inBubble reports whether the caller is in a testing/synctest bubble, where time is not real. The loop's goroutines are outside all
// bubbles and must not use channels or timers of one.
func inBubble() bool {
	var real syscall.Timeval
	if syscall.Gettimeofday(&real) != nil {
		return false
	}
	off := time.Since(time.Unix(real.Unix()))
	return off.Abs() > time.Hour
}

// moveToLoop moves nc from the runtime's poller to the loop, unless it is there already as a DetachedConn. It fails if there are no
// descriptors left; nc is then unchanged.
func (c *Conn) moveToLoop(nc net.Conn) bool {
	s := c.offLoop.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	moved := false
	if d, ok := nc.(*DetachedConn); ok {
		moved = c.takeOver(d)
	} else {
		moved = c.moveDuplicate(nc)
	}
	if !moved {
		c.offLoop.Store(s)
		return false
	}
	s.moved = true
	if s.wakePending {
		c.pending.Or(pendingWake)
	}
	if s.writeBlocked {
		c.pending.Or(pendingWritable)
	}
	if !c.releaseTurn() {
		go c.serveInGoroutine()
	}
	return true
}

// moveDuplicate puts a duplicate of nc's descriptor on the loop and closes nc, because only closing the original removes that from the
// runtime's poller.
func (c *Conn) moveDuplicate(nc net.Conn) bool {
	fd, ok := duplicateFD(nc)
	if !ok {
		return false
	}
	l, ok := acquireLoop(fd)
	if !ok {
		_ = syscall.Close(fd)
		return false
	}
	if c.enterLoop(l, fd, syscall.EPOLL_CTL_ADD) != nil {
		c.leaveLoop(l)
		return false
	}
	_ = nc.Close()
	return true
}

// takeOver takes the descriptor of d, which is registered with the loop. The loop counts the connection already.
func (c *Conn) takeOver(d *DetachedConn) bool {
	fd, ok := d.takeFD()
	if !ok {
		tcp := d.madeTCPConn()
		return tcp != nil && c.moveDuplicate(tcp)
	}
	if l := loopOf(int32(fd)); c.enterLoop(l, fd, syscall.EPOLL_CTL_MOD) != nil {
		l.table.remove(c)
		d.returnFD()
		return false
	}
	return true
}

// duplicateFD duplicates the descriptor of a connection or a listener.
func duplicateFD(nc any) (fd int, ok bool) {
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(old uintptr) {
		n, _, errno := syscall.Syscall(syscall.SYS_FCNTL, old, syscall.F_DUPFD_CLOEXEC, 0)
		fd, ok = int(n), errno == 0
		setNonblock(old) // and the duplicate, which shares the flag
	})
	return fd, ok && err == nil
}

// acquireFD keeps the descriptor from being closed until releaseFD, so that its number cannot become another connection's. It
// returns false if the connection has been closed. The goroutine with the turn does not need it.
func (c *Conn) acquireFD() bool {
	for {
		n := c.fdUsers.Load()
		if n&fdClosing != 0 {
			return false
		}
		if c.fdUsers.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// fdClosing is set in slot.fdUsers when the connection has been closed. The last user then closes the descriptor.
const fdClosing = 1 << 31

// isClosed reports whether the connection has been closed.
func (c *Conn) isClosed() bool { return c.fdUsers.Load()&fdClosing != 0 }

// loopWithFD calls fn with the descriptor, unless the connection has been closed.
func (c *Conn) loopWithFD(fn func(fd int32)) {
	if c.acquireFD() {
		fn(c.fd)
		c.releaseFD()
	}
}

func (c *Conn) releaseFD() {
	if c.fdUsers.Add(^uint32(0)) == fdClosing {
		c.freeSlot()
	}
}

// freeSlot removes c from the table, and closes the descriptor if it belongs to the loop. It is called once, when the descriptor has no
// users left.
func (c *Conn) freeSlot() {
	l := loopOf(c.fd)
	l.table.remove(c)
	if c.offLoop.Load() == nil {
		_ = syscall.Close(int(c.fd))
	}
	releaseLoop()
}

// TryWrite writes as much of p as the kernel takes at once and returns the number of bytes written. If that is not all, the error
// is ErrWouldBlock; Writable follows when there is room, if NotifiesWritable returns true. One goroutine at a time may write.
func (c *Conn) TryWrite(p []byte) (int, error) {
	if s := c.offLoop.Load(); s != nil {
		return s.tryWrite(c, p)
	}
	if !c.acquireFD() {
		return 0, net.ErrClosed
	}
	n, errno := writeSocket(int(c.fd), p)
	err := error(nil)
	if n != len(p) || errno != 0 {
		n, err = c.loopContinueWrite(p, n, errno)
	}
	c.releaseFD()
	return n, err
}

// TryWriteInTurn is TryWrite for callers in the connection's turn. It is cheaper there, because only the turn closes the connection.
func (c *Conn) TryWriteInTurn(p []byte) (int, error) {
	if c.offLoop.Load() != nil || c.isClosed() {
		return c.TryWrite(p)
	}
	n, errno := writeSocket(int(c.fd), p)
	if n == len(p) && errno == 0 {
		return n, nil
	}
	return c.loopContinueWrite(p, n, errno)
}

// TryWriteGathered is TryWrite for head and, right behind it, p: neither is copied to the other. Neither may be empty. The result counts the
// bytes of both. The connection must be on the loop.
func (c *Conn) TryWriteGathered(head, p []byte) (int, error) {
	if !c.acquireFD() {
		return 0, net.ErrClosed
	}
	defer c.releaseFD()
	n, errno := writeSocketGathered(int(c.fd), head, p)
	if errno != 0 || n < len(head) { // hardly ever
		if n, err := c.loopContinueWrite(head, n, errno); err != nil {
			return n, err
		}
		n = len(head)
	}
	n, err := c.loopContinueWrite(p, n-len(head), 0)
	return len(head) + n, err
}

// iovecs is the number of parts of a gathered write.
const iovecs = 2

// iovec describes p, which must not be empty, to the kernel.
func iovec(p []byte) (v syscall.Iovec) {
	v.Base = unsafe.SliceData(p)
	v.SetLen(len(p))
	return v
}

// loopContinueWrite is the rest of TryWrite after a first write has returned n and errno.
func (c *Conn) loopContinueWrite(p []byte, n int, errno syscall.Errno) (int, error) {
	n, err := continueWrite(int(c.fd), p, n, errno)
	if err == ErrWouldBlock {
		err = c.awaitWritable()
	}
	return n, err
}

// loopShutdown shuts the socket down for writing, or for both directions.
func (c *Conn) loopShutdown(both bool) {
	if !c.acquireFD() {
		return
	}
	defer c.releaseFD()
	how := syscall.SHUT_WR
	if both {
		how = syscall.SHUT_RDWR
	}
	_ = syscall.Shutdown(int(c.fd), how)
}

// loopClose closes the connection, in its turn. Closing the descriptor removes it from the epoll instance; events of it that have
// already been fetched find no connection in the table.
func (c *Conn) loopClose() {
	if c.isClosed() {
		return
	}
	c.loopCork(false)
	c.mayRead = false
	if c.fdUsers.Or(fdClosing) == 0 {
		c.freeSlot()
	}
}

func (c *Conn) loopSetTimer(d time.Duration) {
	if c.acquireFD() {
		loopOf(c.fd).timers.set(c, d)
		c.releaseFD()
	}
}

// loopNow returns when a poller last returned from waiting. Without a loop, because the connection has been closed meanwhile, that is now.
func (c *Conn) loopNow() uint32 {
	if l := loopOf(c.fd); l != nil {
		return l.lastWake.Load()
	}
	return Now()
}

// loopWorkHandedOff writes only when needed: all pollers read the flag.
func (c *Conn) loopWorkHandedOff() {
	if l := loopOf(c.fd); l != nil && !l.handedOff.Load() {
		l.handedOff.Store(true)
	}
}

// loopOthersWait reports whether others wait, while the poller's round lasts. When check finds the handler of a round blocked, it ends
// the round early.
func (c *Conn) loopOthersWait() bool { return c.crowd && loopOf(c.fd).corks.count() > 0 }

func (c *Conn) loopDeferWrite() bool {
	l := loopOf(c.fd)
	return l != nil && (l.corks.deferFlush(c.h) || l.hasSiblings() && deferFlushElsewhere(c.h))
}

func (c *Conn) loopCork(on bool) {
	l := loopOf(c.fd)
	switch {
	case on == (c.corkRound != 0):
	case on:
		c.corkRound = l.corks.beginRound()
		l.scheduleCheck()
	default:
		l.corks.endRound(c.corkRound)
		c.corkRound = 0
	}
}

// PeerEnded reports, in the connection's turn, whether the peer has ended its side of the connection, or the connection has failed.
// Bytes may have arrived before that.
func (c *Conn) PeerEnded() bool { return c.hangup }

// AtEnd reports whether nothing but the end of the stream, or an error, is left to be read.
func (c *Conn) AtEnd() (ended bool) {
	c.loopWithFD(func(fd int32) {
		var b [1]byte
		n, _, errno := syscall.RawSyscall6(sysRecvfrom, uintptr(fd), uintptr(unsafe.Pointer(&b)), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
		ended = errno == 0 && n == 0 || errno != 0 && errno != syscall.EAGAIN && errno != syscall.EINTR
	})
	return ended
}

// LocalAddr returns the local address of a connection that is on the loop.
func (c *Conn) LocalAddr() (local net.Addr) {
	c.loopWithFD(func(fd int32) {
		if sa, err := syscall.Getsockname(int(fd)); err == nil {
			local = netAddr(sa)
		}
	})
	return local
}
