package park

import (
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// offLoop is a connection that is not on the loop: before Start, if it may move there, or for its whole life. It is read through the
// methods of its net.Conn, by one of three kinds of goroutine:
//
//   - The reader, run, waits in Read for as long as the connection exists.
//   - While the reader waits in Read, handleWakeWhileReading takes the turn to call Woken.
//   - A TLS connection that the loop watches (see tls_linux.go) has a reader only while there is something to do.
type offLoop struct {
	net.Conn
	movable bool     // Start may move the connection to the loop; immutable
	raw     *rawConn // nil: not a plain socket of the operating system, or not started

	tryWriter tryWriter // the connection, if it is one; nil: it is not; immutable

	// wakeup wakes the reader while it waits for Wake, or for the end of handleWakeWhileReading. Its capacity is 1. It is nil if
	// the loop watches the connection.
	wakeup chan struct{}

	mu           sync.Mutex
	started      bool
	writeBlocked bool        // a write before Start returned ErrWouldBlock
	moved        bool        // Start has moved the connection to the loop: this offLoop is stale
	reading      bool        // the reader may be waiting in Read
	wakePending  bool        // Wake was called, and Woken has not run since
	turnLent     bool        // handleWakeWhileReading has the turn
	closed       bool        // Close was called
	timer        *time.Timer // of SetTimer
	timerAt      time.Time   // when timer fires; zero: not set
	corkTimer    *time.Timer // ends corked after corkLimit
	corked       bool

	tls tlsWatch // guarded by mu, except where it says otherwise

	largeReads bool // the last Read filled a small buffer; owned by the reader
}

func newOffLoop(nc net.Conn) *offLoop {
	s := &offLoop{Conn: nc, movable: canMoveToLoop(nc)}
	s.tryWriter, _ = nc.(tryWriter)
	return s
}

// tryWriter is a connection that can be written without blocking. TryWrite returns the number of bytes that it has taken.
type tryWriter interface {
	TryWrite(p []byte) (n int, err error)
}

// handlerBound is a connection that ends when a handler returns, and that must not be used any more then. EndsWithHandler reports whether this
// is so for the connection. Release ends writing; it may wait until the connection has ended.
type handlerBound interface {
	EndsWithHandler() bool
	Release()
}

// awaitsStart reports whether the connection may still move to the loop. Until then writes return ErrWouldBlock.
func (s *offLoop) awaitsStart() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.movable && !s.started
}

func (s *offLoop) start(c *Conn) {
	s.mu.Lock()
	s.started = true
	s.raw = newRawConn(s.Conn)
	writeBlocked := s.writeBlocked
	if !s.watchTLSLocked(c) {
		s.wakeup = make(chan struct{}, 1)
	}
	s.mu.Unlock()
	go func() {
		if writeBlocked {
			c.h.Writable()
		}
		s.run(c)
	}()
}

// run is the connection's turn. It ends with the connection, or, if the loop watches the connection, when there is nothing to do.
func (s *offLoop) run(c *Conn) {
	GrowStack()
	done := false
	defer func() {
		if !done { // the handler has called runtime.Goexit
			go s.run(c)
		}
	}()
	for s.step(c) {
	}
	done = true
}

// GrowStack makes the goroutine's stack as large as reading and writing TLS needs, an opening handshake, or an event of an object, while the
// stack is still empty. A new goroutine has 2 KiB: the stack would grow two or three times in the middle of the work, and adjusting all frames each
// time takes several times as long as a small event.
func GrowStack() { growStack(0) }

// growStack has a large stack frame.
//
//go:noinline
func growStack(n int) byte {
	if n == 0 { // always: the size of the stack frame is what matters
		return 0
	}
	var room [6 << 10]byte
	for i := range n {
		room[i%len(room)] += byte(n)
	}
	return room[n%len(room)]
}

// step calls Woken if needed and reads once. It reports whether to go on.
func (s *offLoop) step(c *Conn) bool {
	if s.takeWake() {
		c.h.Woken()
	}
	into, size := c.h.ReadBuffer()
	switch {
	case size == NoRead && s.tls.raw != nil:
		return !s.releaseTLSTurn(c, false) && !s.isClosed()
	case size == NoRead:
		return s.waitForWake()
	case s.tls.raw != nil:
		return s.readTLS(c, into)
	case !s.beginRead():
		return !s.isClosed()
	}
	if into != nil {
		n, err := s.Read(into)
		return s.finishRead(c, into[:n], err)
	}
	return s.readPooled(c)
}

func (s *offLoop) waitForWake() bool {
	<-s.wakeup
	return !s.isClosed()
}

func (s *offLoop) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// takeWake reports whether Woken must be called.
func (s *offLoop) takeWake() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	pending := s.wakePending
	s.wakePending = false
	return pending && !s.closed
}

// beginRead reports whether to call Read, which may wait. From then on wake lends the turn to handleWakeWhileReading.
func (s *offLoop) beginRead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = !s.wakePending && !s.closed
	return s.reading
}

// endRead takes the turn back after Read has returned. It waits until handleWakeWhileReading has returned the turn.
func (s *offLoop) endRead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = false
	for s.turnLent {
		s.mu.Unlock()
		<-s.wakeup
		s.mu.Lock()
	}
}

// handleWakeWhileReading calls Woken while the reader waits in Read. The turn is lent to this goroutine for that, since not every
// net.Conn has deadlines that interrupt Read.
func (s *offLoop) handleWakeWhileReading(c *Conn) {
	done := false
	defer func() {
		if !done { // the handler has called runtime.Goexit
			go s.handleWakeWhileReading(c)
		}
	}()
	for s.takeWakeOrReturnTurn() {
		c.h.Woken()
	}
	done = true
}

// takeWakeOrReturnTurn is takeWake for handleWakeWhileReading. If there is nothing to do, it returns the turn to the reader.
func (s *offLoop) takeWakeOrReturnTurn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	pending := s.wakePending && !s.closed
	s.wakePending = false
	if !pending {
		s.turnLent = false
		s.wakeReaderLocked()
	}
	return pending
}

// readPooled reads into a pooled buffer. A rawConn takes the buffer only when there is something to read.
func (s *offLoop) readPooled(c *Conn) bool {
	switch {
	case s.raw != nil:
		b, n, err := s.raw.read()
		if b == nil {
			return s.finishRead(c, nil, err)
		}
		defer largeBuffers.Put(b)
		return s.finishRead(c, b[:n], err)
	case s.largeReads:
		b := largeBuffers.Get().(*[largeBuffer]byte)
		defer largeBuffers.Put(b)
		n, err := s.Read(b[:])
		s.largeReads = n >= smallBuffer
		return s.finishRead(c, b[:n], err)
	}
	b := smallBuffers.Get().(*[smallBuffer]byte)
	defer smallBuffers.Put(b)
	n, err := s.Read(b[:])
	s.largeReads = n == smallBuffer
	return s.finishRead(c, b[:n], err)
}

// finishRead passes the result of a Read to the handler. It reports whether to go on.
func (s *offLoop) finishRead(c *Conn, p []byte, err error) bool {
	s.endRead()
	if len(p) > 0 && !s.isClosed() {
		c.h.Received(p, nil) // an error that came with p is returned again by the next Read, if the handler wants one
		return !s.isClosed()
	}
	if err == nil {
		return !s.isClosed()
	}
	if s.takeWake() { // Wake was called before the end
		c.h.Woken()
	}
	if !s.isClosed() {
		c.h.ReadEnded(err)
	}
	return !s.isClosed() // the handler may still have something to write
}

func (s *offLoop) wake(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return
	case s.moved:
		c.notify(pendingWake)
		return
	}
	s.wakePending = true
	s.startReaderLocked(c)
	if s.reading {
		if !s.turnLent {
			s.turnLent = true
			go s.handleWakeWhileReading(c)
		}
		return
	}
	s.wakeReaderLocked()
}

// wakeReaderLocked wakes a reader that waits for wakeup. mu must be held.
func (s *offLoop) wakeReaderLocked() {
	if s.wakeup == nil {
		return
	}
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

func (s *offLoop) tryWrite(c *Conn, p []byte) (int, error) {
	s.mu.Lock()
	raw, moved, watched := s.raw, s.moved, s.tls.raw != nil
	s.writeBlocked = s.writeBlocked || s.movable && !s.started
	s.mu.Unlock()
	switch {
	case moved:
		return c.TryWrite(p)
	case raw != nil:
		return raw.write(p)
	case s.tryWriter != nil:
		n, err := s.tryWriter.TryWrite(p)
		if err == nil && n < len(p) {
			err = ErrWouldBlock
		}
		return n, err
	case watched && len(p) <= tlsWriteLimit && c.writableNow():
		return s.Write(p)
	}
	return 0, ErrWouldBlock
}

func (s *offLoop) setTimer(c *Conn, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
	case s.moved, s.tls.raw != nil:
		c.loopSetTimer(d)
	default:
		s.setTimerLocked(c, d)
	}
}

// setTimerLocked makes TimerFired run after d, unless it already runs earlier. mu must be held.
func (s *offLoop) setTimerLocked(c *Conn, d time.Duration) {
	at := time.Now().Add(d)
	if !s.timerAt.IsZero() && !at.Before(s.timerAt) {
		return
	}
	s.timerAt = at
	if s.timer == nil {
		s.timer = time.AfterFunc(d, func() { s.timerFired(c) })
	} else {
		s.timer.Reset(d)
	}
}

func (s *offLoop) timerFired(c *Conn) {
	s.mu.Lock()
	s.timerAt = time.Time{}
	s.mu.Unlock()
	c.h.TimerFired()
}

// corkLimit is how long a corked connection delays writes at most.
const corkLimit = time.Millisecond

func (s *offLoop) cork(c *Conn, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.corked == on {
		return
	}
	s.corked = on
	switch {
	case !on:
		s.corkTimer.Stop()
	case s.corkTimer == nil:
		s.corkTimer = time.AfterFunc(corkLimit, func() { s.corkExpired(c) })
	default:
		s.corkTimer.Reset(corkLimit)
	}
}

func (s *offLoop) corkExpired(c *Conn) {
	s.mu.Lock()
	s.corked = false
	s.mu.Unlock()
	c.h.Flush(nil)
}

func (s *offLoop) deferWrite() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.corked
}

func (s *offLoop) closeWrite(c *Conn) {
	half, ok := s.Conn.(interface{ CloseWrite() error })
	if !ok {
		_ = s.Conn.Close()
		return
	}
	_ = s.SetWriteDeadline(time.Now().Add(closeWriteTimeout))
	defer s.cutAfter(closeWriteTimeout + closeGrace).Stop()
	_ = half.CloseWrite()
	if s.hasMoved() { // Start may have closed s.Conn before CloseWrite
		c.loopShutdown(false)
	}
}

func (s *offLoop) hasMoved() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.moved
}

// closeGrace is how much later than its deadline a write is ended that has not returned: not all deadlines work.
const closeGrace = 250 * time.Millisecond

// cutAfter closes the connection after d. Closing TLS sends close_notify, which may have to wait for the peer, or for another write
// that does: the connection under TLS is closed instead.
func (s *offLoop) cutAfter(d time.Duration) *time.Timer {
	conn := s.Conn
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	return time.AfterFunc(d, func() { _ = conn.Close() })
}

// closeConn closes the connection, and does not wait for much longer than closeWriteTimeout.
func (s *offLoop) closeConn() {
	if _, ok := s.Conn.(*tls.Conn); ok {
		defer s.cutAfter(closeWriteTimeout + closeGrace).Stop()
	}
	_ = s.Conn.Close()
}

func (s *offLoop) shutdown(c *Conn) {
	s.mu.Lock()
	moved, watched := s.moved, s.tls.raw != nil
	s.mu.Unlock()
	switch {
	case moved:
		c.loopShutdown(true)
	case watched:
		s.shutdownTLS(c)
	default:
		s.closeConn()
		if s.hasMoved() { // before closeConn
			c.loopShutdown(true)
		}
	}
}

func (s *offLoop) close(c *Conn) {
	s.mu.Lock()
	s.closed = true
	for _, timer := range []*time.Timer{s.timer, s.corkTimer} {
		if timer != nil {
			timer.Stop()
		}
	}
	s.wakeReaderLocked()
	watched := s.tls.raw != nil
	s.mu.Unlock()
	if watched {
		s.unwatchTLS(c)
	}
	s.closeConn()
}
