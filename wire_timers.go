package edgews

import (
	"fmt"
	"time"

	"github.com/edgews/edgews/internal/frame"
)

// setTimerLocked makes tick run after d, or earlier if it is due earlier. mu must be held.
func (w *wire) setTimerLocked(d time.Duration) { w.conn.SetTimer(d) }

// setPeerDeadlineLocked gives the peer d for what is to come. mu must be held.
func (w *wire) setPeerDeadlineLocked(d time.Duration) {
	w.s.status &^= pinged
	w.peerDeadline = nowMillis().after(d)
	w.setTimerLocked(d)
}

// peerTimeLeftLocked returns for how long the peer may still wait with its Close, or with hanging up, if that is limited. mu must be
// held.
func (w *wire) peerTimeLeftLocked() (left time.Duration, limited bool) {
	if w.peerDeadline == 0 || w.s.is(pinged) {
		return 0, false
	}
	return w.peerDeadline.sub(nowMillis()), true
}

// TimerFired implements [park.Handler].
func (w *wire) TimerFired() { w.checkTimers() }

// checkTimers looks whether the peer is late: with taking what we send, with anything at all (keep-alive), with its Close, or with
// hanging up. One alarm serves all; it is not touched by the bytes that arrive, only by what it finds when it goes off.
func (w *wire) checkTimers() {
	cut := false
	w.s.mu.Lock()
	switch {
	case w.s.result != nil:
		cut = w.checkLingeringLocked()
	case w.s.is(endWaits):
		w.checkPendingEndLocked()
	case w.s.is(sentClose) || w.brokenLocked():
		w.checkCloseLocked()
	default:
		w.checkKeepAliveLocked()
	}
	if cut || w.drainIsLateLocked() {
		w.shutdownAndUnlock()
		return
	}
	if w.out != nil && w.out.blocked { // it may have taken less than what it takes to be told
		w.out.blocked = false
		w.writeAndUnlock(nil)
		return
	}
	w.transmitAndUnlock()
}

// checkCloseLocked waits for the peer's Close. mu must be held.
func (w *wire) checkCloseLocked() {
	switch left, limited := w.peerTimeLeftLocked(); {
	case !limited: // our Close has not left yet; WriteTimeout watches that
	case left > 0:
		w.setTimerLocked(left)
	default:
		w.s.loseLocked(w.writeErrLocked())
	}
}

// A tick that is late shows that this process did not run, as on a laptop that slept or a virtual machine that was paused. The answer of
// a peer may have come meanwhile and be read by another goroutine at this moment, so the peer gets another ping. lateTick is from
// when on a tick is late; in a process that is so busy that all of them are, that is not forever a reason until they are as late as
// pausedTick.
const (
	lateTick   = 100 * time.Millisecond
	pausedTick = time.Second
)

// checkKeepAliveLocked pings a peer from which nothing has come for KeepAlive, and drops one that does not answer. A peer to which nothing has
// gone for that long is pinged as well, because proxies cut a connection when one direction is silent. mu must be held.
func (w *wire) checkKeepAliveLocked() {
	opts, now := w.s.opts, nowMillis()
	if opts.KeepAlive <= 0 { // the alarm was for something else
		return
	}
	if w.s.is(pinged) && w.answeredLocked() {
		w.s.status &^= pinged
		w.peerDeadline = 0
	}
	if w.s.is(pinged) && now.sub(w.peerDeadline) >= 0 && !w.extendPongDeadlineLocked(now) {
		w.s.loseLocked(fmt.Errorf("%w: nothing for %v after a ping (see Options.KeepAliveTimeout)", ErrNoPong, opts.KeepAliveTimeout))
		return
	}
	keepAlive := min(opts.KeepAlive, maxSpan)
	switch unheard := w.silentForLocked(now); {
	case unheard >= keepAlive && !w.s.is(pinged):
		w.expectPongLocked(now)
	case now.sub(w.lastSent) >= keepAlive:
		w.keepAlivePingLocked(now)
	}
	next := keepAlive - now.sub(w.lastSent)
	if w.s.is(pinged) {
		next = min(next, w.peerDeadline.sub(now))
	} else {
		next = min(next, keepAlive-w.silentForLocked(now))
	}
	w.setTimerLocked(next)
}

// silentForLocked returns for how long the peer has been silent: not at all while what it sends waits for the application. mu must
// be held.
func (w *wire) silentForLocked(now monoMillis) time.Duration {
	if w.lastReceived == 0 {
		return 0
	}
	return now.sub(w.lastReceived)
}

// answeredLocked reports whether something has come since the ping that w.until belongs to, or may have. mu must be held.
func (w *wire) answeredLocked() bool {
	return w.lastReceived == 0 || w.lastReceived.sub(w.peerDeadline)+min(w.s.opts.KeepAliveTimeout, maxSpan) >= 0
}

// expectPongLocked sends a ping that is to be answered within KeepAliveTimeout. mu must be held.
func (w *wire) expectPongLocked(now monoMillis) {
	w.keepAlivePingLocked(now)
	w.s.status |= pinged
	w.peerDeadline = now.after(w.s.opts.KeepAliveTimeout)
}

func (w *wire) keepAlivePingLocked(now monoMillis) {
	w.outboxLocked().addControl(w.header(frame.Ping), nil)
	w.lastSent = now
}

// extendPongDeadlineLocked gives a peer more time that seems not to have answered, and reports whether it did: when the ping has not left,
// when the peer's system is still taking what is before the ping, when the answer may be there unread, and when it was this process that
// did not run. mu must be held.
func (w *wire) extendPongDeadlineLocked(now monoMillis) bool {
	timeout := w.s.opts.KeepAliveTimeout
	switch {
	case w.pingWaitsLocked(): // WriteTimeout watches that
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

// didNotRunLocked reports whether the tick that watches a ping came so late that the process must have been stopped. mu must be held.
func (w *wire) didNotRunLocked(now monoMillis) bool {
	late := now.sub(w.peerDeadline)
	return late >= pausedTick || late >= lateTick && w.mayExtendLocked(now)
}

// reprieves is for how many times KeepAliveTimeout a peer may be silent that seems to be alive only by its system's acknowledgements,
// which may be answers to TCP's own keep-alive, or that is looked at too late.
const maxPongExtensions = 4

// mayExtendLocked reports whether the peer has not used up all reprieves. mu must be held.
func (w *wire) mayExtendLocked(now monoMillis) bool {
	return w.silentForLocked(now)-w.s.opts.KeepAlive < maxPongExtensions*w.s.opts.KeepAliveTimeout
}

// takesDataLocked reports whether the peer's system has been taking what is before the ping, or the peer reading it from there. mu must
// be held.
func (w *wire) takesDataLocked(now monoMillis) bool {
	opts := w.s.opts
	since, pending, ok := w.conn.SinceAck()
	if !ok || pending {
		return ok && since < opts.KeepAliveTimeout
	}
	return since < opts.KeepAliveTimeout/2 && w.mayExtendLocked(now)
}

// pingWaitsLocked reports whether the ping may still be in the outbox, with WriteTimeout watching it. mu must be held.
func (w *wire) pingWaitsLocked() bool {
	return w.out != nil && !w.out.empty() && w.s.opts.WriteTimeout > 0
}

// noteSentLocked notes that the connection has taken bytes. after says whether it had been full: then the peer has made room, which
// shows that it lives as much as bytes of its own would. mu must be held.
func (w *wire) noteSentLocked(afterFull bool) {
	w.lastSent = w.coarseNowLocked()
	if afterFull && w.lastReceived != 0 {
		w.lastReceived = w.lastSent
	}
}

// coarseNowLocked is now, read from the loop's clock where that has just been set: in the connection's turn. mu must be held.
func (w *wire) coarseNowLocked() monoMillis {
	if t := monoMillis(w.conn.CoarseNow()); w.lastReceived == 0 || w.lastReceived == t {
		return t
	}
	return nowMillis()
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
