package edgews

import (
	"time"

	"github.com/edgews/edgews/internal/buf"
)

// pendingEnd is how the peer ends the socket: with its Close, or by doing something wrong.
//
// What arrives takes effect in the order in which it arrived. Listeners have dealt with every message before the next frame is
// looked at; receive methods and objects take messages later. An end that arrives behind messages that have not been dealt with
// waits until they have been, for most of CloseTimeout at most. Until then Send and Write work, and nothing more is read.
type pendingEnd struct {
	closing *closeFrame // the peer's Close; nil: the socket fails, with what follows

	code   StatusCode
	reason string
	err    error
}

// end ends the socket because of what has arrived: at once, or after the messages before it. It returns false, for those who go on
// reading.
func (w *wire) end(e pendingEnd) bool {
	w.s.mu.Lock()
	w.endLocked(e)
	w.transmitLocked()
	return false
}

// endLocked is end for those who hold mu, and write what is to be sent.
func (w *wire) endLocked(e pendingEnd) bool {
	if w.s.fate == nil && w.s.unansweredLocked() {
		w.holdEndLocked(e)
	} else {
		w.applyLocked(e)
	}
	return false
}

// fail is end for a failure.
func (w *wire) fail(code StatusCode, reason string, err error) bool {
	return w.end(pendingEnd{code: code, reason: reason, err: err})
}

// holdEndLocked keeps e until the messages before it have been dealt with. mu must be held.
func (w *wire) holdEndLocked(e pendingEnd) {
	w.receiveUpTo(w.limit())
	later := e // or every end would be on the heap
	w.pending = &later
	w.s.status |= endWaits
	w.limitLocked(pendingFor(w.s.opts))
	w.haltLocked()
}

// pendingFor is how long an end waits at the most: a little less than CloseTimeout, because a peer that has said Close may wait for the
// answer no longer than that.
func pendingFor(opts *Options) time.Duration { return opts.CloseTimeout - opts.CloseTimeout/8 }

// applyLocked ends the socket. mu must be held.
func (w *wire) applyLocked(e pendingEnd) {
	switch c := e.closing; {
	case c == nil:
		w.s.failLocked(e.code, e.reason, e.err)
	case w.s.closedLocked(*c):
		w.closeLocked(*c)
	}
}

// retryEnd applies the pending end, unless it still has to wait. It returns false, for those who go on reading.
func (w *wire) retryEnd() bool {
	s := w.s
	s.mu.Lock()
	if left, _ := w.closeInLocked(); left > 0 && s.unansweredLocked() {
		w.haltLocked()
		s.mu.Unlock()
		return false
	}
	e := *w.pending
	w.pending, w.until = nil, 0
	s.status &^= endWaits
	w.applyLocked(e)
	w.transmitLocked()
	return false
}

// tickPendingLocked has the pending end applied when its time has come. mu must be held.
func (w *wire) tickPendingLocked() {
	if left, _ := w.closeInLocked(); left > 0 {
		w.armLocked(left)
		return
	}
	w.stirLocked()
}

// unansweredLocked reports whether messages have arrived that the application may still want to answer: those that wait for a
// receiver or an object, and the one that was taken last, until more is asked for. mu must be held.
func (s *Socket) unansweredLocked() bool {
	switch {
	case !s.is(pulling), s.in == nil, s.is(sentClose | lost):
		return false
	case s.in.want == wantNothing:
		return s.in.queue.len() > 0 || s.in.lent != nil
	}
	return s.arrivedLocked(s.in.want)
}

// workedOff ends an object's work on a message, which b holds.
func (s *Socket) workedOff(b *buf.Buffer) {
	s.mu.Lock()
	s.in.lent = nil
	s.link.stirLocked()
	s.mu.Unlock()
	b.Free()
}
