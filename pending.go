package edgews

import "time"

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
	w.transmitAndUnlock()
	return false
}

// endLocked is end for those who hold mu, and write what is to be sent.
func (w *wire) endLocked(e pendingEnd) bool {
	if w.s.result == nil && w.s.hasUnhandledLocked() {
		w.postponeEndLocked(e)
	} else {
		w.applyEndLocked(e)
	}
	return false
}

// fail is end for a failure.
func (w *wire) fail(code StatusCode, reason string, err error) bool {
	return w.end(pendingEnd{code: code, reason: reason, err: err})
}

// postponeEndLocked keeps e until the messages before it have been dealt with. mu must be held.
func (w *wire) postponeEndLocked(e pendingEnd) {
	w.receiveUpTo(w.limit())
	later := e // or every end would be on the heap
	w.pending = &later
	w.s.status |= endWaits
	w.setPeerDeadlineLocked(maxPendingEnd(w.s.opts))
	w.pauseReadingLocked()
}

// maxPendingEnd is how long an end waits at the most: a little less than CloseTimeout, because a peer that has said Close may wait for the
// answer no longer than that.
func maxPendingEnd(opts *Options) time.Duration { return opts.CloseTimeout - opts.CloseTimeout/8 }

// applyEndLocked ends the socket. mu must be held.
func (w *wire) applyEndLocked(e pendingEnd) {
	switch c := e.closing; {
	case c == nil:
		w.s.failLocked(e.code, e.reason, e.err)
	case w.s.closedLocked(*c):
		w.closeLocked(*c)
	}
}

// resumeEnd applies the pending end, unless it still has to wait. It returns false, for those who go on reading.
func (w *wire) resumeEnd() bool {
	s := w.s
	s.mu.Lock()
	if left, _ := w.peerTimeLeftLocked(); left > 0 && s.hasUnhandledLocked() {
		w.pauseReadingLocked()
		s.mu.Unlock()
		return false
	}
	e := *w.pending
	w.pending, w.peerDeadline = nil, 0
	s.status &^= endWaits
	w.applyEndLocked(e)
	w.transmitAndUnlock()
	return false
}

// checkPendingEndLocked has the pending end applied when its time has come. mu must be held.
func (w *wire) checkPendingEndLocked() {
	if left, _ := w.peerTimeLeftLocked(); left > 0 {
		w.setTimerLocked(left)
		return
	}
	w.resumeReadingLocked()
}

// hasUnhandledLocked reports whether messages have arrived that the application may still want to answer: those that wait for a
// receiver or an object, and the one that was taken last, until more is asked for. mu must be held.
func (s *Socket) hasUnhandledLocked() bool {
	switch {
	case !s.is(pulling), s.in == nil, s.is(sentClose | lost):
		return false
	case s.in.want == wantNothing:
		return s.in.queue.len() > 0 || s.in.lentBuffer != nil
	}
	return s.arrivedLocked(s.in.want)
}

// objectDone ends an object's work on a message. buf holds the message.
func (s *Socket) objectDone(buf *buffer) {
	s.mu.Lock()
	s.in.lentBuffer = nil
	s.link.resumeReadingLocked()
	s.mu.Unlock()
	buf.free()
}
