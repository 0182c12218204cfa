package edgews

// conclude delivers the last events, in the connection's turn, and then sees the connection off. Closing a TCP connection that
// holds unread bytes resets it and may destroy our Close on its way, so what the peer still sends is read and dropped until it
// hangs up, for CloseTimeout after our last byte at most. A half-open socket lingers until the application
// closes it.
func (w *wire) conclude() {
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
	if !w.direct { // or a Read may still be waiting to fill it
		w.message.free()
	}
	w.rest.free()
	if w.unwanted != nil {
		w.unwanted.buf.free()
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
	switch left, _ := w.closeInLocked(); {
	case w.brokenLocked(), w.s.is(lost) && !w.s.is(sentClose):
		return true
	case !w.s.is(sentClose): // half open: for as long as the application likes
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
