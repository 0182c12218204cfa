package tunnel

import (
	"errors"
	"math"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/edgews/edgews/internal/buf"
	"github.com/edgews/edgews/internal/park"
)

// keep keeps p until the other connection has room for it.
func (s *side) keep(p []byte) {
	s.rest, s.taken = buf.Copy(p), 0
	s.awaitRoom()
}

// awaitRoom continues to write what waits when the other connection has room. Until then nothing is read.
func (s *side) awaitRoom() {
	s.moved.Store(park.Now())
	if d := s.t.opts.WriteTimeout; d > 0 {
		s.conn.SetTimer(d)
	}
	if s.pipe == nil && !s.other().conn.NotifiesWritable() {
		s.room.Store(writing)
		go s.writeBlocking(s.other().conn.BlockingConn(), s.rest.B[s.taken:]) // the turn may drop rest before the goroutine runs
		return
	}
	s.room.Store(waiting)
	s.flush() // Writable may have been called before it could see that something waits
}

// flush writes what waits, as far as there is room.
func (s *side) flush() {
	n, err := s.writeRest()
	if n > 0 {
		s.moved.Store(park.Now())
	}
	switch {
	case err == nil:
		s.gotRoom()
	case err != park.ErrWouldBlock:
		s.writeFailed(err)
	case s.pipe == nil && !s.other().conn.NotifiesWritable(): // Start has found that it does not
		s.awaitRoom()
	}
}

// writeRest writes what waits without blocking, and returns how much the kernel has taken.
func (s *side) writeRest() (n int, err error) {
	if s.pipe != nil {
		n, err = s.other().conn.SpliceFrom(s.pipe.out, s.pipe.n)
		s.pipe.n -= n
		return n, err
	}
	n, err = s.other().conn.TryWrite(s.rest.B[s.taken:])
	s.taken += int32(n)
	return n, err
}

// gotRoom continues to read after everything that waited has been written.
func (s *side) gotRoom() {
	s.dropRest()
	s.room.Store(free)
	if s.ended {
		s.passEndOn()
	}
}

// dropRest releases the buffer and the pipe of what waits. A buffer that writeBlocking uses is left to the garbage collector.
func (s *side) dropRest() {
	if s.room.Load() != writing {
		s.rest.Free()
	}
	s.rest = nil
	if s.pipe != nil {
		s.pipe.release()
		s.pipe = nil
	}
}

// writeFailed ends the direction after writing to the other connection has failed with err. What that side has still sent is forwarded
// until its own end arrives.
func (s *side) writeFailed(err error) {
	if errors.Is(err, syscall.ECONNRESET) {
		s.t.state.Or(s.other().bit(firstReset))
	}
	s.ended = true
	s.dropRest()
	s.room.Store(free)
	s.endDirection()
}

// writeChunk is the number of bytes that are written with one deadline: a TLS connection that misses a deadline cannot be used again
// even if part of the bytes was sent.
const writeChunk = 16 << 10

// writeBlocking writes p, what is left of rest, to conn, which does not say when it has room.
func (s *side) writeBlocking(conn net.Conn, p []byte) {
	for len(p) > 0 {
		if d := s.t.opts.WriteTimeout; d > 0 {
			_ = conn.SetWriteDeadline(time.Now().Add(d)) // if that fails, TimerFired ends the tunnel
		}
		n, err := conn.Write(p[:min(len(p), writeChunk)])
		if p = p[n:]; n > 0 {
			s.moved.Store(park.Now())
		}
		switch late := errors.Is(err, os.ErrDeadlineExceeded); {
		case err == nil || late && n > 0: // a slow peer; a TLS connection fails at the next Write
		case late:
			s.t.abort(ErrWriteTimeout)
			return
		default:
			s.t.abort(err)
			return
		}
	}
	_ = conn.SetWriteDeadline(time.Time{})
	s.room.Store(written)
	s.conn.Wake()
}

// deadlineGrace is how much later than its deadline a Write may return.
const deadlineGrace = time.Second

// writeTimeout returns for how long the other side may take nothing of what comes from s.
func (o *Options) writeTimeout(s *side) time.Duration {
	switch {
	case o.WriteTimeout <= 0:
		return math.MaxInt64
	case s.room.Load() == writing: // writeBlocking has deadlines, but not all work
		return o.WriteTimeout + deadlineGrace
	}
	return o.WriteTimeout
}
