package edgews

import (
	"fmt"
	"time"

	"github.com/edgews/edgews/internal/frame"
)

// armLocked makes tick run after d, or earlier if it is due earlier. mu must be held.
func (w *wire) armLocked(d time.Duration) {
	at := now().after(d)
	if w.alarm != 0 && w.alarm.sub(at) <= 0 {
		return
	}
	w.alarm = at
	w.conn.Alarm(d)
}

// limitLocked gives the peer d for what is to come. mu must be held.
func (w *wire) limitLocked(d time.Duration) {
	w.s.status &^= pinged
	w.until = now().after(d)
	w.armLocked(d)
}

// closeInLocked returns for how long the peer may still wait with its Close, or with hanging up, if that is limited. mu must be
// held.
func (w *wire) closeInLocked() (left time.Duration, limited bool) {
	if w.until == 0 || w.s.is(pinged) {
		return 0, false
	}
	return w.until.sub(now()), true
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
	case w.s.is(endWaits):
		w.tickPendingLocked()
	case w.s.is(sentClose) || w.brokenLocked():
		w.tickClosing()
	default:
		w.tickOpen()
	}
	if cut {
		w.cutAndUnlock()
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
	switch left, limited := w.closeInLocked(); {
	case !limited: // our Close has not left yet; WriteTimeout watches that
	case left > 0:
		w.armLocked(left)
	default:
		w.s.loseLocked(w.writeErrLocked())
	}
}

// tickOpen pings a silent peer, and drops one that stays silent. Any byte counts as life. mu must be held.
func (w *wire) tickOpen() {
	s, now, silent := w.s, now(), time.Duration(0)
	if w.heard != 0 {
		silent = now.sub(w.heard)
	}
	opts := s.opts
	switch {
	case opts.KeepAlive <= 0: // the alarm was for something else
	case silent < min(opts.KeepAlive, farthest):
		if s.is(pinged) {
			s.status &^= pinged
			w.until = 0
		}
		w.armLocked(opts.KeepAlive - silent)
	case !s.is(pinged):
		s.status |= pinged
		w.until = now
		w.outLocked().addControl(w.header(frame.Ping), nil)
		w.armLocked(opts.KeepAliveTimeout)
	case now.sub(w.until) < min(opts.KeepAliveTimeout, farthest):
		w.armLocked(opts.KeepAliveTimeout - now.sub(w.until))
	default:
		s.loseLocked(fmt.Errorf("%w: nothing for %v after a ping (see Options.KeepAliveTimeout)", ErrNoPong, opts.KeepAliveTimeout))
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
