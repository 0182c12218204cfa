package edgews

import (
	"errors"
	"io"
)

// conclude delivers the last events, in the connection's turn, and then sees the connection off. Closing a TCP connection that
// holds unread bytes resets it and may destroy our Close on its way, so what the peer still sends is read and dropped until it
// hangs up, for CloseTimeout after our last byte at most. A half-open socket lingers until the application
// closes it.
func (w *wire) conclude() {
	w.dropClaim()
	w.s.finish()
	w.parting, w.halted = true, false
	w.dropInput()
	if !w.startParting() {
		w.hangUp()
		return
	}
	w.Flush()
	w.shutIfFlushed()
}

// dropInput gives back what was received and will not be delivered.
func (w *wire) dropInput() {
	if w.incoming == nil {
		return
	}
	w.dropClaim()
	if !w.direct { // or a Read may still be waiting to fill it
		w.message.Free()
	}
	w.rest.Free()
	if w.unwanted != nil {
		w.unwanted.buf.Free()
	}
	w.incoming = nil // not to be used again: the decoder may be anywhere
}

// startParting starts the time in which the peer has to hang up. It returns false when there is nobody to wait for.
func (w *wire) startParting() bool {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.brokenLocked() || s.is(lost) && !s.is(sentClose) {
		return false
	}
	if s.is(sentClose) {
		w.limitLocked(s.opts.CloseTimeout)
	}
	return true
}

// tickParting cuts a peer that does not hang up, once there is nothing left to be written to it. It reports whether
// the connection is to be cut. mu must be held.
func (w *wire) tickParting() bool {
	switch left, limited := w.closeInLocked(); {
	case w.brokenLocked(), w.s.is(lost) && !w.s.is(sentClose):
		return true
	case !w.s.is(sentClose) && !limited: // half open: for as long as the application likes
		return false
	case left > 0:
		w.armLocked(left)
		return false
	case w.out != nil && !w.out.flushed(): // WriteTimeout watches that
		w.limitLocked(w.s.opts.CloseTimeout)
		return false
	}
	return true
}

// shutIfFlushed ends our side when both sides have said Close and nobody is writing any more, who would do it.
func (w *wire) shutIfFlushed() {
	w.s.mu.Lock()
	flushed := w.s.is(sentClose) && (w.out == nil || w.out.flushed())
	w.s.mu.Unlock()
	if flushed {
		w.shut()
	}
}

// endOfStream reports whether err says that the peer has ended its side, in an orderly way: ours may still be written.
func endOfStream(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// outlivesInput reports whether the connection has to stay, although nothing more will come: what is queued and our Close have still to
// leave. WriteTimeout bounds the first, CloseTimeout an application that does not say Close. It is called in the connection's
// turn, and stops the reading.
func (w *wire) outlivesInput() bool {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.saidAllLocked() {
		return false
	}
	w.halted = true
	s.status |= inputOver
	if _, limited := w.closeInLocked(); !limited {
		w.limitLocked(s.opts.CloseTimeout)
	}
	return true
}

// saidAllLocked reports whether nothing is left to be written to a peer that has ended its side, or nothing can be. mu must be held.
func (w *wire) saidAllLocked() bool {
	switch {
	case w.brokenLocked(), w.s.fate.Code == StatusAbnormalClosure:
		return true
	case !w.s.is(sentClose): // half open
		return false
	}
	return w.out == nil || w.out.flushed()
}

// hangUpIfDone closes a connection that has outlived its input, in its turn, once everything has been written.
func (w *wire) hangUpIfDone() {
	w.s.mu.Lock()
	done := w.s.is(inputOver) && w.saidAllLocked()
	w.s.mu.Unlock()
	if done {
		w.hangUp()
	}
}

// shut tells the peer that nothing more will come. Where that cannot be said it cuts the connection.
func (w *wire) shut() {
	w.conn.CloseWrite()
	w.s.mu.Lock()
	over := w.s.is(inputOver)
	w.s.mu.Unlock()
	if over {
		w.conn.Wake()
	}
}

// cutAndUnlock ends the connection both ways. mu must be held; it is released.
func (w *wire) cutAndUnlock() {
	w.outLocked().fail(nil)
	over := w.s.is(inputOver)
	w.s.mu.Unlock()
	w.conn.Shutdown()
	if over {
		w.conn.Wake()
	}
}

// hangUp closes the connection and lets everyone who waits for it go.
func (w *wire) hangUp() {
	w.parting = true
	w.dropInput()
	w.conn.Close()
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.status |= lost
	w.outLocked().fail(nil)
	w.s.wakeAllLocked()
}
