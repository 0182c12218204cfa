package park

import (
	"net"
	"sync"
	"time"
)

// stream is a connection that a goroutine reads through its methods.
type stream struct {
	net.Conn
	waits bool     // it is a socket that may go to the loop
	raw   *rawConn // nil: not a socket of the operating system's

	// bell wakes the reader when it waits for something else than bytes. It has room for one ring.
	bell chan struct{}

	mu      sync.Mutex
	started bool
	tried   bool        // a write before the start has had to wait
	left    bool        // the connection has gone to the loop since
	reading bool        // a Read may be waiting
	asked   bool        // Wake was called
	standIn bool        // … and a goroutine has the turn for that, while the reader waits in Read
	over    bool        // closed
	timer   *time.Timer // Alarm
	due     time.Time   // when it fires; zero: not at all
	holder  *time.Timer // bounds Hold
	holding bool

	perch perch // on the loop, where another goroutine starts when there is something to do

	large bool // the last Read filled a small buffer; owned by the reader
}

func newStream(nc net.Conn) *stream { return &stream{Conn: nc, waits: lodges(nc)} }

// pending reports whether the connection is still to go to the loop: writes have to wait.
func (s *stream) pending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waits && !s.started
}

func (s *stream) start(c *Conn) {
	s.mu.Lock()
	s.started = true
	s.raw = newRawConn(s.Conn)
	tried := s.tried
	if !s.settle(c) {
		s.bell = make(chan struct{}, 1)
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
	deepen(0)
	done := false
	defer func() {
		if !done { // the handler has called runtime.Goexit
			go s.run(c)
		}
	}()
	for s.turn(c) {
	}
	done = true
}

// deepen makes the goroutine's stack as large as reading and writing TLS needs, now that there is nothing on it. Growing on the
// way would move it two or three times for each message, with everything on it.
//
//go:noinline
func deepen(n int) byte {
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
func (s *stream) turn(c *Conn) bool {
	if s.answer() {
		c.h.Woken()
	}
	into, ok := c.h.Room()
	switch {
	case !ok && s.perch.raw != nil:
		return !s.vacate(c, false) && !s.isOver()
	case !ok:
		return s.rest()
	case s.perch.raw != nil:
		return s.readPerched(c, into)
	case !s.beginRead():
		return !s.isOver()
	}
	if into != nil {
		n, err := s.Read(into)
		return s.took(c, into[:n], err)
	}
	return s.readShared(c)
}

// rest waits for a ring.
func (s *stream) rest() bool {
	<-s.bell
	return !s.isOver()
}

func (s *stream) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

func (s *stream) answer() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = false
	return asked && !s.over
}

func (s *stream) beginRead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = !s.asked && !s.over
	return s.reading
}

// endRead takes the turn back after a Read, when nobody stands in any more.
func (s *stream) endRead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = false
	for s.standIn {
		s.mu.Unlock()
		<-s.bell
		s.mu.Lock()
	}
}

// answerWhileReading calls Woken while the reader waits in Read. Not all connections have deadlines that could interrupt a Read, so
// the turn is lent to this goroutine for that.
func (s *stream) answerWhileReading(c *Conn) {
	done := false
	defer func() {
		if !done { // the handler has called runtime.Goexit
			go s.answerWhileReading(c)
		}
	}()
	for s.answerOrGiveBack() {
		c.h.Woken()
	}
	done = true
}

// answerOrGiveBack is answer for who stands in. It gives the turn back when there is nothing to do.
func (s *stream) answerOrGiveBack() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked && !s.over
	s.asked = false
	if !asked {
		s.standIn = false
		s.ring()
	}
	return asked
}

// readShared reads into a borrowed buffer. Where the system can wait without one it does.
func (s *stream) readShared(c *Conn) bool {
	switch {
	case s.raw != nil:
		b, n, err := s.raw.read()
		if b == nil {
			return s.took(c, nil, err)
		}
		defer largeBuffers.Put(b)
		return s.took(c, b[:n], err)
	case s.large:
		b := largeBuffers.Get().(*[largeBuffer]byte)
		defer largeBuffers.Put(b)
		n, err := s.Read(b[:])
		s.large = n >= smallBuffer
		return s.took(c, b[:n], err)
	}
	b := smallBuffers.Get().(*[smallBuffer]byte)
	defer smallBuffers.Put(b)
	n, err := s.Read(b[:])
	s.large = n == smallBuffer
	return s.took(c, b[:n], err)
}

// took hands on what a Read brought.
func (s *stream) took(c *Conn, p []byte, err error) bool {
	s.endRead()
	if len(p) > 0 && !s.isOver() {
		c.h.Input(p, nil) // which may want to read no further: if it does, the next Read brings the same error
		return !s.isOver()
	}
	if err == nil {
		return !s.isOver()
	}
	if s.answer() { // it was asked before it ended
		c.h.Woken()
	}
	if !s.isOver() {
		c.h.HungUp(err)
	}
	return !s.isOver() // it may have something to write
}

func (s *stream) wake(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
		return
	case s.left:
		c.leave(woken)
		return
	}
	s.asked = true
	s.occupy(c)
	if s.reading {
		if !s.standIn {
			s.standIn = true
			go s.answerWhileReading(c)
		}
		return
	}
	s.ring()
}

// ring wakes a goroutine that rests. mu must be held.
func (s *stream) ring() {
	if s.bell == nil {
		return
	}
	select {
	case s.bell <- struct{}{}:
	default:
	}
}

func (s *stream) tryWrite(c *Conn, p []byte) (int, error) {
	s.mu.Lock()
	raw, left, perched := s.raw, s.left, s.perch.raw != nil
	s.tried = s.tried || s.waits && !s.started
	s.mu.Unlock()
	switch {
	case left:
		return c.write(p)
	case raw != nil:
		return raw.write(p)
	case perched && len(p) <= tlsAtOnce && c.hasRoom():
		return s.Write(p)
	}
	return 0, ErrWouldBlock
}

func (s *stream) alarm(c *Conn, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
	case s.left, s.perch.raw != nil:
		c.setAlarm(d)
	default:
		s.setTimerLocked(c, d)
	}
}

// setTimerLocked has Due called after d, unless it is called earlier. mu must be held.
func (s *stream) setTimerLocked(c *Conn, d time.Duration) {
	at := time.Now().Add(d)
	if !s.due.IsZero() && !at.Before(s.due) {
		return
	}
	s.due = at
	if s.timer == nil {
		s.timer = time.AfterFunc(d, func() { s.timeUp(c) })
	} else {
		s.timer.Reset(d)
	}
}

func (s *stream) timeUp(c *Conn) {
	s.mu.Lock()
	s.due = time.Time{}
	s.mu.Unlock()
	c.h.Due()
}

// holdLimit is how long a write waits at the most for what a handler does meanwhile.
const holdLimit = time.Millisecond

func (s *stream) hold(c *Conn, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holding == more {
		return
	}
	s.holding = more
	switch {
	case !more:
		s.holder.Stop()
	case s.holder == nil:
		s.holder = time.AfterFunc(holdLimit, func() { s.unhold(c) })
	default:
		s.holder.Reset(holdLimit)
	}
}

func (s *stream) unhold(c *Conn) {
	s.mu.Lock()
	s.holding = false
	s.mu.Unlock()
	c.h.Flush()
}

func (s *stream) deferred() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.holding
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

func (s *stream) cut(c *Conn) {
	s.mu.Lock()
	left, perched := s.left, s.perch.raw != nil
	s.mu.Unlock()
	switch {
	case left:
		c.shutdown(true)
	case perched:
		s.fall(c)
	default:
		_ = s.Conn.Close()
	}
}

func (s *stream) close(c *Conn) {
	s.mu.Lock()
	s.over = true
	for _, timer := range []*time.Timer{s.timer, s.holder} {
		if timer != nil {
			timer.Stop()
		}
	}
	s.ring()
	perched := s.perch.raw != nil
	s.mu.Unlock()
	if perched {
		s.leavePerch(c)
	}
	_ = s.Conn.Close()
}
