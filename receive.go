package edgews

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"unicode/utf8"
)

// Receive waits for the next message. Its Data is valid until the next call of a method that receives; it may be
// changed.
//
// The first call accepts the socket, if nobody has. From then on messages go to the receive methods and no longer
// to OnMessage listeners; the other events still reach theirs. Pings are answered while nobody receives, as long as what
// waits to be received is less than 64 KiB; beyond that the peer is made to wait (TCP back-pressure).
//
// The peer's Close, or what it does wrong, takes effect when every message before it has been taken and Receive is called
// again: the last message can still be answered. A receiver that is not called again has a little less than CloseTimeout.
//
// Cancelling ctx returns ctx.Err() and leaves the socket usable; no message is lost. After the last message Receive
// returns the *CloseError, always the same; where more than a Close ended the socket, the error also unwraps to that
// cause. Only one goroutine may receive at a time: ErrReceiving.
func (s *Socket) Receive(ctx context.Context) (Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.beginReceiveLocked(ctx); err != nil {
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

// Messages returns an iterator over the messages: for msg, err := range s.Messages(ctx). It is Receive in a
// loop, and ends silently when the socket was closed with 1000, 1001 or without a code (1005). Any other end
// yields its error once. Breaking out of the loop leaves the socket as it is.
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

// endedWell reports whether err says that the peer simply said goodbye.
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

// beginReceiveLocked marks the inbox as used by one receiver and frees the buffer that the last call lent. mu must be held.
func (s *Socket) beginReceiveLocked(ctx context.Context) error {
	switch {
	case s.is(used):
		return ErrUsed
	case s.is(owned):
		return fmt.Errorf("%w: its messages go to the object that has accepted it", ErrAccepted)
	case s.in != nil && s.in.receiving:
		return ErrReceiving
	}
	s.startPullingLocked()
	if err := ctx.Err(); err != nil {
		return err
	}
	s.in.receiving = true
	s.in.callSeq++
	if s.in.ready == nil {
		s.in.ready = make(chan struct{}, 1)
	}
	s.in.lentBuffer.Free()
	s.in.lentBuffer = nil
	return nil
}

// endReceiveLocked lets another receiver use the inbox. mu must be held.
func (s *Socket) endReceiveLocked() { s.in.receiving = false }

// startPullingLocked turns the socket over to the pull style, and accepts it if nobody has. mu must be held.
func (s *Socket) startPullingLocked() {
	if s.is(pulling) {
		return
	}
	s.status |= pulling
	s.inboxLocked()
	s.consumerChangedLocked()
	s.link.resumeReadingLocked()
	s.acceptLocked(0)
}

// acceptForPullLocked does that only for a socket that nobody has accepted. mu must be held.
func (s *Socket) acceptForPullLocked() {
	if !s.is(accepted | used) {
		s.startPullingLocked()
	}
}

// acceptForPull accepts a socket that nobody has accepted. It reports whether it is accepted now.
func (s *Socket) acceptForPull() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acceptForPullLocked()
	return s.is(accepted) && !s.is(used)
}

// awaitArrivalLocked waits until what is wanted is at the front of the inbox. mu must be held; it is released meanwhile.
func (s *Socket) awaitArrivalLocked(ctx context.Context, want receiveDemand) error {
	for {
		if want != wantRest {
			s.dropRestLocked()
		}
		if s.arrivedLocked(want) {
			return nil
		}
		if s.is(finishing) {
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

// arrivedLocked reports whether what is wanted is at the front of the inbox. mu must be held.
func (s *Socket) arrivedLocked(want receiveDemand) bool {
	switch want {
	case wantMessage:
		return !s.in.messageBegun && s.in.whole()
	case wantPiece:
		return !s.in.messageBegun && s.in.queue.Len() > 0
	}
	return s.in.queue.Len() > 0
}

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
		next.buf.Free()
	}
	return it
}

// dropRestLocked skips what is left of a message that its reader has abandoned. mu must be held.
func (s *Socket) dropRestLocked() {
	for s.in.messageBegun && s.in.queue.Len() > 0 {
		it := s.popPieceLocked()
		it.buf.Free()
	}
}

// popPieceLocked removes the first piece in the inbox. mu must be held.
func (s *Socket) popPieceLocked() item {
	s.link.takenLocked(s.in.queue.Front()) // where it lies: a pointer to a copy would allocate
	it := s.in.pop()
	s.in.messageBegun = !it.last
	s.link.resumeReadingLocked()
	return it
}

// ended is the error for a call that the end of the socket interrupted.
func (s *Socket) ended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.is(ended) {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrClosed, s.result.failure())
}

// Write is Send for any kind of message, except that it waits while the queue is full, and while a NextWriter
// is in the middle of its message. p is not retained. It returns when the message is queued, not when the peer
// has it: see Flush.
//
// The first call on a socket that is not accepted accepts it, as Receive does. On a socket that is still
// connecting Write waits for it to open. Cancelling ctx returns ctx.Err(), with nothing of the message sent,
// and leaves the socket usable.
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
		if s.admitLocked(&m) != errNoRoom {
			s.mu.Unlock()
			continue
		}
		room := s.waitsLocked().hasRoom.wait()
		s.mu.Unlock()
		if err := waitFor(ctx, room); err != nil {
			return err
		}
	}
}

// Flush waits until BufferedAmount is 0: everything that was sent has been handed to the operating system or,
// on a pair, taken by the other end. Cancelling ctx returns ctx.Err() and leaves the socket usable. If the
// socket ends first, the error is ErrClosed and says how it ended.
func (s *Socket) Flush(ctx context.Context) error {
	for {
		s.mu.Lock()
		payload, _ := s.link.bufferedLocked()
		// A half-open socket goes on sending after its close event.
		over, room := s.is(lost) || s.is(finished) && s.is(sentClose), s.waitsLocked().hasRoom.wait()
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
