package edgews

import (
	"errors"
	"io"
	"time"
)

// finishAndLinger delivers the last events and then closes the connection or lets it linger. It is called in the connection's turn. If a
// TCP connection is closed with unread bytes, it is reset, and the peer may lose our Close frame (RFC 6455 §7.1.1). So a lingering connection
// is read, and the bytes are dropped, until the peer closes it or CloseTimeout has passed since our last byte. The connection of a half-open
// socket lingers without a deadline until the application sends its Close frame.
func (w *wire) finishAndLinger() {
	w.releaseReservation()
	w.releaseHandler()
	w.s.finish()
	w.lingering, w.readingPaused = true, false
	w.dropInput()
	if !w.startLingering() {
		w.closeConn()
		return
	}
	w.Flush(nil)
	w.closeWriteSideIfFlushed()
}

// releaseHandler ends writing before the last event, on a connection that ends when a handler returns that waits for that event. It waits, for
// CloseTimeout at most, until what is queued has been written. A half-open socket goes on sending: its handler has to wait for longer. It is
// called in the connection's turn.
func (w *wire) releaseHandler() {
	s := w.s
	if w.lingering || !w.conn.EndsWithHandler() {
		return
	}
	w.Flush(nil)
	late := time.NewTimer(s.opts.CloseTimeout)
	defer late.Stop()
	s.mu.Lock()
	goesOn := !s.is(sentClose | lost)
	for waiting := true; waiting && !goesOn && !s.is(lost) && !w.flushedLocked(); {
		written := s.waitersLocked().hasRoom.wait()
		s.mu.Unlock()
		select {
		case <-written:
		case <-late.C:
			waiting = false
		}
		s.mu.Lock()
	}
	s.mu.Unlock()
	if !goesOn {
		w.conn.Release()
	}
}

// dropInput frees the received bytes, which will not be delivered. It is called in the connection's turn.
func (w *wire) dropInput() {
	if w.incoming == nil {
		return
	}
	w.releaseReservation()
	if !w.direct { // otherwise a pending Read may still write to the buffer: the garbage collector frees it
		w.message.Free()
	}
	w.unparsed.Free()
	w.incoming = nil // not returned to the pool: the decoder may be in the middle of a frame
}

// startLingering sets the deadline by which the peer must close the connection, if our Close frame has been queued. It returns false if
// the connection is to be closed at once, because it is broken, or has ended without our Close frame.
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

// checkLingeringLocked is checkTimers for a socket that has ended. It reports whether the connection is to be shut down: because it is
// broken, or because everything has been written, or never can be, and the peer has not closed it by the deadline. mu must be held.
func (w *wire) checkLingeringLocked() bool {
	switch left, limited := w.peerTimeLeftLocked(); {
	case w.brokenLocked(), w.s.is(lost) && !w.s.is(sentClose):
		return true
	case !w.s.is(sentClose) && !limited: // half open: the application has no deadline
		return false
	case left > 0:
		w.setTimerLocked(left)
		return false
	case w.s.result.Code == StatusAbnormalClosure && w.s.isOutputHeldLocked(): // the socket was cut, perhaps because the commit hangs
		return true
	case !w.flushedLocked(): // WriteTimeout limits writing
		w.setPeerDeadlineLocked(w.s.opts.CloseTimeout)
		return false
	}
	return true
}

// closeWriteSideIfFlushed closes our side of the connection if the Close frame and everything before it have been written. If a goroutine
// is still writing, closeSentAndUnlock closes it afterwards.
func (w *wire) closeWriteSideIfFlushed() {
	w.s.mu.Lock()
	flushed := w.s.is(sentClose) && w.flushedLocked()
	w.s.mu.Unlock()
	if flushed {
		w.closeWriteSide()
	}
}

// endOfStream reports whether err is the end of the stream: the peer has closed its side of the connection, and ours can still be written.
func endOfStream(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// staysOpenForWriting reports whether the connection has to stay open after the peer has closed its side, because queued frames or our Close
// frame are not written yet. WriteTimeout limits the time for queued frames, CloseTimeout the time until a half-open socket sends its
// Close frame. If it returns true, it has ended reading. It is called in the connection's turn.
func (w *wire) staysOpenForWriting() bool {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.allSentLocked() {
		return false
	}
	w.readingPaused = true
	s.facts |= readEnded
	if _, limited := w.peerTimeLeftLocked(); !limited {
		w.setPeerDeadlineLocked(s.opts.CloseTimeout)
	}
	return true
}

// allSentLocked reports whether nothing more can or needs to be written to a peer that has closed its side. The socket must have ended. mu
// must be held.
func (w *wire) allSentLocked() bool {
	switch {
	case w.brokenLocked(), w.s.result.Code == StatusAbnormalClosure:
		return true
	case !w.s.is(sentClose): // half open
		return false
	}
	return w.flushedLocked()
}

// closeConnIfDone closes a connection whose peer has closed its side, once everything has been written. It is called in the connection's
// turn.
func (w *wire) closeConnIfDone() {
	w.s.mu.Lock()
	done := w.s.is(readEnded) && w.allSentLocked()
	w.s.mu.Unlock()
	if done {
		w.closeConn()
	}
}

// closeWriteSide closes our side of the connection (TCP FIN, TLS close_notify), or the whole connection if it has no such operation.
func (w *wire) closeWriteSide() {
	w.keepAddrs() // not every connection has a CloseWrite of its own
	w.conn.CloseWrite()
	w.s.mu.Lock()
	over := w.s.is(readEnded)
	w.s.mu.Unlock()
	if over {
		w.conn.Wake()
	}
}

// shutdownAndUnlock ends the connection in both directions. ReadEnded or Woken then closes it. mu must be held; it is released.
func (w *wire) shutdownAndUnlock() {
	w.breakLocked(nil)
	over := w.s.is(readEnded)
	w.s.mu.Unlock()
	w.keepAddrs()
	w.conn.Shutdown()
	if over {
		w.conn.Wake()
	}
}

// closeConn closes the connection and wakes all goroutines that wait on the socket. It is called in the connection's turn.
func (w *wire) closeConn() {
	w.lingering = true
	w.dropInput()
	w.keepAddrs()
	w.conn.Close()
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.facts |= lost
	w.breakLocked(nil)
	w.s.wakeAllLocked()
}

// breakLocked says that nothing more is written, because of err; nil: the connection is closed. What has not been written is discarded. mu must
// be held.
func (w *wire) breakLocked(err error) {
	w.outboxLocked().Fail(err)
	w.s.discardDeferredLocked()
}

// pendingEnd is an end of the socket that the peer has caused: by its Close frame, by a violation of the protocol or of a limit.
//
// Frames take effect in the order in which they arrive. A listener handles each message before the next frame is decoded; receive
// methods and objects take messages later. An end that arrives behind messages that have not been handled waits until they have been,
// but no longer than maxPendingEnd. Until then Send and Write work, and nothing more is read.
type pendingEnd struct {
	closing *closeFrame // the peer's Close frame; nil: the socket fails with the following fields

	code   StatusCode
	reason string
	err    error
}

// end ends the socket at once, or after the messages before e have been handled. It returns false: do not continue reading.
func (w *wire) end(e pendingEnd) bool {
	w.s.mu.Lock()
	w.endLocked(e)
	w.transmitAndUnlock()
	return false
}

// endLocked is end without the write: the caller writes the outbox. mu must be held.
func (w *wire) endLocked(e pendingEnd) bool {
	if !w.s.hasEndedLocked() && w.s.hasUnhandledLocked() {
		w.postponeEndLocked(e)
	} else {
		w.applyEndLocked(e)
	}
	return false
}

// fail is end for a failure. It returns false: do not continue reading.
func (w *wire) fail(code StatusCode, reason string, err error) bool {
	return w.end(pendingEnd{code: code, reason: reason, err: err})
}

// postponeEndLocked keeps e until the messages before it have been handled. mu must be held.
func (w *wire) postponeEndLocked(e pendingEnd) {
	w.acquireIncoming(w.limit())
	later := e // a copy, so that e itself stays on the stack
	w.pending = &later
	w.s.facts |= endWaits
	w.setPeerDeadlineLocked(maxPendingEnd(w.s.opts))
	w.pauseReadingLocked()
}

// maxPendingEnd is the time for which an end waits at most: seven eighths of CloseTimeout, because a peer that has sent its Close frame may
// wait for the answer no longer than CloseTimeout.
func maxPendingEnd(opts *Options) time.Duration { return opts.CloseTimeout - opts.CloseTimeout/8 }

// applyEndLocked ends the socket. mu must be held.
func (w *wire) applyEndLocked(e pendingEnd) {
	switch c := e.closing; {
	case c == nil:
		w.s.failLocked(e.code, e.reason, e.err)
	case w.s.closedLocked(*c):
		w.s.closeLinkLocked(*c)
	}
}

// resumeEnd applies the pending end, unless it still has to wait. It returns false: do not continue reading.
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
	s.facts &^= endWaits
	w.applyEndLocked(e)
	w.transmitAndUnlock()
	return false
}

// checkPendingEndLocked wakes the turn, which applies the pending end, when the end has waited for maxPendingEnd. mu must be held.
func (w *wire) checkPendingEndLocked() {
	if left, _ := w.peerTimeLeftLocked(); left > 0 {
		w.setTimerLocked(left)
		return
	}
	w.resumeReadingLocked()
}
