package edgews

import (
	"errors"
	"io"
	"time"
)

// finishAndLinger delivers the last events, in the connection's turn, and then sees the connection off. Closing a TCP connection that
// holds unread bytes resets it and may destroy our Close on its way, so what the peer still sends is read and dropped until it
// hangs up, for CloseTimeout after our last byte at most. A half-open socket lingers until the application
// closes it.
func (w *wire) finishAndLinger() {
	w.dropInflateClaim()
	w.s.finish()
	w.lingering, w.readingPaused = true, false
	w.dropInput()
	if !w.startLingering() {
		w.closeConn()
		return
	}
	w.Flush()
	w.closeWriteSideIfFlushed()
}

// dropInput gives back what was received and will not be delivered.
func (w *wire) dropInput() {
	if w.incoming == nil {
		return
	}
	w.dropInflateClaim()
	if !w.direct { // or a Read may still be waiting to fill it
		w.message.Free()
	}
	w.unparsed.Free()
	if w.undelivered != nil {
		w.undelivered.buf.Free()
	}
	w.incoming = nil // not to be used again: the decoder may be anywhere
}

// startLingering starts the time in which the peer has to hang up. It returns false when there is nobody to wait for.
func (w *wire) startLingering() bool {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.brokenLocked() || s.is(lost) && !s.is(sentClose) {
		return false
	}
	if s.is(sentClose) {
		w.setPeerDeadlineLocked(s.opts.CloseTimeout)
	}
	return true
}

// tickLingeringLocked cuts a peer that does not hang up, once there is nothing left to be written to it. It reports whether
// the connection is to be cut. mu must be held.
func (w *wire) tickLingeringLocked() bool {
	switch left, limited := w.peerTimeLeftLocked(); {
	case w.brokenLocked(), w.s.is(lost) && !w.s.is(sentClose):
		return true
	case !w.s.is(sentClose) && !limited: // half open: for as long as the application likes
		return false
	case left > 0:
		w.setTimerLocked(left)
		return false
	case w.out != nil && !w.out.flushed(): // WriteTimeout watches that
		w.setPeerDeadlineLocked(w.s.opts.CloseTimeout)
		return false
	}
	return true
}

// closeWriteSideIfFlushed ends our side when both sides have said Close and nobody is writing any more, who would do it.
func (w *wire) closeWriteSideIfFlushed() {
	w.s.mu.Lock()
	flushed := w.s.is(sentClose) && (w.out == nil || w.out.flushed())
	w.s.mu.Unlock()
	if flushed {
		w.closeWriteSide()
	}
}

// endOfStream reports whether err says that the peer has ended its side, in an orderly way: ours may still be written.
func endOfStream(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// staysOpenForWriting reports whether the connection has to stay, although nothing more will come: what is queued and our Close have still to
// leave. WriteTimeout bounds the first, CloseTimeout an application that does not say Close. It is called in the connection's
// turn, and stops the reading.
func (w *wire) staysOpenForWriting() bool {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.allSentLocked() {
		return false
	}
	w.readingPaused = true
	s.status |= readEnded
	if _, limited := w.peerTimeLeftLocked(); !limited {
		w.setPeerDeadlineLocked(s.opts.CloseTimeout)
	}
	return true
}

// allSentLocked reports whether nothing is left to be written to a peer that has ended its side, or nothing can be. mu must be held.
func (w *wire) allSentLocked() bool {
	switch {
	case w.brokenLocked(), w.s.result.Code == StatusAbnormalClosure:
		return true
	case !w.s.is(sentClose): // half open
		return false
	}
	return w.out == nil || w.out.flushed()
}

// closeConnIfDone closes a connection that has outlived its input, in its turn, once everything has been written.
func (w *wire) closeConnIfDone() {
	w.s.mu.Lock()
	done := w.s.is(readEnded) && w.allSentLocked()
	w.s.mu.Unlock()
	if done {
		w.closeConn()
	}
}

// closeWriteSide tells the peer that nothing more will come. Where that cannot be said it cuts the connection.
func (w *wire) closeWriteSide() {
	w.conn.CloseWrite()
	w.s.mu.Lock()
	over := w.s.is(readEnded)
	w.s.mu.Unlock()
	if over {
		w.conn.Wake()
	}
}

// cutAndUnlock ends the connection both ways. mu must be held; it is released.
func (w *wire) shutdownAndUnlock() {
	w.outboxLocked().fail(nil)
	over := w.s.is(readEnded)
	w.s.mu.Unlock()
	w.conn.Shutdown()
	if over {
		w.conn.Wake()
	}
}

// closeConn closes the connection and lets everyone who waits for it go.
func (w *wire) closeConn() {
	w.lingering = true
	w.dropInput()
	w.conn.Close()
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.status |= lost
	w.outboxLocked().fail(nil)
	w.s.wakeAllLocked()
}

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
	if !w.s.is(ended) && w.s.hasUnhandledLocked() {
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
