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

// NextReader waits for the next message and returns its kind and a reader of its data, for messages that are
// large or of no known size: it can be read while it is still arriving, and the peer is made to wait while
// nobody reads. A compressed message is inflated whole, when it is asked for, before it can be read. MaxMessageSize applies.
//
// The reader returns io.EOF at the end of the message. It is good until the next call of a method that
// receives, which skips what is left of the message. ctx governs the reader as well: once it is cancelled, Read
// returns ctx.Err(), and the socket stays usable. Everything else is as with Receive.
func (s *Socket) NextReader(ctx context.Context) (Kind, io.Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.beginReceiveLocked(ctx); err != nil {
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
	callSeq uint64 // the receive call that it belongs to
	rest    []byte // of the piece that the inbox has lent
	last    bool
}

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

// maxCopied is how many bytes are copied under the mutex at most.
const maxCopied = 64 << 10

// copyRest copies what is left of the piece. It does so under mu, so that another receive, also one of another goroutine, cannot give
// the bytes back meanwhile.
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

// NextWriter starts a message of unknown size and returns its writer: each Write sends a fragment, Close ends
// the message. Nothing of it is kept, so that a message of any size can be sent; Write waits while the queue is
// full. Text must be valid UTF-8 as a whole, a Write may end in the middle of a character: those bytes, three at
// the most, leave with the next Write, since some peers refuse a fragment that ends there.
//
// Whether the message is compressed is decided by its first fragment, at most 32 KiB, as if that were the whole: it has to
// have Compression.Threshold bytes, and Compression.Choose gets it. Write small pieces through a [bufio.Writer].
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
	if err := s.write(ctx, outgoing{kind: kind, claims: true, wait: true}); err != nil {
		return nil, err
	}
	return &messageWriter{s: s, ctx: ctx, kind: kind}, nil
}

// messageWriter sends one message fragment by fragment. Others wait from when it was made, not only from its first fragment on.
type messageWriter struct {
	s      *Socket
	ctx    context.Context
	kind   Kind
	text   frame.UTF8
	held   []byte // the beginning of a character, which waits for its end
	begun  bool   // the first fragment is sent
	closed bool
}

// writerChunk is the largest fragment, but for a character that it completes: what can be waited for at a time.
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
		if err := w.take(chunk); err != nil {
			return written, err
		}
		w.text = text
		written += len(chunk)
	}
	return written, nil
}

// take sends chunk, behind what is held back, except for the beginning of a character at its end.
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

// send sends a fragment that is not the last.
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

// unfinished returns how many bytes at the end of text are the beginning of a character. text is valid but for its ends.
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
	m := outgoing{kind: w.kind, first: !w.begun, last: true, stream: true, force: true}
	if m.first {
		w.s.chooseStream(w.kind, nil)
	}
	return w.s.send(m)
}
