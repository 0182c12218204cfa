package edgews

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/edgews/edgews/internal/frame"
)

// NextReader waits for the next message and returns its kind and a reader of its data, for messages that are
// large or of no known size: it can be read while it is still arriving, and the peer is made to wait while
// nobody reads. A compressed message is inflated whole, when it is asked for, before it can be read. MaxMessageSize applies.
//
// The reader returns io.EOF at the end of the message. It is good until the next call of a method that
// receives, which skips what is left of the message. ctx governs the reader as well: once it is cancelled, Read
// returns ctx.Err(), and the socket stays usable. Everything else is as with Receive.
func (s *Socket) NextReader(ctx context.Context) (Kind, io.Reader, error) {
	if err := s.beginReceive(ctx); err != nil {
		return 0, nil, err
	}
	defer s.endReceive()
	if err := s.awaitArrival(ctx, wantPiece); err != nil {
		return 0, nil, err
	}
	r := &messageReader{s: s, ctx: ctx, turn: s.in.turn}
	kind := s.in.queue.front().kind
	r.pieceLocked()
	return kind, r, nil
}

// messageReader reads one message piece by piece.
type messageReader struct {
	s    *Socket
	ctx  context.Context
	turn uint64 // the receive call that it belongs to
	rest []byte // of the piece that the inbox has lent
	last bool
}

var errStaleReader = errors.New("edgews: reader used after another receive on its socket")

// pieceLocked takes the next piece from the inbox. mu must be held.
func (r *messageReader) pieceLocked() {
	it := r.s.popPieceLocked()
	r.s.in.lent.free()
	r.s.in.lent = it.buf
	r.rest, r.last = it.buf.b, it.last
}

func (r *messageReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.last {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	if r.stale() { // what is left has been given back
		return 0, errStaleReader
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *messageReader) stale() bool {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.s.in.turn != r.turn
}

func (r *messageReader) next() error {
	s := r.s
	s.mu.Lock()
	switch {
	case s.in.turn != r.turn:
		s.mu.Unlock()
		return errStaleReader
	case s.in.receiving:
		s.mu.Unlock()
		return ErrReceiving
	}
	s.in.receiving = true
	s.mu.Unlock()
	err := s.awaitArrival(r.ctx, wantRest)
	if err == nil {
		r.pieceLocked()
	}
	s.endReceive()
	return err
}

// NextWriter starts a message of unknown size and returns its writer: each Write sends a fragment, Close ends
// the message. Nothing of it is kept, so that a message of any size can be sent; Write waits while the queue is
// full. Text must be valid UTF-8 as a whole, a Write may end in the middle of a character.
//
// Until Close, other NextWriters and Writes on the same socket wait, and messages from Send are queued behind
// it. Close the writer: abandoning it leaves the socket unable to send messages, and closing the socket before
// it cuts the message off and drops what is queued behind it. Cancelling ctx fails a Write that waits with
// ctx.Err(), before any of its bytes is sent.
//
// The first call on a socket that is not accepted accepts it, as Receive does.
func (s *Socket) NextWriter(ctx context.Context, kind Kind) (io.WriteCloser, error) {
	if kind != Text && kind != Binary {
		return nil, fmt.Errorf("edgews: cannot write a message of kind %d; use Text or Binary", kind)
	}
	first := outgoing{kind: kind, first: true, stream: true, wait: true}
	if err := s.write(ctx, first); err != nil {
		return nil, err
	}
	return &messageWriter{s: s, ctx: ctx, kind: kind}, nil
}

// messageWriter sends one message fragment by fragment. Its first frame went out, empty, when it was made: that
// is what makes others wait.
type messageWriter struct {
	s      *Socket
	ctx    context.Context
	kind   Kind
	text   frame.UTF8
	closed bool
}

// writerChunk is the largest fragment: what can be waited for at a time.
const writerChunk = 32 << 10

func (w *messageWriter) Write(p []byte) (int, error) {
	if w.closed {
		return 0, fmt.Errorf("%w: the message has been ended", ErrClosed)
	}
	written := 0
	for written < len(p) {
		chunk := p[written:min(len(p), written+writerChunk)]
		text := w.text // counts only once the chunk is sent
		if w.kind == Text && !text.Write(chunk) {
			return written, ErrInvalidUTF8
		}
		if err := w.s.write(w.ctx, outgoing{kind: w.kind, data: chunk, stream: true, wait: true}); err != nil {
			return written, err
		}
		w.text = text
		written += len(chunk)
	}
	return written, nil
}

// Close ends the message. Text that stops in the middle of a character is an error, and closes the socket with
// 1007: what has been sent cannot be taken back.
func (w *messageWriter) Close() error {
	if w.closed {
		return nil
	}
	w.closed = true
	if w.kind == Text && !w.text.Done() {
		_ = w.s.Close(StatusInvalidFramePayloadData, "text ends in the middle of a character")
		return ErrInvalidUTF8
	}
	return w.s.send(outgoing{kind: w.kind, last: true, stream: true, force: true})
}
