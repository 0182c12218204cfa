package tunnel

import (
	"errors"

	"github.com/edgews/edgews/internal/park"
)

// Splicing saves two copies, but costs system calls more and a pipe: it begins when a read was large, and ends after a number of turns in
// which little came.
const (
	bulkFrom     = 16 << 10 // bytes of a read or a turn that are large
	bulkTurns    = 8        // turns with less before copying begins again
	spliceBudget = 1 << 20  // bytes of one turn
)

// copied notes that n bytes have been read and written by copying.
func (s *side) copied(n int) {
	if n >= bulkFrom && !s.unspliced && s.conn.OnLoop() && s.other().conn.OnLoop() {
		s.bulk = bulkTurns
	}
}

// splice forwards what has arrived through a pipe. If that is not possible, it returns false, and the bytes are to be copied.
func (s *side) splice() (ok bool) {
	p := takePipe()
	if p == nil {
		s.bulk = 0
		return false
	}
	for total := 0; total < spliceBudget; {
		n, err := s.conn.SpliceTo(p.in, pipeSize)
		if err != nil {
			p.release()
			return s.spliced(total, err)
		}
		total += n
		p.n = n
		s.moved.Store(s.conn.CoarseNow())
		n, err = s.other().conn.SpliceFrom(p.out, n)
		p.n -= n
		switch {
		case err == park.ErrWouldBlock:
			s.pipe = p
			s.awaitRoom()
			if s.room.Load() == free { // there was room again at once: no other call of Woken follows, and perhaps no event either
				s.conn.YieldTurn()
			}
			return true
		case err != nil:
			p.release()
			s.writeFailed(err)
			return true
		}
	}
	p.release()
	s.conn.YieldTurn()
	return true
}

// spliced ends a turn in which total bytes have been spliced before err. It returns what splice returns.
func (s *side) spliced(total int, err error) (ok bool) {
	switch {
	case err == park.ErrWouldBlock:
		if total >= bulkFrom {
			s.bulk = bulkTurns
		} else {
			s.bulk--
		}
	case errors.Is(err, errNotSpliceable):
		s.bulk, s.unspliced = 0, true
		return false
	default:
		s.ReadEnded(err)
	}
	return true
}
