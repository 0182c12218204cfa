package edgews

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"unicode/utf8"

	"github.com/edgews/edgews/internal/buf"
	"github.com/edgews/edgews/internal/deflate"
	"github.com/edgews/edgews/internal/frame"
)

// A compressed message may inflate to a thousand times its size, so large messages are inflated with care. They stay compressed, and
// reading pauses behind them, until a listener, a receiver or an object takes them. Their inflated size is computed and checked before
// memory is allocated, of exactly that size. Inflating yields the processor between steps, and processInflateBudget limits how much is
// inflated at the same time.

// smallMessage is the largest inflated size, in bytes, that is inflated without computing the size first. Buffers of this size are pooled.
const smallMessage = 128 << 10

// inflate inflates and delivers the compressed message that is complete in w.message, or keeps it until it can. It reports whether to
// continue reading.
func (w *wire) inflate() bool {
	w.messageWaits = true
	most, taken := w.roomForMessage()
	limit := w.limit()
	if limit < 0 {
		limit = math.MaxInt64
	}
	plain, err := w.inflateAtOnce(min(most, smallMessage, limit))
	if errors.Is(err, deflate.ErrTooBig) && w.triedSize < limit {
		if !taken {
			return w.inflateLater()
		}
		if plain, err = w.inflateLarge(limit); err == errInflateLater {
			return w.pauseReading()
		}
	}
	w.dropCompressed()
	if err == nil && w.kind == Text && !utf8.Valid(plain.B) {
		plain.Free()
		err = errNotText
	}
	if err != nil {
		return w.failProtocol(w.inflateError(err))
	}
	return w.deliver(w.kind, plain.B, w.wireSize, plain)
}

// roomForMessage returns how many bytes of the next message may be kept, and whether a listener, receiver or object takes it regardless of
// its size.
func (w *wire) roomForMessage() (most int64, taken bool) {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !w.onMessageLocked().empty(), s.takesMessageLocked():
		return math.MaxInt64, true
	case s.in == nil:
		return inboxLimit, false
	}
	return max(inboxLimit-int64(s.in.bytes), 0), false
}

// takesMessageLocked reports whether a receiver or the socket's object waits for a message, regardless of its size, or whether it is the
// next one for listeners that run as events of an object. mu must be held.
func (s *Socket) takesMessageLocked() bool {
	if s.listensInObjectLocked() {
		return s.in == nil || s.in.queue.Len() == s.in.undelivered
	}
	if s.consumer == toListeners || s.in == nil || !s.in.isAwaited() {
		return false
	}
	return s.consumer != toObject || s.in.want == wantMessage // with another demand, the object may be busy
}

// listensInObjectLocked reports whether messages go to listeners that run as events of an object. mu must be held.
func (s *Socket) listensInObjectLocked() bool {
	return s.is(hosted) && s.consumer == toListeners && !s.messageListenersLocked().empty()
}

// inflateLater pauses reading until the message is taken. If the socket has no listener, receiver or object, and listenerGrace is over, it
// skips the message. It reports whether to continue reading.
func (w *wire) inflateLater() bool {
	w.releaseReservation()
	s := w.s
	s.mu.Lock()
	switch {
	case s.takesMessageLocked(): // a receiver has come since inflate checked
		s.mu.Unlock()
		return w.inflate()
	case s.consumer == toObject:
		s.askObjectLocked(wantMessage)
	case s.consumer != toListeners, s.listensInObjectLocked(): // the messages before it are taken first
	case s.awaitsListenerLocked():
	default:
		s.mu.Unlock()
		return w.skipCompressed()
	}
	defer s.mu.Unlock()
	return w.pauseReadingLocked()
}

// inflateAtOnce inflates w.message without computing the size first. A result of more than limit bytes is deflate.ErrTooBig.
func (w *wire) inflateAtOnce(limit int64) (*buf.Buffer, error) {
	if w.triedSize > 0 && limit < 2*w.triedSize { // do not try again for a little more room
		return nil, deflate.ErrTooBig
	}
	w.triedSize = limit
	plain := buf.Get(min(2*len(w.message.B), int(limit)))
	var err error
	if plain.B, err = w.inflater.AppendIn(plain, plain.B, w.message.B, limit); err != nil {
		plain.Free()
		return nil, err
	}
	return plain, nil
}

// errInflateLater says that the budget is used up. When the reservation is granted, it wakes the connection's turn.
var errInflateLater = errors.New("edgews: too much is being inflated")

// inflateLarge inflates w.message, of at most limit bytes, if the budget allows it. Otherwise it returns errInflateLater.
func (w *wire) inflateLarge(limit int64) (*buf.Buffer, error) {
	if w.reservation == nil {
		n, err := w.inflater.Size(w.message.B, limit, runtime.Gosched)
		if err != nil {
			return nil, err
		}
		w.reservation = processInflateBudget.reserve(n, w.conn.Wake)
	}
	if !w.reservation.isGranted() {
		return nil, errInflateLater
	}
	defer w.releaseReservation()
	plain := buf.Get(w.reservation.n)
	var err error
	if plain.B, err = w.inflater.AppendSized(plain.B, w.message.B, w.reservation.n, runtime.Gosched); err != nil {
		plain.Free()
		return nil, err
	}
	return plain, nil
}

// skipCompressed drops w.message, but checks and counts it and adds it to the history like a received message. It reports whether to
// continue reading.
func (w *wire) skipCompressed() bool {
	scratch := buf.Get(smallMessage)
	var text frame.UTF8
	n, err := w.inflater.Skip(scratch.B, w.message.B, w.limit(), func(p []byte) error {
		runtime.Gosched()
		if w.kind == Text && !text.Write(p) {
			return errNotText
		}
		return nil
	})
	if err == nil && w.kind == Text && !text.Done() {
		err = errNotText
	}
	scratch.Free()
	w.dropCompressed()
	switch {
	case err != nil:
		return w.failProtocol(w.inflateError(err))
	case !w.limiter.Allow(1, n):
		return w.fail(StatusPolicyViolation, "rate limit exceeded", errTooFast)
	}
	w.s.mu.Lock()
	_, ok := w.s.countArrivalLocked(n)
	w.s.mu.Unlock()
	if !ok {
		w.transmit()
	}
	return ok
}

// dropCompressed frees the compressed message and its reservation.
func (w *wire) dropCompressed() {
	w.messageWaits, w.triedSize = false, 0
	w.message.Free()
	w.message = nil
	w.releaseReservation()
}

// releaseReservation releases the reservation of the inflate budget, if there is one.
func (w *wire) releaseReservation() {
	if w.incoming != nil && w.reservation != nil {
		w.reservation.release()
		w.reservation = nil
	}
}

// errNotText is the violation of a compressed text message that is not UTF-8.
var errNotText = &frame.Error{Code: uint16(StatusInvalidFramePayloadData), Section: "RFC 6455 §8.1", Detail: "text is not valid UTF-8"}

// inflateError returns err as the error that failProtocol turns into a status code.
func (w *wire) inflateError(err error) error {
	switch {
	case errors.Is(err, deflate.ErrTooBig):
		return &frame.Error{Code: uint16(StatusMessageTooBig), Detail: fmt.Sprintf("message is too large: it inflates to more than %d bytes", w.limit())}
	case errors.Is(err, deflate.ErrCorrupt):
		return &frame.Error{Code: uint16(StatusProtocolError), Section: "RFC 7692 §7.2.2", Detail: "invalid compressed data"}
	}
	return err
}
