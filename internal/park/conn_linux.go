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
	notes atomic.Uint32 // what has happened and nobody has dealt with; see leave
	users atomic.Uint32 // those who use fd besides the turn, and noMore

	// Immutable once the connection is on the loop.
	fd  int32
	gen uint32 // tells the connection from those that had fd before

	// Owned by the turn.
	held    uint32 // what Hold(true) has begun; 0: nothing
	full    bool   // there may be something to read
	hup     bool   // the end is near: a short read does not mean that nothing is left
	gone    bool   // Close was called
	crowded bool   // others wait for their turn behind this one
}

// The notes.
const (
	busy     = 1 << iota // somebody has the turn
	readable             // there may be something to read
	ending               // … and after that the end
	writable             // what was written before the connection was on the loop has had to wait
	woken                // Wake was called
	givesWay             // GiveWay was called: the turn goes on after others
)

// lodges reports whether c may go to the loop.
func lodges(c net.Conn) bool { return isSocket(c) && !inBubble() }

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
func (c *Conn) lodge(nc net.Conn) bool {
	s := c.stream.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	fd, ok := duplicate(nc)
	if !ok {
		return false
	}
	l, ok := enterLoop()
	if !ok {
		_ = syscall.Close(fd)
		return false
	}
	c.fd = int32(fd)
	c.notes.Store(busy)
	l.table.add(c)
	c.stream.Store(nil) // before events can come
	if err := l.watch(c, syscall.EPOLL_CTL_ADD, syscall.EPOLLIN); err != nil {
		c.stream.Store(s)
		l.table.remove(c)
		l.leave()
		_ = syscall.Close(fd)
		return false
	}
	s.left = true
	_ = nc.Close()
	if s.asked {
		c.notes.Or(woken)
	}
	if s.tried {
		c.notes.Or(writable)
	}
	if !c.yield() {
		go c.serveAlone()
	}
	return true
}

func duplicate(nc net.Conn) (fd int, ok bool) {
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(old uintptr) {
		n, _, errno := syscall.Syscall(syscall.SYS_FCNTL, old, syscall.F_DUPFD_CLOEXEC, 0)
		fd, ok = int(n), errno == 0
		unblock(old) // and with it the copy
	})
	return fd, ok && err == nil
}

// note adds to what has happened. It reports whether the caller has got the turn by it.
func (c *Conn) note(n uint32) (mine bool) { return c.notes.Or(n|busy)&busy == 0 }

// yield gives the turn up, unless there are notes.
func (c *Conn) yield() bool { return c.notes.CompareAndSwap(busy, 0) }

// leave is note for those who cannot take the turn themselves.
func (c *Conn) leave(n uint32) {
	if c.note(n) {
		go c.serveAlone()
	}
}

// serveAlone is serve in a goroutine of its own.
func (c *Conn) serveAlone() {
	done := false
	defer func() {
		if !done { // the handler has called runtime.Goexit
			go c.serveAlone()
		}
	}()
	buf := largeBuffers.Get().(*[largeBuffer]byte)
	for !c.serve(buf, nil, c.notes.Swap(busy), false) {
		runtime.Gosched()
	}
	largeBuffers.Put(buf)
	done = true
}

// serve is the connection's turn: it deals with what has happened, until nothing is left, or until the turn has taken its share.
// Then it reports false, and the connection still has the turn, which goes on with another call.
func (c *Conn) serve(buf *[largeBuffer]byte, spare *any, notes uint32, crowded bool) (done bool) {
	c.crowded = crowded
	budget := turnBudget
	if crowded {
		budget = sharedTurnBudget
	}
	into := buf[:budget]
	for {
		if notes&writable != 0 && !c.gone {
			c.h.Writable()
		}
		if notes&woken != 0 && !c.gone {
			c.h.Woken()
			budget -= wakeCost
		}
		if notes&(readable|ending) != 0 {
			c.full = true
			c.hup = c.hup || notes&ending != 0
		}
		for c.full && !c.gone && budget > 0 && c.read(into, spare, &budget) {
		}
		if budget <= 0 && c.full && !c.gone {
			return false
		}
		if c.yield() {
			return true
		}
		if budget <= 0 {
			return false
		}
		notes = c.notes.Swap(busy)
		if notes&givesWay != 0 {
			c.notes.Or(notes &^ givesWay)
			return false
		}
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
func (c *Conn) read(buf []byte, spare *any, budget *int) bool {
	into, ok := c.h.Room()
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
		c.full = false
	case errno != 0:
		c.hungUp(errno)
	case n == 0:
		c.hungUp(io.EOF)
	default:
		*budget -= max(n-readCost, 0)
		c.full = n == len(into) || c.hup
		c.h.Input(into[:n], spare)
	}
	return c.full
}

func (c *Conn) hungUp(err error) {
	c.h.HungUp(err) // if it calls runtime.Goexit, it is told again
	c.full = false
}

// use keeps the descriptor from being closed, and with it from becoming another connection's.
func (c *Conn) use() bool {
	for {
		n := c.users.Load()
		if n&noMore != 0 {
			return false
		}
		if c.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// noMore is set in slot.users when the connection has been closed.
const noMore = 1 << 31

func (c *Conn) unuse() {
	if c.users.Add(^uint32(0)) == noMore {
		c.vacate()
	}
}

// vacate frees the place in the table, and the descriptor if it is ours, which nobody uses any more.
func (c *Conn) vacate() {
	l := currentLoop()
	l.table.remove(c)
	if c.stream.Load() == nil {
		_ = syscall.Close(int(c.fd))
	}
	l.leave()
}

func (c *Conn) write(p []byte) (int, error) {
	if !c.use() {
		return 0, net.ErrClosed
	}
	n, errno := writeSocket(int(c.fd), p)
	err := error(nil)
	if n != len(p) || errno != 0 {
		n, err = c.writeOn(p, n, errno)
	}
	c.unuse()
	return n, err
}

// writeOn goes on after a first write has had that result.
func (c *Conn) writeOn(p []byte, n int, errno syscall.Errno) (int, error) {
	n, err := writeOn(int(c.fd), p, n, errno)
	if err == ErrWouldBlock {
		// Changing the registration has the kernel look again, so that room that came meanwhile is not missed.
		if failed := currentLoop().watch(c, syscall.EPOLL_CTL_MOD, syscall.EPOLLIN|syscall.EPOLLOUT); failed != nil {
			return n, failed
		}
	}
	return n, err
}

func (c *Conn) shutdown(both bool) {
	if !c.use() {
		return
	}
	defer c.unuse()
	how := syscall.SHUT_WR
	if both {
		how = syscall.SHUT_RDWR
	}
	_ = syscall.Shutdown(int(c.fd), how)
}

// release closes the connection, in its turn. The kernel takes it off the loop when the descriptor is closed; events that still come are dropped.
func (c *Conn) release() {
	if c.gone {
		return
	}
	c.cork(false)
	c.gone, c.full = true, false
	if c.users.Or(noMore) == 0 {
		c.vacate()
	}
}

func (c *Conn) setAlarm(d time.Duration) {
	if c.use() {
		currentLoop().alarms.set(c, d)
		c.unuse()
	}
}

// recently returns when the poller that has the turn, or another one, last woke up.
func (c *Conn) recently() uint32 { return currentLoop().clock.Load() }

// handOver does not write what all pollers read unless it has to.
func (c *Conn) handOver() {
	if l := currentLoop(); !l.handed.Load() {
		l.handed.Store(true)
	}
}

// isCrowded: check looks at the handlers of a batch for as long as that counts, and no longer.
func (c *Conn) isCrowded() bool { return c.crowded && currentLoop().corks.count() > 0 }

func (c *Conn) deferWrite() bool {
	l := currentLoop()
	return l != nil && l.corks.add(c.h)
}

func (c *Conn) cork(more bool) {
	l := currentLoop()
	switch {
	case more == (c.held != 0):
	case more:
		c.held = l.corks.begin()
		l.guard()
	default:
		l.corks.end(c.held)
		c.held = 0
	}
}

func (c *Conn) addrs() (local, remote net.Addr) {
	if !c.use() {
		return nil, nil
	}
	defer c.unuse()
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
