package edgews

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/trace"
	"sync"
	"time"

	"github.com/edgews/edgews/internal/buf"
	"github.com/edgews/edgews/internal/frame"
	"github.com/edgews/edgews/internal/park"
)

// directFrom is the number of unread payload bytes of a frame from which they are read directly into the message's buffer.
const directFrom = 4 << 10

// ReadBuffer implements [park.Handler]. The buffer of a large message grows with the bytes that arrive, not with the announced length: up
// to four times as large while that is a pooled size, which saves reads and copies, then twice as large.
func (w *wire) ReadBuffer() (into []byte, size park.ReadSize) {
	if w.incoming != nil {
		w.direct = !w.readingPaused && !w.lingering && w.message != nil && w.decoder.Remaining() >= directFrom
		if w.direct {
			return w.directBuffer(), park.LargeRead
		}
	}
	if w.readingPaused {
		return nil, park.NoRead
	}
	return nil, w.readSize
}

// directBuffer returns the free part of the message's buffer, for the bytes of the current frame alone.
func (w *wire) directBuffer() []byte {
	have := len(w.message.B)
	more := max(32<<10, min(3*have, 384<<10), have)
	if have <= inboxLimit { // streamPiece may pause reading beyond that
		more = min(more, 2*inboxLimit-have)
	}
	w.message = w.message.Reserve(int(min(w.decoder.Remaining(), int64(more))))
	into := w.message.B[have:cap(w.message.B)]
	return into[:min(int64(len(into)), w.decoder.Remaining())]
}

// Received implements [park.Handler].
func (w *wire) Received(p []byte, spare *any) (anyBuffer bool) {
	if w.lingering {
		return false
	}
	returned := false
	defer func() {
		if !returned {
			w.listenerFailed(recover())
		}
	}()
	ok := false
	if w.incoming != nil && w.direct {
		ok = w.decodeDirect(p)
	} else {
		ok = w.decode(p, spare)
	}
	w.finishRead(ok, spare)
	returned = true
	return w.incoming == nil && !w.readingPaused && w.readSize == park.UsualRead
}

// finishRead writes what the turn has sent, and ends the socket if it has to end. ok says whether all received bytes have been handled.
// spare is as in releaseOutboxLocked.
func (w *wire) finishRead(ok bool, spare *any) {
	w.s.mu.Lock()
	at := monoMillis(w.conn.CoarseNow())
	if ok {
		if w.lastReceived == 0 { // a listener has returned
			w.s.noteMessageLocked()
		}
		w.lastReceived = at
	}
	if w.out != nil {
		w.lastSent = at // writeAndUnlock does not set it when spare is not nil
	}
	w.flushAndUnlock(spare)
	switch {
	case !ok && !w.readingPaused:
		w.finishAndLinger()
	case w.incoming != nil:
		w.releaseIncoming()
	}
}

// decodeDirect decodes p, which has been read into the free part of the message's buffer. It reports whether to continue reading.
func (w *wire) decodeDirect(p []byte) bool {
	piece, n, ok, err := w.decoder.Next(p)
	w.frameBytes += n
	if err != nil {
		return w.failProtocol(err)
	}
	if !ok {
		return true
	}
	w.message.B = w.message.B[:len(w.message.B)+len(piece.Payload)]
	w.addFrameBytes()
	return w.pieceAdded(piece.Last)
}

// readTurn is the part of a turn that handles the frames of one read.
type readTurn struct {
	spare    *any          // as in takeSpareLocked
	corked   bool          // Cork has been called: there is more than one frame
	frames   int           // frames that have been handled, while more bytes were left
	began    time.Time     // when expired was first called
	returned time.Duration // when the listener returned from the previous message, if a meter counts the socket; 0: not known
}

const (
	// turnTime is how long handling the frames of one read may take before other connections get their turns. Most of that time is spent
	// in listeners. At least sixteen frames are handled.
	turnTime = 200 * time.Microsecond
	// framesPerClockRead is the number of frames between two readings of the clock. Reading it costs as much as handling a small message.
	framesPerClockRead = 8
)

// frameHandled counts a frame behind which there are more bytes. It reports whether the turn has taken long enough.
func (t *readTurn) frameHandled() (expired bool) {
	t.frames++
	return t.frames%framesPerClockRead == 0 && t.expired()
}

// expired reports whether turnTime has passed since the first call. It is called every framesPerClockRead frames.
func (t *readTurn) expired() bool {
	if t.began.IsZero() {
		t.began = time.Now()
		return false
	}
	return time.Since(t.began) > turnTime
}

// cork delays writes until the end of the turn, because there are more frames to handle.
func (w *wire) cork(t *readTurn) {
	if !t.corked {
		t.corked = true
		w.conn.Cork(true)
	}
}

// yieldTurn pauses reading until other connections have had their turns. The caller keeps the bytes that have not been decoded. It
// returns false: do not continue reading.
func (w *wire) yieldTurn() bool {
	w.readingPaused = true
	w.conn.YieldTurn()
	return false
}

// decode handles the frames in p. It reports whether it has handled all of p. If not, the socket has ended, or reading is paused, for the
// application or for other connections; then decode keeps the rest in w.unparsed.
//
// Data messages at the start of p that have one complete, uncompressed frame each, usually all of p, need no frame.Decoder.
func (w *wire) decode(p []byte, spare *any) bool {
	t := readTurn{spare: spare}
	if w.incoming != nil {
		if !w.incoming.idle() {
			return w.decodeFrom(0, p, &t)
		}
		w.streamed = false // it described the previous message
	}
	for i := 0; i < len(p); {
		opcode, data, n := frame.ParseWhole(p[i:], !w.client, w.s.opts.MaxMessageSize)
		if n == 0 {
			return w.decodeFrom(i, p, &t)
		}
		if i += n; i < len(p) {
			w.cork(&t)
		}
		ok := w.deliverWhole(kindOf(opcode), data, n, &t)
		switch {
		case !t.corked: // p was one frame
			if n < largeMessage {
				w.readSize = park.UsualRead
			}
			return ok
		case !ok:
			return w.endDecode(i, p, false, &t)
		case i < len(p) && t.frameHandled():
			return w.endDecode(i, p, w.yieldTurn(), &t)
		}
	}
	return w.endDecode(len(p), p, true, &t)
}

// decodeFrom is decode for the frames from p[i] on, with a frame.Decoder.
func (w *wire) decodeFrom(i int, p []byte, t *readTurn) bool {
	ok := true
	for ok && i < len(p) {
		w.acquireIncoming(w.limit())
		piece, n, found, err := w.decoder.Next(p[i:])
		w.frameBytes += n
		if i += n; i < len(p) {
			w.cork(t)
		}
		switch {
		case err != nil:
			ok = w.failProtocol(err)
		case found:
			ok = w.handleFrame(piece)
		}
		if ok && i < len(p) && t.frameHandled() {
			ok = w.yieldTurn()
		}
	}
	return w.endDecode(i, p, ok, t)
}

const (
	// largeMessage is the size in bytes of a frame from which the next messages are read with a LargeRead, which takes up to a few of them.
	largeMessage = 8 << 10
	// hugeMessage is the size in bytes of a frame from which they are read with a HugeRead.
	hugeMessage = 60 << 10
	// hugeReadMessages is the smallest MaxMessageSize, in bytes, with a HugeRead: if reading pauses, what has been read waits, which should not
	// be more than a peer may send anyway.
	hugeReadMessages = 1 << 20
)

// chooseReadSize chooses how to read the next messages, after a frame of n bytes of payload has not arrived in one read: probably they have the
// same size. A message in the read buffer need not be copied to be delivered to listeners.
func (w *wire) chooseReadSize(n int64) {
	limit := w.s.opts.MaxMessageSize
	switch {
	case n < largeMessage:
		w.readSize = park.UsualRead
	case n >= hugeMessage && w.deliversDirectly() && (limit < 0 || limit >= hugeReadMessages):
		w.readSize = park.HugeRead
	default:
		w.readSize = park.LargeRead
	}
}

// deliversDirectly is Socket.deliversDirectlyLocked for callers that do not hold mu.
func (w *wire) deliversDirectly() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.s.deliversDirectlyLocked()
}

// endDecode keeps what decode has not handled, which is p from p[i] on, if it is handled when reading resumes. It returns ok.
func (w *wire) endDecode(i int, p []byte, ok bool, t *readTurn) bool {
	if w.readingPaused && i < len(p) && (w.incoming == nil || w.pending == nil) {
		w.acquireIncoming(w.limit())
		w.unparsed = buf.Copy(p[i:])
	}
	if t.corked {
		w.conn.Cork(false)
		if len(p) < t.frames*largeMessage {
			w.readSize = park.UsualRead
		}
	}
	return ok
}

// deliverWhole delivers the message of a whole frame of size bytes, which lies in the read buffer. To a single listener it delivers without a call of deliver. It
// reports whether to continue reading.
func (w *wire) deliverWhole(kind Kind, data []byte, size int, t *readTurn) bool {
	if kind == Text && !frame.Valid(data) {
		return w.failProtocol(frame.TextError(data))
	}
	s := w.s
	s.mu.Lock()
	listener := s.onMessage
	switch {
	case listener == nil || s.phase != phaseOpen || !s.deliversDirectlyLocked() || w.limiter != nil:
		s.mu.Unlock()
		t.returned = 0
		return w.deliver(kind, data, size, nil)
	case s.counter != nil || s.observed != nil:
		return w.countAndUnlock(listener, kind, data, size, t)
	}
	s.noteMessageLocked()
	w.beginHandlerLocked()
	w.takeSpareLocked(t.spare)
	s.mu.Unlock()
	listener(MessageEvent{s, Message{kind, data}}) // Received's deferred function recovers a panic
	return true
}

// countAndUnlock counts the message, whose frame has size bytes, calls listener, counts its duration and tells the Observer. It reports
// whether to continue reading. mu must be held; it is released.
func (w *wire) countAndUnlock(listener func(MessageEvent), kind Kind, data []byte, size int, t *readTurn) bool {
	s, c, o := w.s, w.s.counter, w.s.observed
	s.noteMessageLocked()
	w.beginHandlerLocked()
	w.takeSpareLocked(t.spare)
	if !c.countReceivedLocked(1, len(data)) {
		s.mu.Unlock()
		w.transmit()
		return false
	}
	if t.returned == 0 {
		t.returned = sinceStart()
	}
	c.handlerStartedAt(t.returned)
	s.mu.Unlock()
	if o != nil {
		o.beginTurnMessage(kind, len(data), size, t.returned)
	}
	if o == nil || !trace.IsEnabled() {
		listener(MessageEvent{s, Message{kind, data}})
	} else {
		traceMessage(listener, MessageEvent{s, Message{kind, data}})
	}
	if t.returned = c.handlerReturned(); t.returned == 0 {
		t.returned = sinceStart()
	}
	if o != nil {
		s.endTurnMessage(o, t.returned)
	}
	return true
}

// addFrameBytes adds what has been decoded of the current frame to the size of the message.
func (w *wire) addFrameBytes() {
	w.wireSize += w.frameBytes
	w.frameBytes = 0
}

// handleFrame handles a control frame or a piece of a message. It reports whether to continue reading.
func (w *wire) handleFrame(p frame.Piece) bool {
	if p.Opcode.Control() {
		w.frameBytes = 0
		return w.handleControl(p)
	}
	return w.handleData(p)
}

// failProtocol fails the connection (RFC 6455 §7.1.7) with the status code of err. It returns false: do not continue reading.
func (w *wire) failProtocol(err error) bool {
	violation, ok := errors.AsType[*frame.Error](err)
	if !ok {
		violation = &frame.Error{Code: uint16(StatusProtocolError), Detail: err.Error()}
	}
	code := StatusCode(violation.Code)
	if code == StatusMessageTooBig {
		return w.fail(code, violation.Detail, fmt.Errorf("%w: %s (see Options.MaxMessageSize)", ErrMessageTooBig, violation.Detail))
	}
	return w.fail(code, violation.Detail, &ProtocolError{code, violation.Section, violation.Detail})
}

// handleControl handles a control frame. It reports whether to continue reading.
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

// answerPing queues the pong for a ping, also after our Close frame: RFC 6455 §5.5.2 requires pongs until the peer's Close frame has
// arrived. Frames behind that are not handled.
func (w *wire) answerPing(payload []byte) {
	w.s.mu.Lock()
	w.outboxLocked().AddControl(w.header(frame.Pong), payload)
	w.transmitAndUnlock()
}

// handlePong ends the calls of Ping that the pong answers. Their payloads are counters of 8 bytes; other pongs are ignored (RFC 6455
// §5.5.3).
func (w *wire) handlePong(payload []byte) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if len(payload) == 0 {
		w.s.observeKeepAlivePongLocked()
	}
	if len(payload) != 8 {
		return
	}
	if waiters := w.s.waiters; waiters != nil {
		if id := binary.BigEndian.Uint64(payload); id <= waiters.pings.last {
			waiters.pings.pongLocked(w.s, id)
		}
	}
}

// handleClose handles the peer's Close frame, which the decoder has checked. The answer has the same code and reason (RFC 6455
// §5.5.1). It returns false: do not continue reading.
func (w *wire) handleClose(payload []byte) bool {
	code, reason, _ := frame.ParseClose(payload)
	c := closeFrame{StatusCode(code), string(reason)}
	if c.code == StatusNoStatusRcvd {
		c.code = 0
	}
	return w.end(pendingEnd{closing: &c})
}

// handleData handles a piece of a message. It reports whether to continue reading.
func (w *wire) handleData(p frame.Piece) bool {
	if p.First {
		w.kind, w.deflated, w.streamed, w.wireSize = kindOf(p.Opcode), p.RSV1, false, 0
		w.addFrameBytes()
		if p.Last && !p.RSV1 {
			return w.deliver(w.kind, p.Payload, w.wireSize, nil)
		}
	} else {
		w.addFrameBytes()
	}
	if w.message == nil {
		w.message = buf.Get(len(p.Payload))
		w.chooseReadSize(int64(len(p.Payload)) + w.decoder.Remaining())
	}
	w.message = w.message.Reserve(len(p.Payload))
	w.message.B = append(w.message.B, p.Payload...)
	return w.pieceAdded(p.Last)
}

// kindOf is the reverse of opcodeOf.
func kindOf(op frame.Opcode) Kind { return Kind(op) }

// pieceAdded delivers w.message, to which a piece has been added, if the piece is the last one or if the message is large. It reports
// whether to continue reading.
func (w *wire) pieceAdded(last bool) bool {
	if !last {
		return len(w.message.B) <= inboxLimit || w.streamPiece()
	}
	if w.deflated {
		return w.inflate()
	}
	whole := w.message
	w.message = nil
	return w.deliver(w.kind, whole.B, w.wireSize, whole)
}

// incoming is the state of a message that has arrived in part or cannot be delivered yet, and of the bytes behind it. It is owned by the
// connection's turn.
type incoming struct {
	decoder      frame.Decoder
	kind         Kind                // kind of the message
	deflated     bool                // the message is compressed
	streamed     bool                // pieces of the message have been put into the inbox
	frameBytes   int                 // the bytes of the current frame that have been decoded
	wireSize     int                 // the bytes of the message's frames, without those of pieces that are in the inbox
	direct       bool                // the current Read stores its bytes in message
	message      *buf.Buffer         // the received bytes of the message that are not in the inbox; nil: none
	messageWaits bool                // message is whole: it waits for a listener or, if it is compressed, to be inflated
	triedSize    int64               // message inflates to more than this number of bytes; 0: not tried
	reservation  *inflateReservation // message's part of the inflate budget; nil: none
	unparsed     *buf.Buffer         // received bytes that are decoded when reading resumes; nil: none
	pending      *pendingEnd         // the end that waits until the messages before it have been handled; nil: none
}

// idle reports whether in has no state that has to be kept.
func (in *incoming) idle() bool {
	return in.message == nil && in.unparsed == nil && in.pending == nil && in.decoder.Idle()
}

// incomings is the pool of idle incomings.
var incomings = sync.Pool{New: func() any { return new(incoming) }}

// isStreamed reports whether pieces of the current message have been put into the inbox.
func (w *wire) isStreamed() bool { return w.incoming != nil && w.streamed }

// acquireIncoming makes sure that w.incoming exists. limit is the size of the largest message in bytes; negative: no limit.
func (w *wire) acquireIncoming(limit int64) {
	if w.incoming == nil {
		w.incoming = incomings.Get().(*incoming)
		w.decoder.Init(frame.Config{Masked: !w.client, Compressed: w.inflater != nil, Limit: limit})
	}
}

// releaseIncoming returns w.incoming to its pool if it is idle.
func (w *wire) releaseIncoming() {
	if in := w.incoming; in.idle() {
		w.incoming = nil
		*in = incoming{}
		incomings.Put(in)
	}
}

// keepEarly keeps p, which arrived behind the handshake, until the socket is accepted.
func (w *wire) keepEarly(p []byte, limit int64) {
	w.acquireIncoming(limit)
	w.unparsed, w.readingPaused = buf.Copy(p), true
}

// pauseReadingLocked pauses reading until resumeReadingLocked is called. It is called in the connection's turn and returns false: do not
// continue reading. mu must be held.
func (w *wire) pauseReadingLocked() bool {
	w.readingPaused = true
	w.s.facts |= readPaused
	w.lastReceived = 0
	return false
}

// pauseReading is pauseReadingLocked for callers that do not hold mu.
func (w *wire) pauseReading() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.pauseReadingLocked()
}

// resumeReadingLocked wakes the turn if reading is paused. It is called when the application has taken a message, asked for one or added a
// listener, and when the socket ends. The turn then checks whether reading can continue. mu must be held.
func (w *wire) resumeReadingLocked() {
	if w.s.is(readPaused) {
		w.s.facts &^= readPaused
		w.conn.Wake()
	}
}

// resume handles what has waited while reading was paused. It reports whether to continue reading.
func (w *wire) resume() bool {
	w.readingPaused = false
	if w.incoming == nil {
		return w.hasRoom()
	}
	switch {
	case w.pending != nil:
		return w.resumeEnd()
	case w.messageWaits && w.deflated:
		if !w.inflate() {
			return false
		}
	case w.messageWaits:
		if !w.redeliver() {
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
