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

// unpack deals with a compressed message that has arrived as a whole, in w.message. It reports whether to go on reading.
func (w *wire) unpack() bool {
	w.packed = true
	most, taken := w.appetite()
	limit := w.limit()
	if limit < 0 {
		limit = math.MaxInt64
	}
	plain, err := w.inflateAtOnce(min(most, smallMessage, limit))
	if errors.Is(err, deflate.ErrTooBig) && w.tried < limit {
		if !taken {
			return w.unpackLater()
		}
		if plain, err = w.inflateLarge(limit); err == errNotYet {
			return w.halt()
		}
	}
	w.dropPacked()
	if err == nil && w.kind == Text && !utf8.Valid(plain.B) {
		plain.Free()
		err = errNotText
	}
	if err != nil {
		return w.breach(w.inflateError(err))
	}
	return w.complete(w.kind, plain.B, plain)
}

// appetite returns how many bytes of the next message may be kept, and whether somebody takes it, of whatever size.
func (w *wire) appetite() (most int64, taken bool) {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !w.onMessageLocked().empty(), s.takesLocked():
		return math.MaxInt64, true
	case s.in == nil:
		return inboxLimit, false
	}
	return max(inboxLimit-int64(s.in.bytes), 0), false
}

// takesLocked reports whether a receiver, or an object, waits for a message of whatever size. mu must be held.
func (s *Socket) takesLocked() bool {
	if !s.is(pulling) || s.in == nil || !s.in.hungry() {
		return false
	}
	return !s.is(owned) || s.in.want == wantMessage // or the object may be busy
}

// unpackLater waits for somebody to take the message; if nobody is going to, it skips it.
func (w *wire) unpackLater() bool {
	w.dropClaim()
	s := w.s
	s.mu.Lock()
	switch left := s.turnLeftLocked(); {
	case s.takesLocked(): // since a moment ago
		s.mu.Unlock()
		return w.unpack()
	case s.is(owned):
		s.askLocked(wantMessage)
	case s.is(pulling):
	case left > 0: // there may be a listener soon
		time.AfterFunc(left, w.conn.Wake)
	default:
		s.mu.Unlock()
		return w.skipPacked()
	}
	defer s.mu.Unlock()
	return w.haltLocked()
}

// inflateAtOnce inflates a small message: one of more than limit bytes is deflate.ErrTooBig.
func (w *wire) inflateAtOnce(limit int64) (*buf.Buffer, error) {
	if w.tried > 0 && limit < 2*w.tried { // not again for every bit of room
		return nil, deflate.ErrTooBig
	}
	w.tried = limit
	plain := buf.Get(min(2*len(w.message.B), int(limit)))
	var err error
	if plain.B, err = w.inflater.AppendIn(plain, plain.B, w.message.B, limit); err != nil {
		plain.Free()
		return nil, err
	}
	return plain, nil
}

// errNotYet says that too much else is being inflated. The connection is woken when it is this message's turn.
var errNotYet = errors.New("edgews: too much is being inflated")

// inflateLarge inflates a message of any size up to limit.
func (w *wire) inflateLarge(limit int64) (*buf.Buffer, error) {
	if w.claim == nil {
		n, err := w.inflater.Size(w.message.B, limit, runtime.Gosched)
		if err != nil {
			return nil, err
		}
		w.claim = inflating.claim(n, w.conn.Wake)
	}
	if !w.claim.isGranted() {
		return nil, errNotYet
	}
	defer w.dropClaim()
	plain := buf.Get(w.claim.n)
	var err error
	if plain.B, err = w.inflater.AppendSized(plain.B, w.message.B, w.claim.n, runtime.Gosched); err != nil {
		plain.Free()
		return nil, err
	}
	return plain, nil
}

// skipPacked passes over a message that nobody takes, as if it had been received.
func (w *wire) skipPacked() bool {
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
	w.dropPacked()
	switch {
	case err != nil:
		return w.breach(w.inflateError(err))
	case !w.limiter.Allow(1, n):
		return w.fail(StatusPolicyViolation, "rate limit exceeded", errTooFast)
	}
	w.s.mu.Lock()
	_, ok := w.s.arrivedOnTabLocked(n)
	w.s.mu.Unlock()
	if !ok {
		w.transmit()
	}
	return ok
}

// dropPacked gives the compressed message back.
func (w *wire) dropPacked() {
	w.packed, w.tried = false, 0
	w.message.Free()
	w.message = nil
	w.dropClaim()
}

// dropClaim lets others inflate.
func (w *wire) dropClaim() {
	if w.incoming != nil && w.claim != nil {
		w.claim.release()
		w.claim = nil
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

// invite lets a large message come, now that it is its socket's turn. One that is only to be inflated is delivered in this turn, so that
// an object never has more than one of them. The socket's mu must be held; it is released.
func (m *member) invite() {
	s, in := m.s, m.s.in
	in.want, in.asks = in.asks, wantNothing
	if in.want == wantRest {
		s.link.stirLocked()
		s.mu.Unlock()
		return
	}
	if in.ready == nil {
		in.ready = make(chan struct{}, 1)
	}
	s.link.stirLocked()
	for !in.whole() && !s.is(finishing) && s.owner == owner(m) {
		s.mu.Unlock()
		<-in.ready
		s.mu.Lock()
	}
	in.want = wantNothing
	if in.whole() && s.owner == owner(m) {
		m.deliverMessage()
		return
	}
	s.mu.Unlock()
}
