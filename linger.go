package edgews

import (
	"errors"
	"os"
	"time"
)

// linger sees the connection off after the socket has ended. Closing a TCP connection that holds unread bytes resets
// it and may destroy our Close on its way, so what the peer still sends is read and dropped until it hangs up, for
// CloseTimeout after our last byte at most. A half-open socket lingers until the application closes it.
func (w *wire) linger() {
	defer w.hangUp()
	if !w.parting(false) {
		return
	}
	w.transmit()
	w.shutIfFlushed()
	for {
		b, err := w.conn.ReadBuffer()
		switch {
		case err == nil:
			b.Release()
		case !errors.Is(err, os.ErrDeadlineExceeded) || !w.parting(true):
			return
		}
	}
}

// parting sets how long to go on reading. It returns false when there is nobody to wait for.
func (w *wire) parting(again bool) bool {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case w.out.broken, s.is(lost) && !s.is(sentClose):
		return false
	case s.is(sentClose):
		if again && !w.out.writing && w.out.empty() {
			return false
		}
		w.conn.SetReadDeadline(time.Now().Add(s.opts.CloseTimeout))
	default:
		w.conn.SetReadDeadline(time.Time{})
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
