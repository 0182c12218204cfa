package edgews

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"
	"unicode/utf8"

	"github.com/edgews/edgews/internal/buf"
	"github.com/edgews/edgews/internal/deflate"
	"github.com/edgews/edgews/internal/frame"
)

// A compressed message costs its sender a thousandth of what it inflates to. So a message that is large is inflated only when somebody
// takes it: until then it waits as it came, and nothing behind it is read. And it is inflated only when it is known not to be too
// large, into memory of just its size, in steps that let others run, and when not too much else is being inflated.

// smallMessage is up to how many bytes a message is inflated without counting them before: a buffer that is pooled.
const smallMessage = 128 << 10

// inflate deals with a compressed message that has arrived as a whole, in w.message. It reports whether to go on reading.
func (w *wire) inflate() bool {
	w.inflateWaits = true
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
	return w.deliver(w.kind, plain.B, plain)
}

// roomForMessage returns how many bytes of the next message may be kept, and whether somebody takes it, of whatever size.
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

// takesMessageLocked reports whether a receiver, or an object, waits for a message of whatever size. mu must be held.
func (s *Socket) takesMessageLocked() bool {
	if !s.is(pulling) || s.in == nil || !s.in.isAwaited() {
		return false
	}
	return !s.is(owned) || s.in.want == wantMessage // or the object may be busy
}

// inflateLater waits for somebody to take the message; if nobody is going to, it skips it.
func (w *wire) inflateLater() bool {
	w.dropInflateClaim()
	s := w.s
	s.mu.Lock()
	switch left := s.graceLeftLocked(); {
	case s.takesMessageLocked(): // since a moment ago
		s.mu.Unlock()
		return w.inflate()
	case s.is(owned):
		s.askObjectLocked(wantMessage)
	case s.is(pulling):
	case left > 0: // there may be a listener soon
		time.AfterFunc(left, w.conn.Wake)
	default:
		s.mu.Unlock()
		return w.skipCompressed()
	}
	defer s.mu.Unlock()
	return w.pauseReadingLocked()
}

// inflateAtOnce inflates a small message: one of more than limit bytes is deflate.ErrTooBig.
func (w *wire) inflateAtOnce(limit int64) (*buf.Buffer, error) {
	if w.triedSize > 0 && limit < 2*w.triedSize { // not again for every bit of room
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

// errInflateLater says that too much else is being inflated. The connection is woken when it is this message's turn.
var errInflateLater = errors.New("edgews: too much is being inflated")

// inflateLarge inflates a message of any size up to limit.
func (w *wire) inflateLarge(limit int64) (*buf.Buffer, error) {
	if w.inflateClaim == nil {
		n, err := w.inflater.Size(w.message.B, limit, runtime.Gosched)
		if err != nil {
			return nil, err
		}
		w.inflateClaim = processInflateBudget.reserve(n, w.conn.Wake)
	}
	if !w.inflateClaim.isGranted() {
		return nil, errInflateLater
	}
	defer w.dropInflateClaim()
	plain := buf.Get(w.inflateClaim.n)
	var err error
	if plain.B, err = w.inflater.AppendSized(plain.B, w.message.B, w.inflateClaim.n, runtime.Gosched); err != nil {
		plain.Free()
		return nil, err
	}
	return plain, nil
}

// skipCompressed passes over a message that nobody takes, as if it had been received.
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

// dropCompressed gives the compressed message back.
func (w *wire) dropCompressed() {
	w.inflateWaits, w.triedSize = false, 0
	w.message.Free()
	w.message = nil
	w.dropInflateClaim()
}

// dropInflateClaim lets others inflate.
func (w *wire) dropInflateClaim() {
	if w.incoming != nil && w.inflateClaim != nil {
		w.inflateClaim.release()
		w.inflateClaim = nil
	}
}

var errNotText = &frame.Error{Code: uint16(StatusInvalidFramePayloadData), Section: "RFC 6455 §8.1", Detail: "text is not valid UTF-8"}

// inflateError is err as breach understands it.
func (w *wire) inflateError(err error) error {
	switch {
	case errors.Is(err, deflate.ErrTooBig):
		return &frame.Error{Code: uint16(StatusMessageTooBig), Detail: fmt.Sprintf("message is too large: it inflates to more than %d bytes", w.limit())}
	case errors.Is(err, deflate.ErrCorrupt):
		return &frame.Error{Code: uint16(StatusProtocolError), Section: "RFC 7692 §7.2.2", Detail: "invalid compressed data"}
	}
	return err
}
