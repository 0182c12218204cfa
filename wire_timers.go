package edgews

import (
	"fmt"
	"time"

	"github.com/edgews/edgews/internal/frame"
)

// setTimerLocked makes checkTimers run after d, or earlier if the timer is due earlier. mu must be held.
func (w *wire) setTimerLocked(d time.Duration) { w.conn.SetTimer(d) }

// setPeerDeadlineLocked gives the peer the time d to send its Close frame or to close the connection. mu must be held.
func (w *wire) setPeerDeadlineLocked(d time.Duration) {
	w.s.facts &^= pinged
	w.peerDeadline = nowMillis().after(d)
	w.setTimerLocked(d)
}

// peerTimeLeftLocked returns the time until the deadline that setPeerDeadlineLocked has set, and false if there is none. mu must be held.
func (w *wire) peerTimeLeftLocked() (left time.Duration, limited bool) {
	if w.peerDeadline == 0 || w.s.is(pinged) {
		return 0, false
	}
	return w.peerDeadline.sub(nowMillis()), true
}

// TimerFired implements [park.Handler].
func (w *wire) TimerFired() { w.checkTimers() }

// checkTimers checks all deadlines of the connection: WriteTimeout, keep-alive, the peer's Close frame and the peer's end of the
// connection. They share one timer. Received bytes do not reset the timer; when it fires, checkTimers compares the times of the last
// bytes and sets it again.
func (w *wire) checkTimers() {
	late := false
	w.s.mu.Lock()
	switch {
	case w.s.hasEndedLocked():
		late = w.checkLingeringLocked()
	case w.s.is(endWaits):
		w.checkPendingEndLocked()
	case w.s.is(sentClose) || w.brokenLocked():
		w.checkCloseLocked()
	default:
		w.checkKeepAliveLocked()
	}
	if late || w.drainIsLateLocked() {
		w.shutdownAndUnlock()
		return
	}
	if w.out != nil && w.out.Blocked { // the kernel may have room, but too little to report the connection as writable
		w.out.Blocked = false
		w.writeAndUnlock(nil)
		return
	}
	w.transmitAndUnlock()
}

// checkCloseLocked ends the socket if the peer's Close frame has not arrived by its deadline. mu must be held.
func (w *wire) checkCloseLocked() {
	switch left, limited := w.peerTimeLeftLocked(); {
	case !limited: // our Close frame has not been written yet; WriteTimeout limits that
	case left > 0:
		w.setTimerLocked(left)
	default:
		err := w.writeErrLocked()
		if err == nil {
			w.s.noteSilentLocked()
		}
		w.s.loseLocked(err)
	}
}

// A timer that fires late shows that this process did not run, for example because the computer slept or its virtual machine was paused.
// The peer's answer may have arrived meanwhile, and another goroutine may be reading it at this moment. So the peer gets another ping.
const (
	// lateTimer is the delay from which a timer is late. In a busy process every timer may be that late, so mayExtendLocked limits how
	// often this is a reason.
	lateTimer = 100 * time.Millisecond
	// pausedTimer is the delay that no load explains. It is a reason without limit.
	pausedTimer = time.Second
)

// checkKeepAliveLocked sends a ping if nothing has been received for KeepAlive, and ends the socket if nothing is received within
// KeepAliveTimeout after that ping. It also sends a ping if nothing has been sent for KeepAlive, because proxies close a connection that is
// idle in one direction. mu must be held.
func (w *wire) checkKeepAliveLocked() {
	opts, now := w.s.opts, nowMillis()
	if opts.KeepAlive <= 0 { // the timer was set for another deadline
		return
	}
	if w.s.is(pinged) && w.answeredLocked() {
		w.s.facts &^= pinged
		w.peerDeadline = 0
	}
	if w.s.is(pinged) && now.sub(w.peerDeadline) >= 0 && !w.extendPongDeadlineLocked(now) {
		w.s.loseLocked(fmt.Errorf("%w: nothing for %v after a ping (see Options.KeepAliveTimeout)", ErrNoPong, opts.KeepAliveTimeout))
		return
	}
	keepAlive := min(opts.KeepAlive, maxSpan)
	switch idle := w.readIdleLocked(now); {
	case idle >= keepAlive && !w.s.is(pinged):
		w.expectPongLocked(now)
	case now.sub(w.lastSent) >= keepAlive:
		w.keepAlivePingLocked(now)
	}
	next := keepAlive - now.sub(w.lastSent)
	if w.s.is(pinged) {
		next = min(next, w.peerDeadline.sub(now))
	} else {
		next = min(next, keepAlive-w.readIdleLocked(now))
	}
	w.setTimerLocked(next)
}

// readIdleLocked returns the time since the last bytes were received, or 0 while reading waits for the application. mu must be held.
func (w *wire) readIdleLocked(now monoMillis) time.Duration {
	if w.lastReceived == 0 {
		return 0
	}
	return now.sub(w.lastReceived)
}

// answeredLocked reports whether bytes have been received since the ping whose deadline is w.peerDeadline, or may have arrived while reading
// waits for the application. mu must be held.
func (w *wire) answeredLocked() bool {
	return w.lastReceived == 0 || w.lastReceived.sub(w.peerDeadline)+min(w.s.opts.KeepAliveTimeout, maxSpan) >= 0
}

// expectPongLocked queues a ping that the peer must answer within KeepAliveTimeout. Any received byte counts as an answer. mu must be held.
func (w *wire) expectPongLocked(now monoMillis) {
	w.keepAlivePingLocked(now)
	w.s.facts |= pinged
	w.peerDeadline = now.after(w.s.opts.KeepAliveTimeout)
}

// keepAlivePingLocked queues a ping. The caller writes it. mu must be held.
func (w *wire) keepAlivePingLocked(now monoMillis) {
	w.s.noteKeepAlivePingLocked()
	w.outboxLocked().AddControl(w.header(frame.Ping), nil)
	w.lastSent = now
}

// extendPongDeadlineLocked extends the deadline of a ping that has not been answered, if there is a reason other than a lost peer: the ping
// is still in the outbox, the peer's system still takes the data before it, bytes have arrived and are not read yet, or this process did
// not run. It reports whether it has extended the deadline. mu must be held.
func (w *wire) extendPongDeadlineLocked(now monoMillis) bool {
	timeout := w.s.opts.KeepAliveTimeout
	switch {
	case w.pingWaitsLocked(): // WriteTimeout limits that
	case w.takesDataLocked(now):
	case w.conn.Readable():
	case w.didNotRunLocked(now):
		w.expectPongLocked(now)
		return true
	default:
		return false
	}
	w.peerDeadline = now.after(timeout)
	return true
}

// didNotRunLocked reports whether the timer for the deadline of a ping fired so late that the process probably did not run. mu must be held.
func (w *wire) didNotRunLocked(now monoMillis) bool {
	late := now.sub(w.peerDeadline)
	return late >= pausedTimer || late >= lateTimer && w.mayExtendLocked(now)
}

// maxPongExtensions limits, in multiples of KeepAliveTimeout, how long nothing may be received from a peer whose deadline is extended only
// because its system sends acknowledgements, which may be answers to TCP's own keep-alive, or because the timer fired late.
const maxPongExtensions = 4

// mayExtendLocked reports whether maxPongExtensions allows another extension. mu must be held.
func (w *wire) mayExtendLocked(now monoMillis) bool {
	return w.readIdleLocked(now)-w.s.opts.KeepAlive < maxPongExtensions*w.s.opts.KeepAliveTimeout
}

// takesDataLocked reports whether the peer's system has recently acknowledged data, so that the peer may not have read up to the ping yet:
// within KeepAliveTimeout if some data is still unacknowledged, within half of it otherwise. mu must be held.
func (w *wire) takesDataLocked(now monoMillis) bool {
	opts := w.s.opts
	since, pending, ok := w.conn.SinceAck()
	if !ok || pending {
		return ok && since < opts.KeepAliveTimeout
	}
	return since < opts.KeepAliveTimeout/2 && w.mayExtendLocked(now)
}

// pingWaitsLocked reports whether the ping may still be in the outbox, where WriteTimeout applies. mu must be held.
func (w *wire) pingWaitsLocked() bool {
	return w.out != nil && !w.out.Empty() && w.s.opts.WriteTimeout > 0
}

// noteSentLocked records that the connection has taken bytes. afterFull says that it had no room before: then the peer has read or
// acknowledged data, which counts like received bytes. mu must be held.
func (w *wire) noteSentLocked(afterFull bool) { w.notedSentLocked(w.coarseNowLocked(), afterFull) }

// notedSentLocked is noteSentLocked at a time. mu must be held.
func (w *wire) notedSentLocked(now monoMillis, afterFull bool) {
	w.lastSent = now
	if afterFull && w.lastReceived != 0 {
		w.lastReceived = w.lastSent
	}
}

// coarseNowLocked returns the loop's cached time if lastReceived is the same, so that it must be recent, or 0. Otherwise it reads the clock.
// mu must be held.
func (w *wire) coarseNowLocked() monoMillis {
	if t := monoMillis(w.conn.CoarseNow()); w.lastReceived == 0 || w.lastReceived == t {
		return t
	}
	return nowMillis()
}

// brokenLocked reports whether a write has failed. mu must be held.
func (w *wire) brokenLocked() bool { return w.out != nil && w.out.Broken }

// writeErrLocked returns the error of the write that has failed, or nil. mu must be held.
func (w *wire) writeErrLocked() error {
	if w.out == nil {
		return nil
	}
	return w.out.Err
}
