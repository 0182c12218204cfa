package park

import (
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// slot is a connection's place on the loop.
type slot struct {
	pending atomic.Uint32 // what has happened and nobody has dealt with; see leave
	fdUsers atomic.Uint32 // those who use fd besides the turn, and noMore

	// Immutable once the connection is on the loop.
	fd  int32
	gen uint32 // tells the connection from those that had fd before

	// Owned by the turn.
	corkRound uint32 // what Hold(true) has begun; 0: nothing
	mayRead   bool   // there may be something to read
	hangup    bool   // the end is near: a short read does not mean that nothing is left
	closed    bool   // Close was called
	crowd     bool   // others wait for their turn behind this one
}

// The notes.
const (
	turnTaken       = 1 << iota // somebody has the turn
	pendingRead                 // there may be something to read
	pendingHangup               // … and after that the end
	pendingWritable             // what was written before the connection was on the loop has had to wait
	pendingWake                 // Wake was called
)

// lodges reports whether c may go to the loop.
func canMoveToLoop(c net.Conn) bool { return isSocket(c) && !inBubble() }

// inBubble reports whether time is not real here, as in a testing/synctest bubble. The loop's goroutines live outside of
// all bubbles, and may not touch what belongs to one.
func inBubble() bool {
	var real syscall.Timeval
	if syscall.Gettimeofday(&real) != nil {
		return false
	}
	off := time.Since(time.Unix(real.Unix()))
	return off.Abs() > time.Hour
}

// lodge takes nc from the runtime's poller to the loop. The descriptor is duplicated: closing the original is the only way to
// make the runtime forget it. It fails when there are no descriptors left; nc is as it was then.
func (c *Conn) moveToLoop(nc net.Conn) bool {
	s := c.stream.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	fd, ok := duplicateFD(nc)
	if !ok {
		return false
	}
	l, ok := acquireLoop()
	if !ok {
		_ = syscall.Close(fd)
		return false
	}
	c.fd = int32(fd)
	c.pending.Store(turnTaken)
	l.table.add(c)
	c.stream.Store(nil) // before events can come
	if err := l.register(c, syscall.EPOLL_CTL_ADD, syscall.EPOLLIN); err != nil {
		c.stream.Store(s)
		l.table.remove(c)
		l.release()
		_ = syscall.Close(fd)
		return false
	}
	s.moved = true
	_ = nc.Close()
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

func duplicateFD(nc net.Conn) (fd int, ok bool) {
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(old uintptr) {
		n, _, errno := syscall.Syscall(syscall.SYS_FCNTL, old, syscall.F_DUPFD_CLOEXEC, 0)
		fd, ok = int(n), errno == 0
		setNonblock(old) // and with it the copy
	})
	return fd, ok && err == nil
}

// note adds to what has happened. It reports whether the caller has got the turn by it.
func (c *Conn) addPending(n uint32) (mine bool) { return c.pending.Or(n|turnTaken)&turnTaken == 0 }

// yield gives the turn up, unless there are notes.
func (c *Conn) releaseTurn() bool { return c.pending.CompareAndSwap(turnTaken, 0) }

// leave is note for those who cannot take the turn themselves.
func (c *Conn) notify(n uint32) {
	if c.addPending(n) {
		go c.serveInGoroutine()
	}
}

// serveAlone is serve in a goroutine of its own.
func (c *Conn) serveInGoroutine() {
	done := false
	defer func() {
		if !done { // the handler has called runtime.Goexit
			go c.serveInGoroutine()
		}
	}()
	buf := largeBuffers.Get().(*[largeBuffer]byte)
	for !c.serve(buf, nil, c.pending.Swap(turnTaken), false) {
		runtime.Gosched()
	}
	largeBuffers.Put(buf)
	done = true
}

// serve is the connection's turn: it deals with what has happened, until nothing is left, or until the turn has taken its share.
// Then it reports false, and the connection still has the turn, which goes on with another call.
func (c *Conn) serve(buf *[largeBuffer]byte, spare *any, notes uint32, crowded bool) (done bool) {
	c.crowd = crowded
	budget := turnBudget
	if crowded {
		budget = sharedTurnBudget
	}
	into := buf[:budget]
	for {
		if notes&pendingWritable != 0 && !c.closed {
			c.h.Writable()
		}
		if notes&pendingWake != 0 && !c.closed {
			c.h.Woken()
			budget -= wakeCost
		}
		if notes&(pendingRead|pendingHangup) != 0 {
			c.mayRead = true
			c.hangup = c.hangup || notes&pendingHangup != 0
		}
		for c.mayRead && !c.closed && budget > 0 && c.loopRead(into, spare, &budget) {
		}
		if budget <= 0 && c.mayRead && !c.closed {
			return false
		}
		if c.releaseTurn() {
			return true
		}
		if budget <= 0 {
			return false
		}
		notes = c.pending.Swap(turnTaken)
	}
}

const (
	// turnBudget is how many bytes a turn reads at the most, before the poller looks whether others have something to do.
	turnBudget = largeBuffer
	// sharedTurnBudget is the same while others wait for their turn. It is some hundred small messages, which take a few dozen
	// microseconds.
	sharedTurnBudget = 16 << 10
	// readCost and wakeCost are what a read and a call of Woken count for at the least, in bytes, however little they brought.
	readCost = 1 << 10
	wakeCost = 1 << 10
)

// read reads once. It reports whether to go on.
func (c *Conn) loopRead(buf []byte, spare *any, budget *int) bool {
	into, ok := c.h.ReadBuffer()
	if !ok {
		return false // Wake comes first
	}
	if into == nil {
		into = buf
	}
	*budget -= readCost
	switch n, errno := readSocket(int(c.fd), into); {
	case errno == syscall.EINTR:
	case errno == syscall.EAGAIN:
		c.mayRead = false
	case errno != 0:
		c.readEnded(errno)
	case n == 0:
		c.readEnded(io.EOF)
	default:
		*budget -= max(n-readCost, 0)
		c.mayRead = n == len(into) || c.hangup
		c.h.Received(into[:n], spare)
	}
	return c.mayRead
}

func (c *Conn) readEnded(err error) {
	c.h.ReadEnded(err) // if it calls runtime.Goexit, it is told again
	c.mayRead = false
}

// use keeps the descriptor from being closed, and with it from becoming another connection's.
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

// noMore is set in slot.users when the connection has been closed.
const fdClosing = 1 << 31

func (c *Conn) releaseFD() {
	if c.fdUsers.Add(^uint32(0)) == fdClosing {
		c.freeSlot()
	}
}

// vacate frees the place in the table, and the descriptor if it is ours, which nobody uses any more.
func (c *Conn) freeSlot() {
	l := currentLoop()
	l.table.remove(c)
	if c.stream.Load() == nil {
		_ = syscall.Close(int(c.fd))
	}
	l.release()
}

func (c *Conn) loopWrite(p []byte) (int, error) {
	if !c.acquireFD() {
		return 0, net.ErrClosed
	}
	n, errno := writeSocket(int(c.fd), p)
	err := error(nil)
	if n != len(p) || errno != 0 {
		n, err = c.loopFinishWrite(p, n, errno)
	}
	c.releaseFD()
	return n, err
}

// writeOn goes on after a first write has had that result.
func (c *Conn) loopFinishWrite(p []byte, n int, errno syscall.Errno) (int, error) {
	n, err := continueWrite(int(c.fd), p, n, errno)
	if err == ErrWouldBlock {
		// Changing the registration has the kernel look again, so that room that came meanwhile is not missed.
		if failed := currentLoop().register(c, syscall.EPOLL_CTL_MOD, syscall.EPOLLIN|syscall.EPOLLOUT); failed != nil {
			return n, failed
		}
	}
	return n, err
}

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

// release closes the connection, in its turn. The kernel takes it off the loop when the descriptor is closed; events that still come are dropped.
func (c *Conn) loopClose() {
	if c.closed {
		return
	}
	c.loopCork(false)
	c.closed, c.mayRead = true, false
	if c.fdUsers.Or(fdClosing) == 0 {
		c.freeSlot()
	}
}

func (c *Conn) loopSetTimer(d time.Duration) {
	if c.acquireFD() {
		currentLoop().timers.set(c, d)
		c.releaseFD()
	}
}

// recently returns when the poller that has the turn, or another one, last woke up.
func (c *Conn) loopNow() uint32 { return currentLoop().lastWake.Load() }

// handOver does not write what all pollers read unless it has to.
func (c *Conn) loopWorkHandedOff() {
	if l := currentLoop(); !l.handedOff.Load() {
		l.handedOff.Store(true)
	}
}

// isCrowded: check looks at the handlers of a batch for as long as that counts, and no longer.
func (c *Conn) loopOthersWait() bool { return c.crowd && currentLoop().corks.count() > 0 }

func (c *Conn) loopDeferWrite() bool {
	l := currentLoop()
	return l != nil && l.corks.deferFlush(c.h)
}

func (c *Conn) loopCork(more bool) {
	l := currentLoop()
	switch {
	case more == (c.corkRound != 0):
	case more:
		c.corkRound = l.corks.beginRound()
		l.scheduleCheck()
	default:
		l.corks.endRound(c.corkRound)
		c.corkRound = 0
	}
}

func (c *Conn) loopAddrs() (local, remote net.Addr) {
	if !c.acquireFD() {
		return nil, nil
	}
	defer c.releaseFD()
	if sa, err := syscall.Getsockname(int(c.fd)); err == nil {
		local = addrOf(sa)
	}
	if sa, err := syscall.Getpeername(int(c.fd)); err == nil {
		remote = addrOf(sa)
	}
	return local, remote
}

// addrOf returns a sockets address as package net has it.
func addrOf(sa syscall.Sockaddr) net.Addr {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return &net.TCPAddr{IP: append(net.IP(nil), sa.Addr[:]...), Port: sa.Port}
	case *syscall.SockaddrInet6:
		a := &net.TCPAddr{IP: append(net.IP(nil), sa.Addr[:]...), Port: sa.Port}
		if sa.ZoneId != 0 {
			if i, err := net.InterfaceByIndex(int(sa.ZoneId)); err == nil {
				a.Zone = i.Name
			}
		}
		return a
	case *syscall.SockaddrUnix:
		return &net.UnixAddr{Name: sa.Name, Net: "unix"}
	}
	return nil
}
