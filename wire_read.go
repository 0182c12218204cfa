package edgews

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/edgews/edgews/internal/buf"
	"github.com/edgews/edgews/internal/frame"
)

// directFrom is the size of a payload's rest from which it is read straight into the message's buffer.
const directFrom = 4 << 10

// ReadBuffer implements [park.Handler]. The buffer of a large message grows with what arrives: to twice as much, and first, while it is
// one of those that are pooled, to four times, which saves reads and moves.
func (w *wire) ReadBuffer() (into []byte, ok bool) {
	switch w.direct = false; {
	case w.readingPaused:
		return nil, false
	case w.lingering:
		return nil, true
	case w.incoming == nil || w.message == nil || w.decoder.Remaining() < directFrom:
		return nil, true
	}
	w.direct = true
	held := len(w.message.B)
	more := max(32<<10, min(3*held, 384<<10), held)
	if held <= inboxLimit { // nobody may want more of it
		more = min(more, 2*inboxLimit-held)
	}
	w.message = w.message.Reserve(int(min(w.decoder.Remaining(), int64(more))))
	into = w.message.B[held:cap(w.message.B)]
	return into[:min(int64(len(into)), w.decoder.Remaining())], true
}

// Received implements [park.Handler].
func (w *wire) Received(p []byte, spare *any) {
	if w.lingering {
		return
	}
	returned := false
	defer func() {
		if !returned {
			w.listenerFailed(recover())
		}
	}()
	ok := false
	if w.direct {
		ok = w.decodeDirect(p)
	} else {
		ok = w.decode(p, spare)
	}
	w.finishRead(ok, spare)
	returned = true
}

// finishRead ends the turn's share of work. ok says whether all that was there has been dealt with.
func (w *wire) finishRead(ok bool, spare *any) {
	w.s.mu.Lock()
	at := monoMillis(w.conn.CoarseNow())
	if ok {
		w.lastReceived = at
	}
	if w.out != nil {
		w.lastSent = at // for writeAndUnlock
	}
	w.flushAndUnlock(spare)
	switch {
	case !ok && !w.readingPaused:
		w.finishAndLinger()
	case w.incoming != nil:
		w.releaseIncoming()
	}
}

// decodeDirect goes on after more of a large frame has been read into the message.
func (w *wire) decodeDirect(p []byte) bool {
	piece, _, ok, err := w.decoder.Next(p)
	if err != nil {
		return w.failProtocol(err)
	}
	if !ok {
		return true
	}
	w.message.B = w.message.B[:len(w.message.B)+len(piece.Payload)]
	return w.pieceAdded(piece.Last)
}

// turnTimer measures how long the frames of one read take to be handled, in listeners mostly.
type turnTimer struct{ start time.Time }

const (
	// turnTime is how long the frames of one read may take before the other connections have their turn. At least sixteen are handled.
	turnTime = 200 * time.Microsecond
	// framesPerLook is after how many frames the clock is read, which costs as much as handling a small message.
	framesPerLook = 8
)

// over reports whether the time is over. It is called every framesPerLook frames.
func (t *turnTimer) over() bool {
	if t.start.IsZero() {
		t.start = time.Now()
		return false
	}
	return time.Since(t.start) > turnTime
}

// yieldTurn keeps the rest of what was read until the other connections have had their turn. It returns false, for those who go on
// reading.
func (w *wire) yieldTurn() bool {
	w.readingPaused = true
	w.conn.YieldTurn()
	return false
}

// decode takes the frames out of p. It reports whether it got to the end; if not, the socket has ended, waits for
// the application or gives way to other connections, and keeps the rest.
func (w *wire) decode(p []byte, spare *any) bool {
	var timer turnTimer
	i, held, ok := 0, false, true
	if w.incoming == nil || w.incoming.idle() { // nothing has begun
		if i, held, ok = w.decodeWhole(p, spare, &timer); i == len(p) && !held {
			return ok
		}
	}
	for frames := 0; ok && i < len(p); frames++ {
		if frames%framesPerLook == framesPerLook-1 && timer.over() {
			ok = w.yieldTurn()
			break
		}
		w.receiveUpTo(w.limit())
		piece, n, found, err := w.decoder.Next(p[i:])
		if i += n; i < len(p) && !held {
			held = true
			w.conn.Cork(true)
		}
		switch {
		case err != nil:
			ok = w.failProtocol(err)
		case found:
			ok = w.handleFrame(piece)
		}
	}
	if w.readingPaused && i < len(p) && (w.incoming == nil || w.pending == nil) {
		w.receiveUpTo(w.limit())
		w.unparsed = buf.Copy(p[i:])
	}
	if held {
		w.conn.Cork(false)
	}
	return ok
}

// decodeWhole delivers messages for as long as p goes on with whole ones in one frame each, which is nearly always to its end: they need
// no decoder, and if there is just one listener, no complete. It returns how many bytes it took, whether it has called Cork, and whether to go on.
func (w *wire) decodeWhole(p []byte, spare *any, timer *turnTimer) (i int, held, ok bool) {
	s := w.s
	if w.incoming != nil {
		w.streamed = false // that was the message before
	}
	var left time.Duration // when a meter saw a listener return
	for frames := 1; ; frames++ {
		opcode, data, n := frame.ParseWhole(p[i:], !w.client, s.opts.MaxMessageSize)
		if n == 0 {
			return i, held, true
		}
		if i += n; i < len(p) && !held {
			held = true
			w.conn.Cork(true)
		}
		kind := kindOf(opcode)
		if kind == Text && !frame.Valid(data) {
			return i, held, w.failProtocol(frame.TextError(data))
		}
		s.mu.Lock()
		listener := s.onMessage
		switch {
		case listener == nil || s.is(ended|pulling|owned|hosted) || w.limiter != nil:
			s.mu.Unlock()
			if left = 0; !w.deliver(kind, data, nil) {
				return i, held, false
			}
		case s.counter != nil:
			if left, ok = w.countAndUnlock(listener, kind, data, left, spare); !ok {
				return i, held, false
			}
		default:
			w.beginHandlerLocked()
			w.takeSpareLocked(spare)
			s.mu.Unlock()
			listener(MessageEvent{s, Message{kind, data}}) // survive catches its panic
		}
		switch {
		case i == len(p):
			return i, held, true
		case frames%framesPerLook == 0 && timer.over():
			return i, held, w.yieldTurn()
		}
	}
}

// countAndUnlock calls the listener and has the meter count the message and the time that the listener takes. before is when it saw the listener
// return from the message before this one, or 0, and left is that of this one. It reports whether to go on reading. mu must be held; it is released.
func (w *wire) countAndUnlock(listener func(MessageEvent), kind Kind, data []byte, before time.Duration, spare *any) (left time.Duration, ok bool) {
	s, c := w.s, w.s.counter
	w.beginHandlerLocked()
	w.takeSpareLocked(spare)
	if !c.countReceivedLocked(1, len(data)) {
		s.mu.Unlock()
		w.transmit()
		return 0, false
	}
	c.handlerStartedAgain(before)
	s.mu.Unlock()
	listener(MessageEvent{s, Message{kind, data}})
	return c.handlerReturned(), true
}

// handleFrame deals with a frame, or a piece of one.
func (w *wire) handleFrame(p frame.Piece) bool {
	if p.Opcode.Control() {
		return w.handleControl(p)
	}
	return w.handleData(p)
}

// failProtocol fails the connection because the peer broke the protocol. It returns false, for those who go on reading.
func (w *wire) failProtocol(err error) bool {
	broken, ok := errors.AsType[*frame.Error](err)
	if !ok {
		broken = &frame.Error{Code: uint16(StatusProtocolError), Detail: err.Error()}
	}
	code := StatusCode(broken.Code)
	if code == StatusMessageTooBig {
		return w.fail(code, broken.Detail, fmt.Errorf("%w: %s (see Options.MaxMessageSize)", ErrMessageTooBig, broken.Detail))
	}
	return w.fail(code, broken.Detail, &ProtocolError{code, broken.Section, broken.Detail})
}

// handleControl deals with a control frame. It reports whether to go on reading.
func (w *wire) handleControl(p frame.Piece) bool {
	switch p.Opcode {
	case frame.Ping:
		w.answerPing(p.Payload)
	case frame.Pong:
		w.handlePong(p.Payload)
	case frame.Close:
		return w.handleClose(p.Payload)
	}
	return true
}

// answerPing answers a ping. That we have said Close does not change it: RFC 6455 §5.5.2 asks for a pong until the peer's Close has come,
// and behind that nothing is looked at.
func (w *wire) answerPing(payload []byte) {
	w.s.mu.Lock()
	w.outboxLocked().AddControl(w.header(frame.Pong), payload)
	w.transmitAndUnlock()
}

func (w *wire) handlePong(payload []byte) {
	if len(payload) != 8 {
		return
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if waits := w.s.waiters; waits != nil {
		if id := binary.BigEndian.Uint64(payload); id <= waits.pings.last {
			waits.pings.pong(id)
		}
	}
}

// handleClose takes the peer's Close, which is answered with the same code and reason. The decoder has checked it.
func (w *wire) handleClose(payload []byte) bool {
	code, reason, _ := frame.ParseClose(payload)
	c := closeFrame{StatusCode(code), string(reason)}
	if c.code == StatusNoStatusRcvd {
		c.code = 0
	}
	return w.end(pendingEnd{closing: &c})
}

// handleData deals with a piece of a message.
func (w *wire) handleData(p frame.Piece) bool {
	if p.First {
		w.kind, w.deflated, w.streamed = kindOf(p.Opcode), p.RSV1, false
		if p.Last && !p.RSV1 {
			return w.deliver(w.kind, p.Payload, nil)
		}
	}
	if w.message == nil {
		w.message = buf.Get(len(p.Payload))
	}
	w.message = w.message.Reserve(len(p.Payload))
	w.message.B = append(w.message.B, p.Payload...)
	return w.pieceAdded(p.Last)
}

// kindOf is the reverse of opcodeOf.
func kindOf(op frame.Opcode) Kind { return Kind(op) }

// pieceAdded goes on after another piece has been added to w.message.
func (w *wire) pieceAdded(last bool) bool {
	if !last {
		return len(w.message.B) <= inboxLimit || w.streamPiece()
	}
	if w.deflated {
		return w.inflate()
	}
	whole := w.message
	w.message = nil
	return w.deliver(w.kind, whole.B, whole)
}

// incoming is a message that has not arrived as a whole, or cannot be delivered yet. Owned by the connection's turn.
type incoming struct {
	decoder      frame.Decoder
	kind         Kind                // of the message
	deflated     bool                // … and whether it is compressed
	streamed     bool                // … and whether pieces of it are in the inbox already
	message      *buf.Buffer         // … and what is there of it
	undelivered  *item               // a message that waits for a listener
	inflateWaits bool                // … which is complete, compressed, and has to wait
	triedSize    int64               // … and which has been found to inflate to more than so many bytes
	inflateClaim *inflateReservation // what it has to wait for; nil: the application
	unparsed     *buf.Buffer         // bytes that were read and wait behind what halted us
	pending      *pendingEnd
}

func (in *incoming) idle() bool {
	return in.message == nil && in.undelivered == nil && in.unparsed == nil && in.pending == nil && in.decoder.Idle()
}

var incomings = sync.Pool{New: func() any { return new(incoming) }}

// isStreamed reports whether pieces of the message are in the inbox already.
func (w *wire) isStreamed() bool { return w.incoming != nil && w.streamed }

// receiveUpTo makes w.incoming ready for messages of so many bytes.
func (w *wire) receiveUpTo(limit int64) {
	if w.incoming == nil {
		w.incoming = incomings.Get().(*incoming)
		w.decoder.Init(frame.Config{Masked: !w.client, Compressed: w.inflater != nil, Limit: limit})
	}
}

// releaseIncoming gives w.incoming back if it is not needed.
func (w *wire) releaseIncoming() {
	if in := w.incoming; in.idle() {
		w.incoming = nil
		*in = incoming{}
		incomings.Put(in)
	}
}

// keepEarly keeps what came behind the handshake.
func (w *wire) keepEarly(p []byte, limit int64) {
	w.receiveUpTo(limit)
	w.unparsed, w.readingPaused = buf.Copy(p), true
}

// pauseReadingLocked stops reading until the application has done something. It returns false, for those who go on reading. mu must
// be held.
func (w *wire) pauseReadingLocked() bool {
	w.readingPaused = true
	w.s.status |= readPaused
	w.lastReceived = 0
	return false
}

// pauseReading is pauseReadingLocked for those who do not hold mu.
func (w *wire) pauseReading() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.pauseReadingLocked()
}

// resumeReadingLocked is told that the application has done something.
func (w *wire) resumeReadingLocked() {
	if w.s.is(readPaused) {
		w.s.status &^= readPaused
		w.conn.Wake()
	}
}

// resume deals with what has had to wait.
func (w *wire) resume() bool {
	w.readingPaused = false
	if w.incoming == nil {
		return w.hasRoom()
	}
	switch it := w.undelivered; {
	case w.pending != nil:
		return w.resumeEnd()
	case it != nil:
		w.undelivered = nil
		if !w.redeliver(*it) {
			return false
		}
	case w.inflateWaits:
		if !w.inflate() {
			return false
		}
	case w.message != nil && len(w.message.B) > inboxLimit:
		if !w.streamPiece() {
			return false
		}
	default:
		if !w.hasRoom() {
			return false
		}
	}
	rest := w.unparsed
	if rest == nil {
		return true
	}
	w.unparsed = nil
	defer rest.Free()
	return w.decode(rest.B, nil)
}
