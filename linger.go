package edgews

import (
	"errors"
	"io"
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
		w.message.free()
	}
	w.unparsed.free()
	if w.undelivered != nil {
		w.undelivered.buf.free()
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
