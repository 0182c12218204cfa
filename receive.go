package edgews

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"unicode/utf8"
)

// Receive waits for the next message. Its Data is valid until the next call of a receive method, and may be
// changed.
//
// The first call accepts the socket if it has not been accepted. From then on, messages go to the receive methods and no longer
// to OnMessage listeners; the other events still reach their listeners. Between calls, pings are answered while less than 64 KiB
// wait to be received. Beyond that, the socket stops reading, and the peer has to wait (TCP back-pressure).
//
// The peer's Close, or an error of the peer, takes effect when every message before it has been taken and Receive is called
// again, so that the last message can still be answered. If Receive is not called again, it takes effect after a little less than
// CloseTimeout.
//
// Cancelling ctx returns ctx.Err() and leaves the socket usable; no message is lost. After the last message Receive
// returns the *CloseError, always the same value. If something other than a Close ended the socket, the error also unwraps to
// the cause. Only one goroutine may receive at a time; a second one gets ErrReceiving. A socket that an object has accepted with
// State.AcceptWebSocket returns ErrAccepted, and one that was given to Respond ErrUsed.
func (s *Socket) Receive(ctx context.Context) (Message, error) {
	over := ctx.Err() // without mu: it is the program's code
	s.mu.Lock()
	defer s.tellAndUnlock()
	if err := s.beginReceiveLocked(over); err != nil {
		return Message{}, err
	}
	defer s.endReceiveLocked()
	if err := s.awaitArrivalLocked(ctx, wantMessage); err != nil {
		return Message{}, err
	}
	it := s.takeLocked()
	s.in.lentBuffer = it.buf
	return Message{it.kind, it.buf.B}, nil
}

// Messages returns an iterator over the messages: for msg, err := range s.Messages(ctx). It calls Receive in a
// loop, and ends without an error when the peer has closed the socket with 1000, 1001 or without a code (1005). Any other end
// yields its error once. Leaving the loop does not change the socket.
func (s *Socket) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for {
			msg, err := s.Receive(ctx)
			if err != nil {
				if !endedWell(err) {
					yield(Message{}, err)
				}
				return
			}
			if !yield(msg, nil) {
				return
			}
		}
	}
}

// endedWell reports whether err is a clean close with 1000, 1001 or without a code.
func endedWell(err error) bool {
	end, ok := errors.AsType[*CloseError](err)
	if !ok || !end.WasClean {
		return false
	}
	switch end.Code {
	case StatusNormalClosure, StatusGoingAway, StatusNoStatusRcvd:
		return true
	}
	return false
}

// beginReceiveLocked marks the inbox as used by a receiver and frees the buffer that the last call returned. over is why the context of
// the call has ended, or nil. mu must be held; it is released meanwhile if the socket is observed.
func (s *Socket) beginReceiveLocked(over error) error {
	if err := s.receivableLocked(); err != nil {
		return err
	}
	s.startPullingLocked()
	if over != nil {
		return over
	}
	s.in.receiving = true
	s.in.callSeq++
	if s.in.ready == nil {
		s.in.ready = make(chan struct{}, 1)
	}
	s.in.lentBuffer.Free()
	s.in.lentBuffer = nil
	s.tellReceivedLocked()
	return nil
}

// receivableLocked returns nil if a receive method may be called now, otherwise what it returns. mu must be held.
func (s *Socket) receivableLocked() error {
	switch {
	case s.phase == phaseUsed:
		return ErrUsed
	case s.consumer == toObject:
		return fmt.Errorf("%w: its messages go to the object that has accepted it", ErrAccepted)
	case s.in != nil && s.in.receiving:
		return ErrReceiving
	}
	return nil
}

// endReceiveLocked allows another receiver. mu must be held.
func (s *Socket) endReceiveLocked() { s.in.receiving = false }

// startPullingLocked sends all further messages to the receive methods, and accepts the socket if it has not been accepted. mu must be
// held.
func (s *Socket) startPullingLocked() {
	if s.consumer != toListeners {
		return
	}
	s.consumer = toReceivers
	s.inboxLocked()
	s.consumerChangedLocked()
	s.link.resumeReadingLocked()
	s.acceptLocked(0)
}

// acceptForPullLocked is startPullingLocked for a socket that has not been accepted. It has no effect on others. mu must be held.
func (s *Socket) acceptForPullLocked() {
	if s.phase == phaseUnaccepted {
		s.startPullingLocked()
	}
}

// acceptForPull is acceptForPullLocked. It reports whether the socket is accepted now.
func (s *Socket) acceptForPull() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acceptForPullLocked()
	return s.isAcceptedLocked()
}

// awaitArrivalLocked waits until the front of the inbox has what want says. mu must be held; it is released meanwhile.
func (s *Socket) awaitArrivalLocked(ctx context.Context, want receiveDemand) error {
	for {
		if want != wantRest {
			s.dropRestLocked()
		}
		if s.arrivedLocked(want) {
			return nil
		}
		if s.phase >= phaseFinishing {
			return s.result.failure()
		}
		s.in.want = want
		s.joinPiecesLocked()
		s.link.resumeReadingLocked()
		s.mu.Unlock()
		err := waitFor(ctx, s.in.ready)
		s.mu.Lock()
		s.in.want = wantNothing
		if err != nil {
			return err
		}
	}
}

// arrivedLocked reports whether the front of the inbox has what want says. mu must be held.
func (s *Socket) arrivedLocked(want receiveDemand) bool {
	switch want {
	case wantMessage:
		return !s.in.messageBegun && s.in.whole()
	case wantPiece:
		return !s.in.messageBegun && s.in.queue.Len() > 0
	}
	return s.in.queue.Len() > 0
}

// waitFor waits for ready, or returns ctx.Err() when ctx ends first.
func waitFor(ctx context.Context, ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// takeLocked removes the message at the front of the inbox, which must be whole, and joins its pieces. mu must
// be held.
func (s *Socket) takeLocked() item {
	it := s.popPieceLocked()
	for !it.last {
		next := s.popPieceLocked()
		it.buf = it.buf.Reserve(len(next.buf.B))
		it.buf.B = append(it.buf.B, next.buf.B...)
		it.last = next.last
		it.wireSize = addSizes(it.wireSize, next.wireSize)
		next.buf.Free()
	}
	return it
}

// dropRestLocked drops the pieces that are left of a message whose reader has not read to its end. mu must be held.
func (s *Socket) dropRestLocked() {
	for s.in.messageBegun && s.in.queue.Len() > 0 {
		it := s.popPieceLocked()
		it.buf.Free()
	}
}

// popPieceLocked removes the first piece in the inbox. mu must be held.
func (s *Socket) popPieceLocked() item {
	s.link.takenLocked(s.in.queue.Front()) // in place: a pointer to a copy would allocate
	it := s.in.pop()
	s.noteMessageLocked()
	s.noteTakenLocked(&it)
	s.in.messageBegun = !it.last
	s.link.resumeReadingLocked()
	return it
}

// ended returns the error of a call that the end of the socket has interrupted.
func (s *Socket) ended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hasEndedLocked() {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrClosed, s.result.failure())
}

// Write sends a message of any kind like Send, but waits while the queue is full, and while a NextWriter
// has not finished its message. p is not retained. Write returns when the message is queued, not when the peer
// has it; see Flush.
//
// On a socket that has not been accepted, Write accepts it, as Receive does. On a socket that is still
// connecting, Write waits for it to open. Cancelling ctx returns ctx.Err(). Nothing of the message has been sent then,
// and the socket stays usable.
func (s *Socket) Write(ctx context.Context, kind Kind, p []byte) error {
	switch {
	case kind != Text && kind != Binary:
		return fmt.Errorf("edgews: cannot write a message of kind %d; use Text or Binary", kind)
	case kind == Text && !utf8.Valid(p):
		return ErrInvalidUTF8
	}
	if ctx.Err() == nil && s.sendPlain(kind, p) {
		return nil
	}
	return s.write(ctx, outgoing{kind: kind, data: p, first: true, last: true, wait: true})
}

// write sends m, and waits for room and for the socket to open. m.wait must be set.
func (s *Socket) write(ctx context.Context, m outgoing) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for {
		err := s.send(m)
		if err == ErrNotAccepted && s.acceptForPull() {
			continue
		}
		if err != errNoRoom {
			return err
		}
		s.mu.Lock()
		if s.refuseLocked(&m) != errNoRoom {
			s.mu.Unlock()
			continue
		}
		room := s.waitersLocked().hasRoom.wait()
		s.mu.Unlock()
		if err := waitFor(ctx, room); err != nil {
			return err
		}
	}
}

// Flush waits until BufferedAmount is 0: the operating system or, on a pair, the other end has taken everything that was
// sent. Cancelling ctx returns ctx.Err() and leaves the socket usable. If the
// socket ends first, the error is ErrClosed and tells how the socket ended.
func (s *Socket) Flush(ctx context.Context) error {
	for {
		s.mu.Lock()
		payload, _ := s.bufferedLocked()
		// A half-open socket goes on sending after its close event.
		over, room := s.is(lost) || s.phase == phaseFinished && s.is(sentClose), s.waitersLocked().hasRoom.wait()
		s.mu.Unlock()
		switch {
		case payload == 0:
			return nil
		case over:
			return s.ended()
		}
		if err := waitFor(ctx, room); err != nil {
			return err
		}
	}
}
