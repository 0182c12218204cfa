package edgews

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
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

	url, protocol, extensions string
}

func (c *wireConfig) identity() identity { return identity{c.url, c.protocol, c.extensions} }

// wire is the link of a socket to a network connection. One goroutine reads it and delivers its events; whoever
// finds the outbox idle writes it.
type wire struct {
	// Immutable after construction.
	s        *Socket
	conn     *park.Conn
	client   bool
	deflater *deflater // nil: no compression

	// Owned by the reader.
	early    []byte // what came behind the handshake
	decoder  frame.Decoder
	inflater *deflate.Decompressor
	limiter  *limiter
	kind     Kind    // of the message that is being received
	deflated bool    // … and whether it is compressed
	streamed bool    // … and whether pieces of it are in the inbox already
	message  *buffer // … and what is there of it

	// Guarded by the socket's mu.
	out       outbox
	timer     *time.Timer // keep-alive and the wait for the peer's Close; one for both
	pinged    time.Time   // when the keep-alive ping went out that is not answered yet
	closeBy   time.Time   // when to stop waiting for the peer's Close
	writeErr  error       // why out is broken
	corkTimer *time.Timer
	plain     bool // a NextWriter's message was begun without compression, before Respond, and is not finished

	// Atomics.
	heard atomic.Int64 // when bytes last arrived, in nanoseconds since epoch, or notListening
}

// notListening is what wire.heard says while the reader waits for the application, not for the peer.
const notListening = -1

// epoch is what wire.heard counts from.
var epoch = time.Now()

// newSocket returns a socket over a connection, to be accepted.
func newSocket(c wireConfig) *Socket {
	s := &Socket{mu: new(sync.Mutex), opts: c.opts, about: c.identity()}
	s.link = newWire(s, c)
	return s
}

func newWire(s *Socket, c wireConfig) *wire {
	w := &wire{s: s, conn: park.New(c.conn), client: c.client, early: c.buffered, limiter: newLimiter(c.opts.RateLimit)}
	w.decoder.Init(frame.Config{Masked: !c.client, Compressed: c.deflate != nil, Limit: c.opts.MaxMessageSize})
	if p := c.deflate; p != nil {
		w.deflater, w.inflater = newDeflation(*p, c.client, c.opts.Compression)
	}
	return w
}

// startLocked begins to read.
func (w *wire) startLocked() { go w.begin() }

// begin starts the keep-alive and reads, in this goroutine.
func (w *wire) begin() {
	w.s.mu.Lock()
	w.heard.Store(int64(time.Since(epoch)))
	if d := w.s.opts.KeepAlive; d > 0 && w.s.fate == nil && w.timer == nil { // a Close may have been faster
		w.armLocked(d)
	}
	w.s.mu.Unlock()
	w.run()
}

// run reads until the socket's fate is sealed, delivers the last events and sees the connection off. It is the one
// goroutine of an accepted socket.
func (w *wire) run() {
	// A listener may call runtime.Goexit, as failing tests do: then the rest happens in another goroutine.
	done := false
	defer func() {
		if !done {
			w.s.fail(StatusInternalError, "internal error", errGoexit)
			go w.conclude()
		}
	}()
	w.read()
	w.s.finish()
	done = true
	w.conclude()
}

var errGoexit = errors.New("edgews: listener ended its goroutine")

func (w *wire) conclude() {
	w.s.finish()
	w.linger()
	w.message.free()
	w.message = nil
	w.stopTimers()
}

// read feeds what arrives to the decoder until there is nothing more to expect.
func (w *wire) read() {
	if early := w.early; len(early) > 0 {
		w.early = nil
		w.heard.Store(notListening)
		if !w.feed(early) {
			return
		}
	}
	for {
		w.heard.Store(int64(time.Since(epoch)))
		var ok bool
		if w.message != nil && w.decoder.Remaining() >= directFrom {
			ok = w.readPayload()
		} else {
			ok = w.readFrames()
		}
		if !ok {
			return
		}
	}
}

// readFrames reads whatever comes into a borrowed buffer, so that a connection that waits holds none.
func (w *wire) readFrames() bool {
	b, err := w.conn.ReadBuffer()
	if err != nil {
		w.hungUp(err)
		return false
	}
	defer b.Release()
	w.heard.Store(notListening)
	return w.feed(b.Bytes())
}

// directFrom is the size of a payload's rest from which it is read straight into the message's buffer.
const directFrom = 4 << 10

// readPayload reads the rest of a large frame straight into the message. The buffer grows with what arrives.
func (w *wire) readPayload() bool {
	held := len(w.message.b)
	w.message = w.message.reserve(int(min(w.decoder.Remaining(), int64(max(held, 32<<10)))))
	room := w.message.b[held:cap(w.message.b)]
	room = room[:min(int64(len(room)), w.decoder.Remaining())]
	n, err := w.conn.Read(room)
	if n == 0 && err != nil {
		w.hungUp(err)
		return false
	}
	w.heard.Store(notListening)
	piece, _, ok, decodeErr := w.decoder.Next(room[:n])
	if decodeErr != nil {
		w.breach(decodeErr)
		return false
	}
	if !ok {
		return true
	}
	w.message.b = w.message.b[:held+len(piece.Payload)]
	return w.received(piece.Last, false)
}

// hungUp ends a socket whose connection has ended.
func (w *wire) hungUp(err error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.loseLocked(w.lossLocked(err))
}

// lossLocked is what there is to tell about the end of a connection: nothing, if it has taken everything that
// was sent. mu must be held.
func (w *wire) lossLocked(err error) error {
	if w.writeErr == nil && w.out.payload > 0 {
		return fmt.Errorf("edgews: connection lost with %d bytes unsent: %w", w.out.payload, err)
	}
	return w.writeErr
}

// feed takes the frames out of p. It reports whether to go on reading. What listeners send to this socket meanwhile
// leaves in as few writes as possible, at the latest when p is used up.
func (w *wire) feed(p []byte) bool {
	defer w.uncork()
	for len(p) > 0 {
		piece, n, ok, err := w.decoder.Next(p)
		p = p[n:]
		switch {
		case err != nil:
			w.breach(err)
			return false
		case !ok:
			return true
		case piece.Opcode.Control():
			ok = w.control(piece, len(p) > 0)
		default:
			ok = w.data(piece, len(p) > 0)
		}
		if !ok {
			return false
		}
	}
	return true
}

// breach fails the connection because the peer broke the protocol.
func (w *wire) breach(err error) {
	broken, ok := errors.AsType[*frame.Error](err)
	if !ok {
		broken = &frame.Error{Code: uint16(StatusProtocolError), Detail: err.Error()}
	}
	code := StatusCode(broken.Code)
	if code == StatusMessageTooBig {
		w.s.fail(code, broken.Detail, fmt.Errorf("%w: %s (see Options.MaxMessageSize)", ErrMessageTooBig, broken.Detail))
		return
	}
	w.s.fail(code, broken.Detail, &ProtocolError{code, broken.Section, broken.Detail})
}

// control deals with a control frame. It reports whether to go on reading. more says whether other frames are
// waiting behind it.
func (w *wire) control(p frame.Piece, more bool) bool {
	switch p.Opcode {
	case frame.Ping:
		w.pong(p.Payload, more)
	case frame.Pong:
		w.ponged(p.Payload)
	case frame.Close:
		w.closed(p.Payload)
		return false
	}
	return true
}

// pong answers a ping, unless we have said Close: after that nothing but silence is expected.
func (w *wire) pong(payload []byte, more bool) {
	w.s.mu.Lock()
	w.corkLocked(more)
	if !w.s.is(sentClose) {
		w.out.addControl(w.header(frame.Pong), payload)
	}
	w.s.mu.Unlock()
	w.transmit()
}

func (w *wire) ponged(payload []byte) {
	if len(payload) != 8 {
		return
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if id := binary.BigEndian.Uint64(payload); id <= w.s.pings.last {
		w.s.pings.pong(id)
	}
}

// closed takes the peer's Close and answers it with the same code and reason. The decoder has checked it.
func (w *wire) closed(payload []byte) {
	code, reason, _ := frame.ParseClose(payload)
	c := closeFrame{StatusCode(code), string(reason)}
	if c.code == StatusNoStatusRcvd {
		c.code = 0
	}
	w.s.mu.Lock()
	if w.s.closedLocked(c) {
		w.closeLocked(c)
	}
	w.out.corked = false
	w.s.mu.Unlock()
	w.transmit()
}

// data deals with a piece of a message. more says whether other frames are waiting behind it.
func (w *wire) data(p frame.Piece, more bool) bool {
	if p.First {
		w.kind, w.deflated, w.streamed = kindOf(p.Opcode), p.RSV1, false
		if p.Last && !p.RSV1 {
			return w.complete(p.Payload, nil, more)
		}
	}
	if w.message == nil {
		w.message = newBuffer(len(p.Payload))
	}
	w.message = w.message.reserve(len(p.Payload))
	w.message.b = append(w.message.b, p.Payload...)
	return w.received(p.Last, more)
}

func kindOf(op frame.Opcode) Kind {
	if op == frame.Text {
		return Text
	}
	return Binary
}

// received goes on after another piece has been added to w.message.
func (w *wire) received(last, more bool) bool {
	if !last {
		if len(w.message.b) > inboxLimit && !w.deflated {
			return w.stream()
		}
		return true
	}
	whole := w.message
	w.message = nil
	if w.deflated {
		var err error
		if whole, err = w.inflate(whole); err != nil {
			return false
		}
	}
	return w.complete(whole.b, whole, more)
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

func (w *wire) bufferedLocked() (payload, size int) { return w.out.payload, w.out.size }

// failLocked makes the reader look up. If its connection does not know deadlines, tick will cut it.
func (w *wire) failLocked() {
	if w.s.is(lost) {
		w.conn.Interrupt()
		w.armLocked(lastWords)
	}
}
