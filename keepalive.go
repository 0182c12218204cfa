package edgews

import (
	"fmt"
	"time"

	"github.com/edgews/edgews/internal/frame"
)

// armLocked makes tick run after d, or earlier if it is due earlier. mu must be held.
func (w *wire) armLocked(d time.Duration) {
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.tick)
	} else {
		w.timer.Reset(d)
	}
}

// tick looks whether the peer is late: with anything at all (keep-alive), with its Close, or with hanging up.
// One timer serves all three; it is not touched by the bytes that arrive, only by what it finds when it fires.
func (w *wire) tick() {
	cut := false
	w.s.mu.Lock()
	switch {
	case w.s.fate != nil:
		cut = w.tickParting()
	case w.out.broken:
		w.s.loseLocked(w.writeErr)
	case w.s.is(sentClose):
		w.tickClosing()
	default:
		w.tickOpen()
	}
	w.s.mu.Unlock()
	if cut {
		w.conn.Close()
		return
	}
	w.transmit()
}

// tickClosing waits for the peer's Close. mu must be held.
func (w *wire) tickClosing() {
	if w.closeBy.IsZero() { // our Close has not left yet; WriteTimeout watches that
		return
	}
	if left := time.Until(w.closeBy); left > 0 {
		w.armLocked(left)
		return
	}
	w.s.loseLocked(nil)
}

// tickOpen pings a silent peer, and drops one that stays silent. Any byte counts as life. mu must be held.
func (w *wire) tickOpen() {
	opts := w.s.opts
	heard := time.Duration(w.heard.Load())
	silent := time.Since(epoch) - heard
	if heard == notListening {
		silent, w.pinged = 0, time.Time{}
	}
	switch {
	case silent < opts.KeepAlive:
		w.pinged = time.Time{}
		w.armLocked(opts.KeepAlive - silent)
	case w.pinged.IsZero():
		w.pinged = time.Now()
		w.out.addControl(w.header(frame.Ping), nil)
		w.armLocked(opts.KeepAliveTimeout)
	case time.Since(w.pinged) < opts.KeepAliveTimeout:
		w.armLocked(opts.KeepAliveTimeout - time.Since(w.pinged))
	default:
		w.s.loseLocked(fmt.Errorf("%w: nothing for %v after a ping (see Options.KeepAliveTimeout)", ErrNoPong, opts.KeepAliveTimeout))
	}
}

func (w *wire) stopTimers() {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	for _, timer := range []*time.Timer{w.timer, w.corkTimer} {
		if timer != nil {
			timer.Stop()
		}
	}
}
