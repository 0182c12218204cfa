// Package tunnel forwards the bytes of two connections to each other as they are.
//
// Each direction is moved in the turn of the connection that it comes from (see package park): bytes are read into the loop's buffer and
// written to the other connection at once. When that one has no room, the rest is kept, and nothing more is read until it has been
// written. Between two plain connections on the loop, the bytes of a direction that carries much move through a pipe by splice(2). An idle
// tunnel has no goroutine, no buffer and no pipe.
//
// The end of one side is passed on as what it is: an end of stream after the last byte, while the other direction goes on; a reset as a
// reset.
package tunnel

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/edgews/edgews/internal/buf"
	"github.com/edgews/edgews/internal/park"
)

// Options are shared by all tunnels that are started with them, and must not be changed afterwards. A time-out that is not positive never
// passes.
type Options struct {
	WriteTimeout time.Duration // for how long a side may take nothing of what waits for it
	EndTimeout   time.Duration // for how long no byte may move, also out of the kernel, after one side has ended its stream and the other has not
	IdleTimeout  time.Duration // for how long no byte may move otherwise

	// Ended, unless it is nil, is called once for each tunnel, when both connections are about to be closed. err is nil if both sides
	// have ended their streams. Ended must not block.
	Ended func(err error)
}

// The reasons for the end of a tunnel, besides the errors of its connections.
var (
	ErrWriteTimeout = errors.New("one side has taken nothing within the write time-out")
	ErrEndTimeout   = errors.New("one side has ended, and the other one has not followed in time")
	ErrIdleTimeout  = errors.New("no byte has moved within the idle time-out")
)

// tunnel is allocated once for both sides. On a 64-bit system it has 192 bytes; the loop's table takes 12 more for each connection.
type tunnel struct {
	sides [2]side
	opts  *Options
	state atomic.Uint32
}

// The bits of tunnel.state.
const (
	firstEnded   = 1 << iota // nothing more comes from sides[0], and the other side has got all that has come
	secondEnded              // the same for sides[1]
	firstClosed              // sides[0].conn has been closed
	secondClosed             // the same for sides[1]
	firstReset               // writing to sides[0].conn has failed because its peer has reset it
	secondReset              // the same for sides[1]
	aborted                  // both connections are to be reset
	firstHeld                // sides[0] has ended, and the kernel has held bytes for the other peer
	secondHeld               // the same for sides[1]

	bothEnded  = firstEnded | secondEnded
	bothClosed = firstClosed | secondClosed
)

// side is one connection of a tunnel, and the direction from it to the other connection.
type side struct {
	conn park.Conn
	t    *tunnel

	// Owned by the connection's turn. While room is writing, writeBlocking uses the bytes of rest.
	rest      *buf.Buffer // bytes that wait for room; nil: none
	pipe      *pipe       // holds bytes that wait for room; nil: none
	taken     int32       // the number of bytes of rest that have been written
	ended     bool        // nothing more is read
	closed    bool
	bulk      uint8 // > 0: splice instead of copying, for so many turns in which little comes
	unspliced bool  // splice does not work for these connections

	room  atomic.Uint32 // free, waiting, writing or written
	moved atomic.Uint32 // when bytes last moved, or began to wait; see park.Now
}

// The values of side.room.
const (
	free    = iota // nothing waits for room
	waiting        // the other connection's Writable wakes this one
	writing        // writeBlocking writes rest
	written        // writeBlocking has written rest
)

// Start begins to forward between a and b, which the tunnel owns from now on. earlyA and earlyB are what has been read from them before;
// they are copied.
func Start(a, b net.Conn, earlyA, earlyB []byte, opts *Options) {
	t := &tunnel{opts: opts}
	open.add(1)
	for i, start := range [2]struct {
		conn  net.Conn
		early []byte
	}{{a, earlyA}, {b, earlyB}} {
		s := &t.sides[i]
		s.t = t
		s.moved.Store(park.Now())
		if len(start.early) > 0 {
			s.rest = buf.Copy(start.early)
			s.room.Store(waiting)
		}
		s.conn.Init(start.conn, s)
	}
	for i := range t.sides {
		t.sides[i].conn.Start()
	}
	for i := range t.sides { // a side that was started first may have met an end or a lack of room before the other one was started
		t.sides[i].conn.Wake()
	}
	if d := opts.WriteTimeout; d > 0 && len(earlyA)+len(earlyB) > 0 {
		t.sides[0].conn.SetTimer(d)
	}
	if opts.IdleTimeout > 0 {
		t.sides[0].conn.SetTimer(opts.IdleTimeout)
	}
}

// other returns the other side.
func (s *side) other() *side {
	if first := &s.t.sides[0]; s != first {
		return first
	}
	return &s.t.sides[1]
}

// bit returns the bit of tunnel.state that says of s what first says of sides[0].
func (s *side) bit(first uint32) uint32 {
	if s == &s.t.sides[0] {
		return first
	}
	return first << 1
}

// isOver reports whether both connections are to be closed.
func (t *tunnel) isOver() bool { return isOver(t.state.Load()) }

func isOver(state uint32) bool { return state&aborted != 0 || state&bothEnded == bothEnded }

// ReadBuffer implements [park.Handler].
func (s *side) ReadBuffer() (into []byte, ok bool) {
	switch {
	case s.ended || s.room.Load() != free || s.t.isOver():
		return nil, false
	case s.bulk > 0 && s.splice():
		return nil, false
	}
	return nil, true
}

// Received implements [park.Handler].
func (s *side) Received(p []byte, _ *any) (anyBuffer bool) {
	if s.ended || s.t.isOver() {
		return false
	}
	s.moved.Store(s.conn.CoarseNow())
	n, err := s.other().conn.TryWrite(p)
	switch {
	case err == nil:
		s.copied(len(p))
	case err == park.ErrWouldBlock:
		s.keep(p[n:])
	default:
		s.writeFailed(err)
	}
	return false
}

// ReadEnded implements [park.Handler].
func (s *side) ReadEnded(err error) {
	if s.t.state.Load()&s.bit(firstReset) != 0 { // the kernel reports a reset once
		err = syscall.ECONNRESET
	}
	switch {
	case !isEndOfStream(err):
		s.ended = true
		s.t.abort(err)
	case !s.ended: // writeFailed has not ended the direction
		s.ended = true
		if s.room.Load() == free {
			s.passEndOn()
		}
	}
}

// isEndOfStream reports whether err, of a read, is an orderly end. A TLS connection that ends without close_notify returns
// io.ErrUnexpectedEOF. A connection that cannot be closed in one direction is closed in both by CloseWrite.
func isEndOfStream(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}

// passEndOn ends the stream to the other connection, which has got everything.
func (s *side) passEndOn() {
	s.other().conn.CloseWrite()
	s.endDirection()
}

// endDirection notes that nothing more will move from s to the other side.
func (s *side) endDirection() {
	s.moved.Store(park.Now())
	if s.t.end(s.bit(firstEnded)|s.bit(firstHeld), nil) {
		return
	}
	if d := s.t.opts.EndTimeout; d > 0 {
		s.conn.SetTimer(d)
	}
}

// abort resets both connections because of err, unless the tunnel is over.
func (t *tunnel) abort(err error) { t.end(aborted, err) }

// end adds what to t.state. If the tunnel is over with that, end reports err as the reason, and both connections will be closed. It reports
// whether the tunnel is over.
func (t *tunnel) end(what uint32, err error) (over bool) {
	for {
		before := t.state.Load()
		switch after := before | what; {
		case isOver(before):
			return true
		case !t.state.CompareAndSwap(before, after):
			continue
		case !isOver(after):
			return false
		}
		if t.opts.Ended != nil {
			t.opts.Ended(err)
		}
		for i := range t.sides {
			t.sides[i].conn.Wake()
		}
		return true
	}
}

// Woken implements [park.Handler].
func (s *side) Woken() {
	if s.t.isOver() {
		s.close()
		return
	}
	switch s.room.Load() {
	case waiting:
		s.flush()
	case written:
		s.gotRoom()
	}
}

// close closes the connection, in its turn.
func (s *side) close() {
	if s.closed {
		return
	}
	s.closed = true
	s.dropRest()
	if s.t.state.Load()&aborted != 0 {
		s.conn.CloseReset()
	} else {
		s.conn.Close()
	}
	bit := s.bit(firstClosed)
	if before := s.t.state.Or(bit); (before|bit)&bothClosed == bothClosed {
		open.add(-1)
	}
}

// Writable implements [park.Handler].
func (s *side) Writable() {
	if from := s.other(); from.room.Load() == waiting {
		from.conn.Wake()
	}
}

// Flush implements [park.Handler]. Writes are never deferred.
func (s *side) Flush() {}

// TimerFired implements [park.Handler]. The timers of both sides are for the whole tunnel.
func (s *side) TimerFired() {
	t := s.t
	if t.isOver() {
		return
	}
	a, b := &t.sides[0], &t.sides[1]
	a.noteTaken()
	b.noteTaken()
	silent := min(a.silence(), b.silence())
	next := time.Duration(0) // until one of the time-outs can pass; 0: none is running
	for _, c := range []struct {
		running bool
		left    time.Duration
		err     error
	}{
		{a.room.Load() != free, t.opts.writeTimeout(a) - a.silence(), ErrWriteTimeout},
		{b.room.Load() != free, t.opts.writeTimeout(b) - b.silence(), ErrWriteTimeout},
		{t.opts.EndTimeout > 0 && t.state.Load()&bothEnded != 0, t.opts.EndTimeout - silent, ErrEndTimeout},
		{t.opts.IdleTimeout > 0, t.opts.IdleTimeout - silent, ErrIdleTimeout},
	} {
		switch {
		case !c.running:
		case c.left <= 0:
			t.abort(c.err)
			return
		case next == 0 || c.left < next:
			next = c.left
		}
	}
	if next > 0 {
		s.conn.SetTimer(next)
	}
}

// silence returns how long no byte has moved from s to the other side.
func (s *side) silence() time.Duration {
	return max(time.Duration(int32(park.Now()-s.moved.Load()))*time.Millisecond, 0)
}

// noteTaken notes as a move of s, which has ended, that the peer of the other connection has taken bytes that the kernel held for it.
func (s *side) noteTaken() {
	held := s.bit(firstHeld)
	if s.t.state.Load()&s.bit(firstEnded) == 0 {
		return
	}
	since, pending, ok := s.other().conn.SinceAck()
	if !ok || !pending && s.t.state.Load()&held == 0 {
		return
	}
	if !pending { // what is acknowledged from now on are at most TCP's own keep-alives
		s.t.state.And(^held)
	}
	if since < s.silence() {
		s.moved.Store(park.Now() - uint32(since/time.Millisecond))
	}
}
