package park

import (
	"net"
	"sync"
	"time"
)

// stream is a connection that a goroutine reads through its methods.
type stream struct {
	net.Conn
	movable bool     // it is a socket that may go to the loop
	raw     *rawConn // nil: not a socket of the operating system's

	// bell wakes the reader when it waits for something else than bytes. It has room for one ring.
	wakeup chan struct{}

	mu           sync.Mutex
	started      bool
	writeBlocked bool        // a write before the start has had to wait
	moved        bool        // the connection has gone to the loop since
	reading      bool        // a Read may be waiting
	wakePending  bool        // Wake was called
	turnLent     bool        // … and a goroutine has the turn for that, while the reader waits in Read
	closed       bool        // closed
	timer        *time.Timer // Alarm
	timerAt      time.Time   // when it fires; zero: not at all
	corkTimer    *time.Timer // bounds Hold
	corked       bool

	tls tlsWatch // on the loop, where another goroutine starts when there is something to do

	largeReads bool // the last Read filled a small buffer; owned by the reader
}

func newStream(nc net.Conn) *stream { return &stream{Conn: nc, movable: canMoveToLoop(nc)} }

// pending reports whether the connection is still to go to the loop: writes have to wait.
func (s *stream) awaitsStart() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.movable && !s.started
}

func (s *stream) start(c *Conn) {
	s.mu.Lock()
	s.started = true
	s.raw = newRawConn(s.Conn)
	tried := s.writeBlocked
	if !s.watchTLS(c) {
		s.wakeup = make(chan struct{}, 1)
	}
	s.mu.Unlock()
	go func() {
		if tried {
			c.h.Writable()
		}
		s.run(c)
	}()
}

// run is the connection's turn, for as long as it lives, or until it has a place on the loop and nothing to do.
func (s *stream) run(c *Conn) {
	growStack(0)
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

// deepen makes the goroutine's stack as large as reading and writing TLS needs, now that there is nothing on it. Growing on the
// way would move it two or three times for each message, with everything on it.
//
//go:noinline
func growStack(n int) byte {
	if n == 0 { // always: that there is the room counts
		return 0
	}
	var room [6 << 10]byte
	for i := range n {
		room[i%len(room)] += byte(n)
	}
	return room[n%len(room)]
}

// turn does the next thing. It reports whether there is another one.
func (s *stream) step(c *Conn) bool {
	if s.takeWake() {
		c.h.Woken()
	}
	into, ok := c.h.ReadBuffer()
	switch {
	case !ok && s.tls.raw != nil:
		return !s.releaseTLSTurn(c, false) && !s.isClosed()
	case !ok:
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

// rest waits for a ring.
func (s *stream) waitForWake() bool {
	<-s.wakeup
	return !s.isClosed()
}

func (s *stream) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *stream) takeWake() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.wakePending
	s.wakePending = false
	return asked && !s.closed
}

func (s *stream) beginRead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = !s.wakePending && !s.closed
	return s.reading
}

// endRead takes the turn back after a Read, when nobody stands in any more.
func (s *stream) endRead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = false
	for s.turnLent {
		s.mu.Unlock()
		<-s.wakeup
		s.mu.Lock()
	}
}

// answerWhileReading calls Woken while the reader waits in Read. Not all connections have deadlines that could interrupt a Read, so
// the turn is lent to this goroutine for that.
func (s *stream) handleWakeWhileReading(c *Conn) {
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

// answerOrGiveBack is answer for who stands in. It gives the turn back when there is nothing to do.
func (s *stream) takeWakeOrReturnTurn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.wakePending && !s.closed
	s.wakePending = false
	if !asked {
		s.turnLent = false
		s.wakeReaderLocked()
	}
	return asked
}

// readShared reads into a borrowed buffer. Where the system can wait without one it does.
func (s *stream) readPooled(c *Conn) bool {
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

// took hands on what a Read brought.
func (s *stream) finishRead(c *Conn, p []byte, err error) bool {
	s.endRead()
	if len(p) > 0 && !s.isClosed() {
		c.h.Received(p, nil) // which may want to read no further: if it does, the next Read brings the same error
		return !s.isClosed()
	}
	if err == nil {
		return !s.isClosed()
	}
	if s.takeWake() { // it was asked before it ended
		c.h.Woken()
	}
	if !s.isClosed() {
		c.h.ReadEnded(err)
	}
	return !s.isClosed() // it may have something to write
}

func (s *stream) wake(c *Conn) {
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

// ring wakes a goroutine that rests. mu must be held.
func (s *stream) wakeReaderLocked() {
	if s.wakeup == nil {
		return
	}
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

func (s *stream) tryWrite(c *Conn, p []byte) (int, error) {
	s.mu.Lock()
	raw, left, perched := s.raw, s.moved, s.tls.raw != nil
	s.writeBlocked = s.writeBlocked || s.movable && !s.started
	s.mu.Unlock()
	switch {
	case left:
		return c.loopWrite(p)
	case raw != nil:
		return raw.write(p)
	case perched && len(p) <= tlsWriteLimit && c.writableNow():
		return s.Write(p)
	}
	return 0, ErrWouldBlock
}

func (s *stream) setTimer(c *Conn, d time.Duration) {
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

// setTimerLocked has Due called after d, unless it is called earlier. mu must be held.
func (s *stream) setTimerLocked(c *Conn, d time.Duration) {
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

func (s *stream) timerFired(c *Conn) {
	s.mu.Lock()
	s.timerAt = time.Time{}
	s.mu.Unlock()
	c.h.TimerFired()
}

// holdLimit is how long a write waits at the most for what a handler does meanwhile.
const corkLimit = time.Millisecond

func (s *stream) cork(c *Conn, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.corked == more {
		return
	}
	s.corked = more
	switch {
	case !more:
		s.corkTimer.Stop()
	case s.corkTimer == nil:
		s.corkTimer = time.AfterFunc(corkLimit, func() { s.corkExpired(c) })
	default:
		s.corkTimer.Reset(corkLimit)
	}
}

func (s *stream) corkExpired(c *Conn) {
	s.mu.Lock()
	s.corked = false
	s.mu.Unlock()
	c.h.Flush()
}

func (s *stream) deferWrite() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.corked
}

func (s *stream) closeWrite(patience time.Duration) {
	half, ok := s.Conn.(interface{ CloseWrite() error })
	if !ok {
		_ = s.Conn.Close()
		return
	}
	_ = s.SetWriteDeadline(time.Now().Add(patience))
	_ = half.CloseWrite()
}

func (s *stream) shutdown(c *Conn) {
	s.mu.Lock()
	left, perched := s.moved, s.tls.raw != nil
	s.mu.Unlock()
	switch {
	case left:
		c.loopShutdown(true)
	case perched:
		s.shutdownTLS(c)
	default:
		_ = s.Conn.Close()
	}
}

func (s *stream) close(c *Conn) {
	s.mu.Lock()
	s.closed = true
	for _, timer := range []*time.Timer{s.timer, s.corkTimer} {
		if timer != nil {
			timer.Stop()
		}
	}
	s.wakeReaderLocked()
	perched := s.tls.raw != nil
	s.mu.Unlock()
	if perched {
		s.unwatchTLS(c)
	}
	_ = s.Conn.Close()
}
