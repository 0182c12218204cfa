package edgews

import (
	"unicode/utf8"

	"github.com/edgews/edgews/internal/buf"
)

// lostReason is workerd's text for a connection that ended without a Close frame.
const lostReason = "WebSocket disconnected without sending Close frame."

// closeResult is how a socket ends: the close event, and the error event before it when err is not nil.
type closeResult struct {
	CloseError
	err error
}

// failure is what a receive method returns after the end.
func (e *closeResult) failure() error {
	if e.err == nil {
		return &e.CloseError
	}
	return &endError{&e.CloseError, e.err}
}

// failLocked ends the socket because of err: the peer is told code and reason in a Close frame, unless a Close
// has gone out before, and nothing more is delivered. The first reason to end is the one that counts. mu must
// be held.
func (s *Socket) failLocked(code StatusCode, reason string, err error) {
	if s.is(ended) {
		return
	}
	reason = clip(reason)
	if !s.is(sentClose) {
		s.status |= sentClose
		s.link.closeLocked(closeFrame{code, reason})
	}
	s.endLocked(&closeResult{CloseError{Code: code, Reason: reason}, err}, lost)
}

// loseLocked ends the socket without a word to the peer, which is gone or does not listen. mu must be held.
func (s *Socket) loseLocked(err error) {
	s.endLocked(&closeResult{CloseError{Code: StatusAbnormalClosure, Reason: lostReason}, err}, lost)
}

// closedLocked ends the socket because the peer's Close has arrived. It reports whether the Close is still to be
// answered automatically. mu must be held.
func (s *Socket) closedLocked(c closeFrame) (answer bool) {
	if s.is(ended) {
		return false
	}
	answer = !s.is(sentClose|manualClose) && !s.answersLaterLocked()
	if answer {
		s.status |= sentClose
	}
	s.endLocked(&closeResult{CloseError: CloseError{c.received(), c.reason, true}}, gotClose)
	return answer
}

func (s *Socket) endLocked(e *closeResult, why status) {
	if s.is(ended) {
		return
	}
	s.extraLocked().result = e
	s.status |= ended | why
	s.counter.socketEndedLocked()
	s.consumerChangedLocked()
	s.link.endedLocked()
}

// fail is failLocked for callers that do not hold mu.
func (s *Socket) fail(code StatusCode, reason string, err error) {
	s.mu.Lock()
	s.failLocked(code, reason, err)
	l := s.link
	s.mu.Unlock()
	l.transmit()
}

// finish delivers the last events of a socket whose fate is sealed. Whoever delivers the socket's events calls it.
func (s *Socket) finish() {
	s.mu.Lock()
	if s.is(finishing) || !s.is(ended) {
		s.mu.Unlock()
		return
	}
	s.status |= finishing
	fate := s.result
	s.wakeAllLocked()
	if s.endsInObjectLocked() { // the object gets the last events, after every message, and then calls finished
		s.queueObjectEventLocked()
		s.mu.Unlock()
		return
	}
	onClose := s.closeListenersLocked()
	onError := snapshotLocked(s, pickError)
	c := s.counter
	c.handlerStarted()
	s.mu.Unlock()

	// Deferred, so that a listener that calls runtime.Goexit cannot keep the close event away, nor Done from
	// closing.
	defer s.finished()
	defer c.handlerReturned()
	defer func() {
		onClose.dispatch(s, CloseEvent{s, fate.Code, fate.Reason, fate.WasClean})
		s.debug("edgews: socket closed", "code", uint16(fate.Code), "reason", fate.Reason, "clean", fate.WasClean)
	}()
	if fate.err != nil {
		s.warn("edgews: socket failed", fate.err)
		onError.dispatch(s, ErrorEvent{s, fate.err})
	}
}

func (s *Socket) finished() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status |= finished
	if p := s.pinned; p != nil {
		p.finishedLocked()
	}
	if s.waiters != nil && s.waiters.done != nil {
		close(s.waiters.done)
	}
	s.wakeAllLocked()
}

// wakeAllLocked lets everyone who waits on the socket see that it has ended. mu must be held.
func (s *Socket) wakeAllLocked() {
	s.notifyRoomLocked()
	if s.in != nil {
		s.in.post()
	}
	if s.waiters != nil {
		s.waiters.pings.abandon()
	}
}

// panicked fails a socket whose listener has panicked.
func (s *Socket) panicked(err error) {
	s.fail(StatusInternalError, "internal error", err)
}

// clip cuts a reason to what fits into a Close frame, between characters.
func clip(reason string) string {
	if len(reason) <= maxReason {
		return reason
	}
	cut := maxReason
	for !utf8.RuneStart(reason[cut]) {
		cut--
	}
	return reason[:cut]
}

// hasUnhandledLocked reports whether messages have arrived that the application may still want to answer: those that wait for a
// receiver or an object, and the one that was taken last, until more is asked for. mu must be held.
func (s *Socket) hasUnhandledLocked() bool {
	switch {
	case !s.is(pulling), s.in == nil, s.is(sentClose | lost):
		return false
	case s.in.want == wantNothing:
		return s.in.queue.Len() > 0 || s.in.lentBuffer != nil
	}
	return s.arrivedLocked(s.in.want)
}

// objectDone ends an object's work on a message, which b holds.
func (s *Socket) objectDone(b *buf.Buffer) {
	s.mu.Lock()
	s.in.lentBuffer = nil
	s.link.resumeReadingLocked()
	s.mu.Unlock()
	b.Free()
}
