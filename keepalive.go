package edgews

import (
	"fmt"
	"time"

	"github.com/edgews/edgews/internal/frame"
)

// armLocked makes tick run after d, or earlier if it is due earlier. mu must be held.
func (w *wire) armLocked(d time.Duration) {
	at := time.Since(epoch) + d
	if w.alarm != 0 && w.alarm <= at {
		return
	}
	w.alarm = at
	w.conn.Alarm(d)
}

// limitLocked gives the peer d for what is to come. mu must be held.
func (w *wire) limitLocked(d time.Duration) {
	w.closeBy = time.Since(epoch) + d
	w.armLocked(d)
}

// Due implements [park.Handler].
func (w *wire) Due() { w.tick() }

// tick looks whether the peer is late: with taking what we send, with anything at all (keep-alive), with its Close, or with
// hanging up. One alarm serves all; it is not touched by the bytes that arrive, only by what it finds when it goes off.
func (w *wire) tick() {
	cut := false
	w.s.mu.Lock()
	w.alarm = 0
	switch {
	case w.s.fate != nil:
		cut = w.tickParting()
	case w.s.is(sentClose) || w.brokenLocked():
		w.tickClosing()
	default:
		w.tickOpen()
	}
	if cut {
		w.s.mu.Unlock()
		w.conn.Cut()
		return
	}
	if w.out != nil && w.out.blocked { // it may have taken less than what it takes to be told
		w.out.blocked = false
		w.writeLocked()
		return
	}
	w.transmitLocked()
}

// tickClosing waits for the peer's Close. mu must be held.
func (w *wire) tickClosing() {
	if w.closeBy == 0 { // our Close has not left yet; WriteTimeout watches that
		return
	}
	if left := w.closeBy - time.Since(epoch); left > 0 {
		w.armLocked(left)
		return
	}
	w.s.loseLocked(w.writeErrLocked())
}

// tickOpen pings a silent peer, and drops one that stays silent. Any byte counts as life. mu must be held.
func (w *wire) tickOpen() {
	opts := w.s.opts
	heard := time.Duration(w.heard.Load())
	silent := time.Since(epoch) - heard
	if heard == notListening {
		silent, w.pinged = 0, 0
	}
	switch {
	case silent < opts.KeepAlive:
		w.pinged = 0
		w.armLocked(opts.KeepAlive - silent)
	case w.pinged == 0:
		w.pinged = time.Since(epoch)
		w.outLocked().addControl(w.header(frame.Ping), nil)
		w.armLocked(opts.KeepAliveTimeout)
	case time.Since(epoch)-w.pinged < opts.KeepAliveTimeout:
		w.armLocked(opts.KeepAliveTimeout - (time.Since(epoch) - w.pinged))
	default:
		w.s.loseLocked(fmt.Errorf("%w: nothing for %v after a ping (see Options.KeepAliveTimeout)", ErrNoPong, opts.KeepAliveTimeout))
	}
}

// brokenLocked reports whether a write has failed. mu must be held.
func (w *wire) brokenLocked() bool { return w.out != nil && w.out.broken }

// writeErrLocked returns why, or nil. mu must be held.
func (w *wire) writeErrLocked() error {
	if w.out == nil {
		return nil
	}
	return w.out.err
}
