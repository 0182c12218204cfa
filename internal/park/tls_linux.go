//go:build !edgews_noloop

package park

import (
	"crypto/tls"
	"net"
	"os"
	"syscall"
	"time"
)

// Only package tls can read a TLS connection, so its descriptor stays in the runtime's poller. But no goroutine waits there: the
// loop watches the descriptor too, and starts a reader when bytes arrive. The reader reads until nothing is left, and then ends.
//
// The loop cannot see bytes that the tls.Conn has already buffered, so the reader must not end while there are any. It reads with a
// deadline in the past: Read then returns what is buffered without touching the network, and this timeout does not break the
// connection.

// tlsWatch is the part of an offLoop that belongs to a TLS connection which the loop watches. It is guarded by the offLoop's mu, except
// where it says otherwise.
type tlsWatch struct {
	raw      syscall.RawConn // the socket under TLS; nil: the loop does not watch this connection; immutable once started
	turnFree bool            // no reader has the turn
	readable bool            // the loop has seen bytes arrive, and they have not been read
}

// recordTimeout is how long a reader waits for the rest of a TLS record.
const recordTimeout = 20 * time.Millisecond

// tlsSocket returns the socket under c, or nil if the loop cannot watch c.
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

// watchTLSLocked makes the loop watch a TLS connection. It reports whether the loop does. mu must be held.
func (s *offLoop) watchTLSLocked(c *Conn) bool {
	s.tls.raw = tlsSocket(s.Conn)
	if s.tls.raw == nil {
		return false
	}
	var l *loop
	onLoop := false
	err := s.tls.raw.Control(func(fd uintptr) {
		setNonblock(fd)
		c.fd = int32(fd)
		if l, onLoop = acquireLoop(int(fd)); onLoop {
			l.table.add(c)
		}
	})
	if err != nil || !onLoop {
		s.tls.raw = nil
		return false
	}
	if err := s.armTLSWatch(c, syscall.EPOLL_CTL_ADD); err != nil {
		s.tls.raw = nil
		l.table.remove(c)
		releaseLoop()
		return false
	}
	return true
}

// armTLSWatch makes the loop report the next time that there is something to read, once.
func (s *offLoop) armTLSWatch(c *Conn, op int) (err error) {
	l := loopOf(c.fd)
	if l == nil { // another reader has closed the connection, which was the last one
		return net.ErrClosed
	}
	event := l.table.event(c, syscall.EPOLLIN|syscall.EPOLLRDHUP|syscall.EPOLLONESHOT)
	failed := s.tls.raw.Control(func(fd uintptr) {
		err = syscall.EpollCtl(l.epfd, op, int(fd), event)
	})
	if failed != nil {
		return failed
	}
	return err
}

// handleTLSEvent is called by the loop, and when the connection is shut down.
func (s *offLoop) handleTLSEvent(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tls.readable = true
	s.startReaderLocked(c)
}

// startReaderLocked starts a reader if the loop watches the connection and none has the turn. mu must be held.
func (s *offLoop) startReaderLocked(c *Conn) {
	if s.tls.turnFree {
		s.tls.turnFree = false
		go s.run(c)
	}
}

// readTLS reads what the tls.Conn has buffered, then what has arrived. If there is nothing left, it releases the turn. It reports
// whether the reader goes on.
func (s *offLoop) readTLS(c *Conn, into []byte) bool {
	if into == nil {
		b := smallBuffers.Get().(*[smallBuffer]byte)
		defer smallBuffers.Put(b)
		into = b[:]
	}
	_ = s.SetReadDeadline(time.Unix(1, 0))
	n, err := s.Read(into)
	if n == 0 && os.IsTimeout(err) && s.takeReadable() {
		_ = s.SetReadDeadline(time.Now().Add(recordTimeout))
		n, err = s.Read(into)
	}
	if n > 0 {
		c.h.Received(into[:n], nil)
		return !s.isClosed()
	}
	if err == nil || os.IsTimeout(err) {
		return !s.releaseTLSTurn(c, true) && !s.isClosed()
	}
	return s.finishRead(c, nil, err)
}

// takeReadable reports whether the loop has seen bytes arrive since the last call.
func (s *offLoop) takeReadable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	readable := s.tls.readable
	s.tls.readable = false
	return readable
}

// releaseTLSTurn releases the turn if there is nothing to do: the reader then ends. watch says whether arriving bytes are something to
// do; if so, the loop reports them from now on.
func (s *offLoop) releaseTLSTurn(c *Conn, watch bool) (released bool) {
	s.mu.Lock()
	if s.wakePending || watch && s.tls.readable || s.closed {
		s.mu.Unlock()
		return false
	}
	s.tls.turnFree = true
	s.mu.Unlock()
	if watch && s.armTLSWatch(c, syscall.EPOLL_CTL_MOD) != nil { // the socket has been closed: a reader must find out
		s.handleTLSEvent(c)
	}
	return true
}

// tryTLSTurn is TryTurn of a TLS connection that the loop watches.
func (s *offLoop) tryTLSTurn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.tls.turnFree || s.tls.readable || s.wakePending || s.closed {
		return false
	}
	s.tls.turnFree = false
	return true
}

// returnTLSTurn is the opposite of tryTLSTurn.
func (s *offLoop) returnTLSTurn(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tls.turnFree = true
	if s.tls.readable || s.wakePending || s.closed {
		s.startReaderLocked(c)
	}
}

// tlsWriteLimit is the size in bytes of the largest write to a TLS connection that tryWrite does itself. Such a write must not have to
// wait, because a record that is not finished breaks the connection. A writable socket has a third of its send buffer free, part of
// which the segments' overhead takes; send buffers are of 16 KiB or more unless the program has made them smaller.
const tlsWriteLimit = 4 << 10

// writableNow reports whether a short write will not have to wait. If the connection has been closed, the result is meaningless.
func (c *Conn) writableNow() bool { return pollNow(c.fd, pollOut) == pollOut }

// shutdownTLS ends a connection that may have no reader. It sends close_notify if that does not have to wait.
func (s *offLoop) shutdownTLS(c *Conn) {
	if t := s.Conn.(*tls.Conn); c.writableNow() {
		_ = t.Close()
	} else {
		_ = t.NetConn().Close()
	}
	s.handleTLSEvent(c) // epoll does not report a descriptor that has been closed
}

// unwatchTLS takes a connection off the loop before it is closed. No timer is set afterwards.
func (s *offLoop) unwatchTLS(c *Conn) {
	if c.fdUsers.Or(fdClosing) == 0 {
		c.freeSlot()
	}
}
