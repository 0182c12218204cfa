package edgews

// linger sees the connection off after the socket has ended. Closing a TCP connection that holds unread bytes
// resets it and may destroy our Close on its way, so what the peer still sends is read and dropped until it
// hangs up, for CloseTimeout after our last byte at most. A half-open socket lingers until the application
// closes it.
func (w *wire) linger() {
	defer w.hangUp()
	if !w.parting() {
		return
	}
	w.transmit()
	w.shutIfFlushed()
	for {
		b, err := w.conn.ReadBuffer()
		if err != nil {
			return
		}
		b.Release()
	}
}

// parting starts the time in which the peer has to hang up. It returns false when there is nobody to wait for.
func (w *wire) parting() bool {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.out.broken || s.is(lost) && !s.is(sentClose) {
		return false
	}
	w.conn.Resume()
	if s.is(sentClose) {
		w.armLocked(s.opts.CloseTimeout)
	}
	return true
}

// tickParting cuts a peer that does not hang up, once there is nothing left to be written to it. It reports whether
// the connection is to be closed. mu must be held.
func (w *wire) tickParting() bool {
	switch {
	case w.out.broken, w.s.is(lost) && !w.s.is(sentClose):
		return true
	case !w.s.is(sentClose): // half open: for as long as the application likes
		return false
	case w.out.writing || !w.out.empty(): // WriteTimeout watches that
		w.armLocked(w.s.opts.CloseTimeout)
		return false
	}
	return true
}

// shutIfFlushed ends our side when both sides have said Close and nobody is writing any more, who would do it.
func (w *wire) shutIfFlushed() {
	w.s.mu.Lock()
	flushed := w.s.is(sentClose) && !w.out.writing && w.out.empty()
	w.s.mu.Unlock()
	if flushed {
		w.shut()
	}
}

// hangUp closes the connection and lets everyone who waits for it go.
func (w *wire) hangUp() {
	w.conn.Close()
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.status |= lost
	w.out.fail()
	w.s.wakeAllLocked()
}
