package edgews

import (
	"context"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/edgews/edgews/internal/buf"
	"github.com/edgews/edgews/internal/frame"
)

// NextReader waits for the next message and returns its kind and a reader of its data. It is for messages that are
// large or of unknown size: the message can be read while it is still arriving, and the peer has to wait while the program does
// not read. A compressed message is inflated as a whole, when NextReader asks for it. MaxMessageSize applies.
//
// The reader returns io.EOF at the end of the message. It is valid until the next call of a receive method, which
// skips the rest of the message. It must be used by one goroutine at a time. ctx applies to the reader too: once it is cancelled,
// Read returns ctx.Err(), and the socket stays usable. Otherwise NextReader is like Receive.
func (s *Socket) NextReader(ctx context.Context) (Kind, io.Reader, error) {
	over := ctx.Err() // without mu: it is the program's code
	s.mu.Lock()
	defer s.tellAndUnlock()
	if err := s.beginReceiveLocked(over); err != nil {
		return 0, nil, err
	}
	defer s.endReceiveLocked()
	if err := s.awaitArrivalLocked(ctx, wantPiece); err != nil {
		return 0, nil, err
	}
	r := &messageReader{s: s, ctx: ctx, callSeq: s.in.callSeq}
	kind := s.in.queue.Front().kind
	r.pieceLocked()
	return kind, r, nil
}

// messageReader reads one message piece by piece.
type messageReader struct {
	s       *Socket
	ctx     context.Context
	callSeq uint64 // the call of NextReader that made it
	rest    []byte // the unread bytes of the current piece, which is in inbox.lentBuffer
	last    bool   // the current piece is the last
}

// errStaleReader is returned by a reader after a later call of a receive method.
var errStaleReader = errors.New("edgews: reader used after another receive on its socket")

// pieceLocked takes the next piece from the inbox. mu must be held.
func (r *messageReader) pieceLocked() {
	it := r.s.popPieceLocked()
	r.s.in.lentBuffer.Free()
	r.s.in.lentBuffer = it.buf
	r.rest, r.last = it.buf.B, it.last
}

func (r *messageReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	for len(r.rest) == 0 {
		if r.last {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	return r.copyRest(p[:min(len(p), maxCopied)])
}

// maxCopied is the largest number of bytes that Read copies while it holds the mutex.
const maxCopied = 64 << 10

// copyRest copies unread bytes of the current piece to p. It holds mu, so that a receive call of another goroutine cannot free the
// bytes meanwhile.
func (r *messageReader) copyRest(p []byte) (int, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.s.in.callSeq != r.callSeq {
		return 0, errStaleReader
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// next waits for the next piece of the message.
func (r *messageReader) next() error {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.in.callSeq != r.callSeq:
		return errStaleReader
	case s.in.receiving:
		return ErrReceiving
	}
	s.in.receiving = true
	defer s.endReceiveLocked()
	if err := s.awaitArrivalLocked(r.ctx, wantRest); err != nil {
		return err
	}
	r.pieceLocked()
	return nil
}

// NextWriter starts a message of unknown size and returns its writer. Each Write sends one or more fragments, of at most about
// 32 KiB each, and Close ends the message (RFC 6455 §5.4). Write waits while the queue is full, so that a message of any size needs
// little memory. Text must be valid UTF-8 as a whole. A Write may end in the middle of a character: the bytes of that
// character, three at most, are sent with the next Write, since some peers reject a fragment that splits a character.
//
// The first fragment decides whether the message is compressed, as if it were the whole message: it must have at least
// Compression.Threshold bytes, and Compression.Choose gets it. Write small pieces through a [bufio.Writer].
//
// Until Close, other NextWriters and Writes on the same socket wait, and messages from Send are queued after this
// one. The writer must be closed: without Close the socket cannot send any other message. Closing the socket before the writer
// cuts the message off and drops what is queued after it. Cancelling ctx fails a waiting Write with
// ctx.Err(); the fragments that it has sent before stay sent. The writer must be used by one goroutine at a time.
//
// On a socket that has not been accepted, NextWriter accepts it, as Receive does.
func (s *Socket) NextWriter(ctx context.Context, kind Kind) (io.WriteCloser, error) {
	if kind != Text && kind != Binary {
		return nil, fmt.Errorf("edgews: cannot write a message of kind %d; use Text or Binary", kind)
	}
	if err := s.write(ctx, outgoing{kind: kind, claims: true, wait: true}); err != nil {
		return nil, err
	}
	return &messageWriter{s: s, ctx: ctx, kind: kind}, nil
}

// messageWriter sends one message fragment by fragment. Other messages wait from the time it is made, even before its first fragment.
type messageWriter struct {
	s      *Socket
	ctx    context.Context
	kind   Kind
	text   frame.UTF8 // the state of the UTF-8 check after what has been written
	held   []byte     // the first bytes of a character whose rest has not been written
	begun  bool       // the first fragment has been sent
	closed bool
}

// writerChunk is the largest fragment in bytes, without the first bytes of a character that it completes. Write waits for room for
// one fragment at a time.
const writerChunk = 32 << 10

func (w *messageWriter) Write(p []byte) (int, error) {
	if w.closed {
		return 0, fmt.Errorf("%w: the message has been ended", ErrClosed)
	}
	written := 0
	for written < len(p) {
		chunk := p[written:min(len(p), written+writerChunk)]
		text := w.text // stored only when the chunk has been sent
		if w.kind == Text && !text.Write(chunk) {
			return written, ErrInvalidUTF8
		}
		if err := w.take(chunk); err != nil {
			return written, err
		}
		w.text = text
		written += len(chunk)
	}
	return written, nil
}

// take sends held and chunk, except for the first bytes of a character at the end of chunk, which it keeps in held.
func (w *messageWriter) take(chunk []byte) error {
	if len(w.held) > 0 {
		joined := buf.Get(len(w.held) + len(chunk))
		defer joined.Free()
		joined.B = append(append(joined.B, w.held...), chunk...)
		chunk = joined.B
	}
	whole := len(chunk)
	if w.kind == Text {
		whole -= unfinished(chunk)
	}
	if whole > 0 {
		if err := w.send(chunk[:whole]); err != nil {
			return err
		}
	}
	w.held = append(w.held[:0], chunk[whole:]...)
	return nil
}

// send sends a fragment other than the last.
func (w *messageWriter) send(fragment []byte) error {
	m := outgoing{kind: w.kind, data: fragment, first: !w.begun, stream: true, wait: true}
	if m.first {
		w.s.chooseStream(w.kind, fragment)
	}
	if err := w.s.write(w.ctx, m); err != nil {
		return err
	}
	w.begun = true
	return nil
}

// unfinished returns how many bytes at the end of text belong to a character whose rest is missing. text is valid UTF-8, except that
// characters may be cut off at its ends.
func unfinished(text []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if last := text[len(text)-n:]; utf8.RuneStart(last[0]) {
			if utf8.FullRune(last) {
				return 0
			}
			return n
		}
	}
	return 0
}

// Close ends the message. Text that ends in the middle of a character is an error and closes the socket with
// 1007, because what has been sent cannot be withdrawn.
func (w *messageWriter) Close() error {
	if w.closed {
		return nil
	}
	w.closed = true
	if w.kind == Text && !w.text.Done() {
		_ = w.s.Close(StatusInvalidFramePayloadData, "text ends in the middle of a character")
		return ErrInvalidUTF8
	}
	m := outgoing{kind: w.kind, first: !w.begun, last: true, stream: true, force: true}
	if m.first {
		w.s.chooseStream(w.kind, nil)
	}
	return w.s.send(m)
}
