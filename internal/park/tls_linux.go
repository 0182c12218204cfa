package park

import (
	"crypto/tls"
	"net"
	"os"
	"syscall"
	"time"
)

// A TLS connection keeps its place in the runtime's poller, since only package tls can read it, but no goroutine waits there: the
// loop watches the descriptor as well, and starts one when something has come. That goroutine reads for as long as there is
// something, and then leaves. It never leaves while bytes are still inside the TLS connection, where the loop
// cannot see them: with a deadline in the past Read returns what is there and does not touch the network, and such a
// time-out does not break a TLS connection.

// perch is a stream's place on the loop. Guarded by the stream's mu, except where it says otherwise.
type tlsWatch struct {
	raw      syscall.RawConn // immutable; nil: it has none
	turnFree bool            // no goroutine has the turn
	readable bool            // the loop has seen something come that has not been read
}

// grace is how long a goroutine waits for the rest of a record.
const recordTimeout = 20 * time.Millisecond

// perches returns the way to watch c, or nil.
func tlsSocket(c net.Conn) syscall.RawConn {
	t, ok := c.(*tls.Conn)
	if !ok || !canMoveToLoop(t.NetConn()) {
		return nil
	}
	raw, err := t.NetConn().(syscall.Conn).SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// settle gives a TLS connection its place on the loop. It reports whether there is one.
func (s *stream) watchTLS(c *Conn) bool {
	s.tls.raw = tlsSocket(s.Conn)
	if s.tls.raw == nil {
		return false
	}
	l, ok := acquireLoop()
	if !ok || s.tls.raw.Control(func(fd uintptr) { setNonblock(fd); c.fd = int32(fd); l.table.add(c) }) != nil {
		if ok {
			l.release()
		}
		s.tls.raw = nil
		return false
	}
	if err := s.armTLSWatch(c, syscall.EPOLL_CTL_ADD); err != nil {
		s.tls.raw = nil
		l.table.remove(c)
		l.release()
		return false
	}
	return true
}

// tlsAtOnce is how many bytes a TLS connection writes without a goroutine of its own. Such a write must not have to wait, since a
// record that is not finished breaks the connection. A socket that can be written has a third of its buffer free, of which the
// segments' overhead takes a part, and the kernel's buffers are of 16 KiB or more unless somebody has made them smaller.
const tlsWriteLimit = 4 << 10

// hasRoom reports whether a short write will not have to wait. If the connection has been closed meanwhile the answer may be
// anything.
func (c *Conn) writableNow() bool { return pollNow(c.fd, pollOut) == pollOut }

// watch has the loop tell once that there is something to read, from now on.
func (s *stream) armTLSWatch(c *Conn, op int) (err error) {
	event := syscall.EpollEvent{
		Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLONESHOT,
		Fd:     c.fd, Pad: int32(c.gen),
	}
	failed := s.tls.raw.Control(func(fd uintptr) {
		err = syscall.EpollCtl(currentLoop().epfd, op, int(fd), &event)
	})
	if failed != nil {
		return failed
	}
	return err
}

// rouse is called by the loop, and whenever somebody has to look.
func (s *stream) handleTLSEvent(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tls.readable = true
	s.startReaderLocked(c)
}

// occupy starts a goroutine if none has the turn. mu must be held.
func (s *stream) startReaderLocked(c *Conn) {
	if s.tls.turnFree {
		s.tls.turnFree = false
		go s.run(c)
	}
}

// fall ends a connection on which nobody may be reading. It says goodbye if that needs no waiting.
func (s *stream) shutdownTLS(c *Conn) {
	if t := s.Conn.(*tls.Conn); c.writableNow() {
		_ = t.Close()
	} else {
		_ = t.NetConn().Close()
	}
	s.handleTLSEvent(c) // the kernel does not tell of a descriptor that has been closed
}

// vacate lets the goroutine go that has the turn, if there is nothing for it to do.
func (s *stream) releaseTLSTurn(c *Conn, watch bool) (vacant bool) {
	s.mu.Lock()
	if s.wakePending || watch && s.tls.readable || s.closed {
		s.mu.Unlock()
		return false
	}
	s.tls.turnFree = true
	s.mu.Unlock()
	if watch && s.armTLSWatch(c, syscall.EPOLL_CTL_MOD) != nil { // it has been closed: somebody has to notice
		s.handleTLSEvent(c)
	}
	return true
}

// readPerched reads what is inside the connection, then what has come, and then lets the goroutine go.
func (s *stream) readTLS(c *Conn, into []byte) bool {
	if into == nil {
		b := smallBuffers.Get().(*[smallBuffer]byte)
		defer smallBuffers.Put(b)
		into = b[:]
	}
	_ = s.SetReadDeadline(time.Unix(1, 0))
	n, err := s.Read(into)
	if n == 0 && isTimeout(err) && s.takeReadable() {
		_ = s.SetReadDeadline(time.Now().Add(recordTimeout))
		n, err = s.Read(into)
	}
	if n > 0 {
		c.h.Received(into[:n], nil)
		return !s.isClosed()
	}
	if err == nil || isTimeout(err) {
		return !s.releaseTLSTurn(c, true) && !s.isClosed()
	}
	return s.finishRead(c, nil, err)
}

// expect reports whether the loop has seen something come.
func (s *stream) takeReadable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ready := s.tls.readable
	s.tls.readable = false
	return ready
}

func isTimeout(err error) bool { return os.IsTimeout(err) }

// leavePerch takes a connection off the loop that is about to be closed, and on which nobody sets alarms any more.
func (s *stream) unwatchTLS(c *Conn) {
	if c.fdUsers.Or(fdClosing) == 0 {
		c.freeSlot()
	}
}
