package edgews

import (
	"context"
	"unicode/utf8"

	"github.com/edgews/edgews/internal/buf"
)

// Close starts the closing handshake (RFC 6455 §7) and returns at once. What was sent before still arrives, before the Close.
// Messages that the peer sends before its own Close are still delivered. The close event follows the peer's Close, or
// comes after CloseTimeout with code 1006.
//
// code is 1000 to 4999 except 1004, 1005, 1006 and 1015; 0 sends an empty Close, which the peer sees as 1005.
// reason is UTF-8 of at most 123 bytes. Both are checked before the state of the socket. The errors are ErrInvalidClose,
// ErrInvalidUTF8, ErrUsed, ErrNotAccepted, and ErrClosed if Close was called before, the peer's Close has been answered
// or the connection is lost. On a socket that is still connecting, Close cancels the attempt: an error event
// and a close event with 1006 follow.
//
// Deviation: Workers ignore a second close(). An error tells the program that it has no effect.
func (s *Socket) Close(code StatusCode, reason string) error {
	return s.closeFor(ClosedLocally, code, reason)
}

// closeFor is Close because of cause.
func (s *Socket) closeFor(cause CloseCause, code StatusCode, reason string) error {
	if err := checkClose(code, reason); err != nil {
		return err
	}
	if !utf8.ValidString(reason) {
		return ErrInvalidUTF8
	}
	l, err := s.queueClose(cause, closeFrame{code, reason})
	if err != nil {
		return err
	}
	l.transmit()
	s.tell()
	return nil
}

func (s *Socket) queueClose(cause CloseCause, c closeFrame) (link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == phaseConnecting && !s.is(sentClose) {
		s.facts |= sentClose
		s.waiters.cancel()
		return s.link, nil
	}
	if err := s.writableLocked(); err != nil {
		return nil, err
	}
	s.noteCauseLocked(cause)
	s.sendCloseLocked(c)
	return s.link, nil
}

// sendCloseLocked sends the application's Close. mu must be held.
func (s *Socket) sendCloseLocked(c closeFrame) {
	if s.consumer == toObject {
		s.objectSocket.holdDuringCommitLocked()
	}
	s.closeLinkLocked(c)
	s.link.resumeReadingLocked()
	s.notifyRoomLocked()
}

// lostReason is the reason of close event 1006. The text is workerd's, the runtime of Workers.
const lostReason = "WebSocket disconnected without sending Close frame."

// closeResult is how a socket ends: the close event, and an error event before it if err is not nil.
type closeResult struct {
	CloseError
	err error
}

// failure returns the error that the receive methods return after the end.
func (e *closeResult) failure() error {
	if e.err == nil {
		return &e.CloseError
	}
	return &endError{&e.CloseError, e.err}
}

// failLocked ends the socket because of err. It sends code and reason to the peer in a Close frame, unless a Close has been sent
// before. No more messages are delivered. It has no effect on a socket that has already ended. mu must be held.
func (s *Socket) failLocked(code StatusCode, reason string, err error) {
	if s.hasEndedLocked() {
		return
	}
	reason = clip(reason)
	if !s.is(sentClose) {
		s.closeLinkLocked(closeFrame{code, reason})
	}
	s.endLocked(&closeResult{CloseError{Code: code, Reason: reason}, err}, lost)
}

// loseLocked ends the socket with 1006, and sends no Close: the peer is unreachable or does not read. mu must be held.
func (s *Socket) loseLocked(err error) {
	s.endLocked(&closeResult{CloseError{Code: StatusAbnormalClosure, Reason: lostReason}, err}, lost)
}

// closedLocked ends the socket because the peer's Close has arrived. It reports whether the caller must send the automatic
// answer. mu must be held.
func (s *Socket) closedLocked(c closeFrame) (answer bool) {
	if s.hasEndedLocked() {
		return false
	}
	answer = !s.is(sentClose|manualClose) && !s.answersLaterLocked()
	if answer {
		s.facts |= sentClose
	}
	s.endLocked(&closeResult{CloseError: CloseError{c.received(), c.reason, true}}, gotClose)
	return answer
}

// endLocked sets the result of the socket and the fact why, unless the socket has already ended. mu must be held.
func (s *Socket) endLocked(e *closeResult, why facts) {
	if s.hasEndedLocked() {
		return
	}
	s.extraLocked().result = e
	s.noteResultLocked()
	if s.isAcceptedLocked() {
		s.phase = phaseEnded
	}
	s.facts |= why
	if s.is(sentClose | lost) {
		s.settleAllLocked()
	}
	s.counter.socketEndedLocked()
	s.consumerChangedLocked()
	s.notifyRoomLocked() // a listener may wait in Write, and the last events would wait for it
	s.link.endedLocked()
}

// fail is failLocked for callers that do not hold mu.
func (s *Socket) fail(code StatusCode, reason string, err error) {
	s.mu.Lock()
	s.failLocked(code, reason, err)
	l := s.link
	s.mu.Unlock()
	l.transmit()
	s.tell()
}

// finish delivers the last events of a socket that has a result. Only the goroutine that delivers the socket's events calls it.
func (s *Socket) finish() {
	s.mu.Lock()
	if !s.hasEndedLocked() || s.phase >= phaseFinishing {
		s.mu.Unlock()
		return
	}
	s.phase = phaseFinishing
	result := s.result
	s.wakeAllLocked()
	if s.endsInObjectLocked() { // the object delivers the last events, after every message, and then calls finished
		s.queueObjectEventLocked()
		s.mu.Unlock()
		return
	}
	onClose := s.closeListenersLocked()
	onError := snapshotLocked(s, pickError)
	c := s.counter
	c.handlerStarted()
	s.mu.Unlock()

	// Deferred, so that the close event is delivered and Done is closed even if a listener calls runtime.Goexit.
	defer s.finished()
	defer c.handlerReturned()
	defer func() {
		onClose.dispatch(s, CloseEvent{s, result.Code, result.Reason, result.WasClean})
		s.debug("edgews: socket closed", "code", uint16(result.Code), "reason", result.Reason, "clean", result.WasClean)
	}()
	if result.err != nil {
		s.warn("edgews: socket failed", result.err)
		onError.dispatch(s, ErrorEvent{s, result.err})
	}
}

// finished is called after the close event. It closes Done and ends Context. A second call does nothing: the object may be reset while the
// last event of the socket returns, and then both call it.
func (s *Socket) finished() {
	s.tellClosed()
	if endContext := s.markFinished(); endContext != nil { // without mu: it also ends contexts of the program
		endContext(s.Err())
	}
}

// markFinished closes Done and wakes all goroutines that wait for the socket. It returns the function that ends Context, or nil.
func (s *Socket) markFinished() (endContext context.CancelCauseFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == phaseFinished {
		return nil
	}
	s.phase = phaseFinished
	s.leaveRostersLocked()
	if s.is(sentClose | lost) { // it is not half open
		s.removeDrainListenersLocked()
	}
	if p := s.pinned; p != nil {
		p.finishedLocked()
	}
	if s.waiters != nil {
		if s.waiters.done != nil {
			close(s.waiters.done)
		}
		endContext = s.waiters.endContext
	}
	s.wakeAllLocked()
	s.deliverLateLocked()
	return endContext
}

// wakeAllLocked wakes all goroutines that wait in a method of the socket, which has ended. mu must be held.
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

// clip shortens a reason to the 123 bytes that fit into a Close frame (RFC 6455 §5.5), without splitting a character.
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

// hasUnhandledLocked reports whether the application may still answer messages that have arrived: those that wait for a
// receive method or an object, and the last one that was taken, until the next receive. mu must be held.
func (s *Socket) hasUnhandledLocked() bool {
	switch {
	case s.consumer == toListeners, s.in == nil, s.is(sentClose | lost):
		return false
	case s.in.want == wantNothing:
		return s.in.queue.Len() > 0 || s.in.lentBuffer != nil
	}
	return s.arrivedLocked(s.in.want)
}

// objectDone is called when an object has handled the message in b. It frees b.
func (s *Socket) objectDone(b *buf.Buffer) {
	s.mu.Lock()
	s.in.lentBuffer = nil
	s.noteMessageLocked()
	if c := clusterSocketOf(s); c != nil {
		c.handling = false
	}
	s.link.resumeReadingLocked()
	if s.observed != nil {
		s.observeHandledLocked(sinceStart())
	}
	s.tellAndUnlock()
	b.Free()
}
