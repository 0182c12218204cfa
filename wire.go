package edgews

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/edgews/edgews/internal/deflate"
	"github.com/edgews/edgews/internal/frame"
	"github.com/edgews/edgews/internal/park"
)

// wireConfig is what a handshake has led to.
type wireConfig struct {
	conn     net.Conn
	buffered []byte // bytes that came behind the handshake: read first
	client   bool   // we are the client: we mask
	opts     *Options
	deflate  *deflate.Params // nil: no compression
	meter    *Meter          // nil: none
	object   *object         // the one that pays, if one does
	pass     quotaPass       // of the quotas

	url, protocol, extensions string
}

func (c *wireConfig) identity() identity { return identity{c.url, c.protocol, c.extensions} }

// wire is the link of a socket to a network connection. It has no goroutine: it is told what arrives, in the connection's
// turn, delivers it there, and whoever finds the outbox idle writes it.
//
// Most connections are silent most of the time. What a silent one needs is here, and the rest is borrowed. On 64 bits, in
// bytes: s 8, filters 8, conn 48 (handler 16, stream 8, and its place on the loop 24), out 8, three monoMillis 12, incoming 8, the
// flags 4. With the Socket and the mutex, which are allocated together with it (mu 8, opts 8, link 16, onMessage 8, extra 8,
// accepted 4, status 4; the mutex itself 8), that makes 160. One listener for messages is in there; the loop's table has 12
// for each connection. With them Go holds about 35 more after a collection: ends of spans, their books, stacks that goroutines of
// net/http have left. Between collections there is as much garbage again as the collector allows (GOGC). Compression without
// takeover adds 80, the filters; what has been agreed on is shared.
type wire struct {
	// Immutable after construction.
	s *Socket
	*filters

	conn park.Conn

	*incoming         // nil: nothing has begun to arrive; owned by the connection's turn
	out       *outbox // nil: nothing is being sent; guarded by the socket's mu

	// Guarded by the socket's mu.
	peerDeadline monoMillis // until when the peer has to answer a ping (pinged), send its Close or hang up; 0: no limit
	lastReceived monoMillis // when bytes last arrived; 0: we wait for the application, not for the peer
	lastSent     monoMillis // when the connection last took bytes

	// Owned by the connection's turn.
	readingPaused bool // nothing is read until the application has done something
	direct        bool // what is being read goes straight into the message
	lingering     bool // the last event has been delivered: what arrives is dropped

	client bool // we are the client: we mask; immutable
}

// filters are what messages pass on their way.
type filters struct {
	deflater *deflater // nil: no compression
	inflater *deflate.Decompressor
	limiter  *limiter
}

// noFilters is shared by all sockets that have none.
var noFilters filters

// newSocket returns a socket over a connection, to be accepted.
func newSocket(c wireConfig) *Socket {
	together := new(struct { // they live and die together
		s  Socket
		w  wire
		mu sync.Mutex
	})
	s := &together.s
	s.mu, s.opts, s.socketExtra = &together.mu, c.opts, &noExtra
	s.describeLocked(c.identity())
	s.link = together.w.init(s, c)
	return s
}

func newWire(s *Socket, c wireConfig) *wire { return new(wire).init(s, c) }

func (w *wire) init(s *Socket, c wireConfig) *wire {
	w.s, w.client, w.filters = s, c.client, newFilters(c)
	w.conn.Init(c.conn, w)
	s.startCounterLocked(c.meter, c.object, !c.client)
	if len(c.buffered) > 0 {
		w.keepEarly(c.buffered, c.opts.MaxMessageSize)
	}
	return w
}

func newFilters(c wireConfig) *filters {
	limiter := newLimiter(c.opts.RateLimit)
	if limiter == nil && c.deflate == nil {
		return &noFilters
	}
	f := new(filters)
	if p := c.deflate; p != nil {
		f = newDeflation(*p, c.client, c.opts.Compression)
	}
	f.limiter = limiter
	return f
}

// startLocked begins to read.
func (w *wire) startLocked() {
	w.lastReceived = nowMillis()
	w.lastSent = w.lastReceived
	w.s.counter.registerLocked()
	early := w.incoming != nil
	w.conn.Start()
	if d := w.s.opts.KeepAlive; d > 0 && w.s.result == nil { // a Close may have been faster
		w.setTimerLocked(d)
	}
	if early || w.s.result != nil {
		w.conn.Wake()
	}
}

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
	held := len(w.message.b)
	more := max(32<<10, min(3*held, 384<<10), held)
	if held <= inboxLimit { // nobody may want more of it
		more = min(more, 2*inboxLimit-held)
	}
	w.message = w.message.reserve(int(min(w.decoder.Remaining(), int64(more))))
	into = w.message.b[held:cap(w.message.b)]
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

// Woken implements [park.Handler].
func (w *wire) Woken() {
	if w.lingering {
		w.closeConnIfDone()
		return
	}
	returned := false
	defer func() {
		if !returned {
			w.listenerFailed(recover())
		}
	}()
	switch {
	case w.isOpening(): // hasOpened wakes it again
	case !w.alive():
		w.finishAndLinger()
	case w.readingPaused:
		w.finishRead(w.resume(), nil)
	}
	returned = true
}

// ReadEnded implements [park.Handler].
func (w *wire) ReadEnded(err error) {
	w.s.mu.Lock()
	w.s.loseLocked(w.lossLocked(err))
	w.s.mu.Unlock()
	if !w.lingering {
		w.deliverLastEvents()
		w.lingering = true
		w.dropInput()
	}
	if !endOfStream(err) || !w.staysOpenForWriting() {
		w.closeConn()
	}
}

func (w *wire) deliverLastEvents() {
	returned := false
	defer func() {
		if !returned {
			w.listenerFailed(recover())
		}
	}()
	w.s.finish()
	returned = true
}

// listenerFailed continues after a listener has not returned: the socket fails. cause is what the listener has panicked with; nil: it has called
// runtime.Goexit, as failing tests do. Then another goroutine delivers the rest. survive is called by a deferred function.
func (w *wire) listenerFailed(cause any) {
	w.conn.Cork(false)
	if cause == nil {
		w.s.fail(StatusInternalError, "internal error", errGoexit)
		w.Flush()
		w.conn.Wake()
		return
	}
	w.s.panicked(w.s.recovered(cause))
	w.readingPaused = false
	w.finishReadAfterPanic()
}

// finishReadAfterPanic is finishRead after a listener has panicked.
func (w *wire) finishReadAfterPanic() {
	returned := false
	defer func() {
		if !returned {
			w.listenerFailed(recover())
		}
	}()
	w.finishRead(false, nil)
	returned = true
}

var errGoexit = errors.New("edgews: listener ended its goroutine")

// lossLocked is what there is to tell about the end of a connection: nothing, if it has taken everything that
// was sent. mu must be held.
func (w *wire) lossLocked(err error) error {
	switch {
	case w.out == nil:
		return nil
	case w.out.err == nil && w.out.payload > 0:
		return fmt.Errorf("edgews: connection lost with %d bytes unsent: %w", w.out.payload, err)
	}
	return w.out.err
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
	w.message.b = w.message.b[:len(w.message.b)+len(piece.Payload)]
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
		w.unparsed = copyOf(p[i:])
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
	w.outboxLocked().addControl(w.header(frame.Pong), payload)
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
		w.message = newBuffer(len(p.Payload))
	}
	w.message = w.message.reserve(len(p.Payload))
	w.message.b = append(w.message.b, p.Payload...)
	return w.pieceAdded(p.Last)
}

// kindOf is the reverse of opcodeOf.
func kindOf(op frame.Opcode) Kind { return Kind(op) }

// pieceAdded goes on after another piece has been added to w.message.
func (w *wire) pieceAdded(last bool) bool {
	if !last {
		return len(w.message.b) <= inboxLimit || w.streamPiece()
	}
	if w.deflated {
		return w.inflate()
	}
	whole := w.message
	w.message = nil
	return w.deliver(w.kind, whole.b, whole)
}

// header returns the header of a frame of ours, complete except for its length.
func (w *wire) header(op frame.Opcode) frame.Header {
	h := frame.Header{Fin: true, Opcode: op, Masked: w.client}
	if w.client {
		// RFC 6455 §5.3: unpredictable. The top-level functions draw on ChaCha8 seeded by the system.
		binary.NativeEndian.PutUint32(h.Key[:], rand.Uint32())
	}
	return h
}

func (w *wire) takenLocked(*item) {}

func (w *wire) bufferedLocked() (payload, size int) {
	if w.out == nil {
		return 0, 0
	}
	return w.out.payload, w.out.size
}

// failLocked has the turn look up.
func (w *wire) endedLocked() {
	if w.s.is(lost) {
		w.conn.Wake()
	}
	w.resumeReadingLocked()
}
