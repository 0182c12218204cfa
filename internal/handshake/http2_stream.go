package handshake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// Stream is a stream of net/http's HTTP/2 server as a connection, for a request that was answered with 200.
//
// net/http takes the ResponseWriter back when the handler returns, and nothing may use it then. A [Keeper] therefore returns only when the
// stream has ended and is not being written. Without one, the stream ends when the handler returns, and the handler must not return before
// Release has been called.
//
// The deadlines of net/http are final: they end the stream. Stream has write deadlines of its own, which only end the wait. It has no read
// deadlines.
type Stream struct {
	body          io.ReadCloser
	w             http.ResponseWriter // the innermost; used only by goroutines that users counts
	ctx           context.Context     // of the request: done when the stream has been reset, or the handler has returned
	local, remote net.Addr
	kept          bool // a Keeper waits for the end

	finished      chan struct{}  // closed when no more writes begin
	users         sync.WaitGroup // goroutines that use w; Add is called with mu locked, and from zero only before finished is closed
	writeDeadline deadline

	mu sync.Mutex
	// Guarded by mu.
	sending  chan struct{} // closed when the write that is under way has ended; nil: none
	err      error         // why a write has failed
	over     bool          // finished is closed
	closed   bool          // Close was called
	late     bool          // the write under way has missed a deadline
	onReturn func()        // see OnReturn; nil: none
}

// sendChunk is the number of bytes of one write. They are copied, because net/http may still read them after a write has failed.
const sendChunk = 16 << 10

var sendChunks = sync.Pool{New: func() any { return new([sendChunk]byte) }}

// tryPatience is how long TryWrite waits. A write of net/http returns when the frame is on its way, usually within 0.1 ms, so that the
// handler that causes it may return afterwards.
const tryPatience = 2 * time.Millisecond

// TakeStream answers r, an extended CONNECT that CheckRequest has let pass, with 200 and the headers of resp, and returns its stream. The
// response goes past all wrappers of w that have an Unwrap method, as one to a hijacked connection does: a wrapper that compresses would
// break the stream.
func TakeStream(w http.ResponseWriter, r *http.Request, resp *Response) (*Stream, *Refusal) {
	inner := innermost(w)
	if !canFlush(inner) {
		return nil, notHijackable(inner)
	}
	s := &Stream{body: r.Body, w: inner, ctx: r.Context(), remote: parseAddr(r.RemoteAddr), finished: make(chan struct{})}
	k := keeperOf(r.Context())
	if k != nil {
		s.body, s.ctx, s.remote, s.kept = k.body, k.ctx, parseAddr(k.remote), true
	}
	s.local, _ = s.ctx.Value(http.LocalAddrContextKey).(net.Addr)
	if s.local == nil {
		s.local = parseAddr("")
	}
	if s.kept && !k.take(s) {
		return nil, &Refusal{Detail: "the request's handler has returned already"}
	}
	rc := http.NewResponseController(inner)
	// Server.ReadTimeout and WriteTimeout may have set deadlines, which would end the stream. A ResponseWriter without deadlines has none.
	_, _ = rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{})
	resp.writeTo(inner.Header())
	inner.WriteHeader(http.StatusOK)
	if err := rc.Flush(); err != nil {
		s.Close()
		return nil, &Refusal{Detail: "the answer could not be written", Err: err}
	}
	if !s.kept {
		context.AfterFunc(s.ctx, func() { s.CloseWrite() })
	}
	return s, nil
}

func canFlush(w http.ResponseWriter) bool {
	switch w.(type) {
	case http.Flusher, interface{ FlushError() error }:
		return true
	}
	return false
}

// Read reads from the stream. If the peer has reset the stream, the error says so. After the end by this side, the error is net.ErrClosed.
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	reset, isReset := errors.AsType[streamError](err)
	switch {
	case endedByReturn(err, reset, isReset):
		if onReturn := s.takeOnReturn(); onReturn != nil {
			onReturn()
		}
		err = fmt.Errorf("%w: %w", net.ErrClosed, err)
	case isReset:
		err = fmt.Errorf("the stream was reset with %v: %w", reset.Code, err)
	}
	return n, err
}

// endedByReturn reports whether err, an error of the body, comes from the return of the handler. net/http does not export its error for that,
// and it resets a stream that the client has not ended with NO_ERROR, which a client has no reason to use.
func endedByReturn(err error, reset streamError, isReset bool) bool {
	return isReset && reset.Code == noError || strings.Contains(err.Error(), "handler exiting")
}

func (s *Stream) takeOnReturn() (f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, s.onReturn = s.onReturn, nil
	return f
}

// OnReturn makes Read call f if the stream has ended because its handler has returned.
func (s *Stream) OnReturn(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onReturn = f
}

// streamError has the fields of the StreamError of package http2, which net/http's errors convert themselves to.
type streamError struct {
	StreamID uint32
	Code     errorCode
	Cause    error
}

func (e streamError) Error() string { return fmt.Sprintf("stream %d: %v", e.StreamID, e.Code) }

// errorCode is an error code of HTTP/2 (RFC 9113 §7).
type errorCode uint32

const noError errorCode = 0

func (c errorCode) String() string {
	switch c {
	case noError:
		return "NO_ERROR"
	case 2:
		return "INTERNAL_ERROR"
	case 7:
		return "REFUSED_STREAM"
	case 8:
		return "CANCEL"
	}
	return fmt.Sprintf("error code %#x", uint32(c))
}

// Write writes p. If the write deadline passes, the bytes of the last chunk may still be sent, although they are not counted in n.
func (s *Stream) Write(p []byte) (n int, err error) {
	for n < len(p) {
		chunk := p[n:min(len(p), n+sendChunk)]
		sent, err := s.begin(chunk, s.writeDeadline.passed())
		if err != nil {
			s.noteLate(err)
			return n, err
		}
		if err := s.await(sent, s.writeDeadline.passed()); err != nil {
			s.noteLate(err)
			return n, err
		}
		n += len(chunk)
	}
	return n, nil
}

// noteLate notes that a write has missed its deadline, if err says so.
func (s *Stream) noteLate(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late = s.late || err == os.ErrDeadlineExceeded
}

// TryWrite writes as much of p as the stream takes at once. The stream takes up to sendChunk bytes while nothing else is being written.
func (s *Stream) TryWrite(p []byte) (n int, err error) {
	var patience deadline
	patience.set(time.Now().Add(tryPatience))
	defer patience.set(time.Time{})
	for n < len(p) {
		chunk := p[n:min(len(p), n+sendChunk)]
		sent, err := s.begin(chunk, patience.passed())
		switch {
		case err == os.ErrDeadlineExceeded:
			return n, nil
		case err != nil:
			return n, err
		}
		n += len(chunk)
		if err := s.await(sent, patience.passed()); err != nil && err != os.ErrDeadlineExceeded {
			return n, err
		}
	}
	return n, nil
}

// begin starts to write a chunk, after the write that is under way. sent is closed when it has ended. begin waits until late is closed.
func (s *Stream) begin(chunk []byte, late <-chan struct{}) (sent <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.sending != nil && s.err == nil && !s.over {
		under := s.sending
		s.mu.Unlock()
		select {
		case <-under:
			s.mu.Lock()
		case <-late:
			s.mu.Lock()
			return nil, os.ErrDeadlineExceeded
		}
	}
	switch {
	case s.err != nil:
		return nil, s.err
	case s.over, s.ctx.Err() != nil:
		return nil, net.ErrClosed
	}
	buffer := sendChunks.Get().(*[sendChunk]byte)
	ended := make(chan struct{})
	s.sending = ended
	s.users.Add(1)
	go s.send(buffer, copy(buffer[:], chunk))
	return ended, nil
}

// await waits for the end of a write, or until late is closed.
func (s *Stream) await(sent, late <-chan struct{}) error {
	select {
	case <-sent:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.err
	case <-late:
		return os.ErrDeadlineExceeded
	}
}

// send writes n bytes of buffer. It returns when they are on their way: net/http waits for the flow control of HTTP/2.
func (s *Stream) send(buffer *[sendChunk]byte, n int) {
	err := s.writeNow(buffer[:n])
	if err == nil { // otherwise net/http may still be reading it
		sendChunks.Put(buffer)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	close(s.sending)
	s.sending = nil
	s.users.Done()
}

// writeNow uses the ResponseWriter, which panics if a handler without a Keeper has returned meanwhile.
func (s *Stream) writeNow(p []byte) (err error) {
	defer func() {
		if recover() != nil {
			err = net.ErrClosed
		}
	}()
	if _, err := s.w.Write(p); err != nil {
		return err
	}
	return http.NewResponseController(s.w).Flush()
}

// CloseWrite ends the stream after the write that is under way: net/http sends END_STREAM when the handler returns. The server's HTTP/2
// streams end in both directions then. Without a Keeper, it is up to the handler.
func (s *Stream) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishLocked()
	return nil
}

// Close ends the stream. If a write has missed its deadline, Close gives it up by resetting the stream. Otherwise TryWrite may have taken bytes
// that are still on their way, such as the answer to a Close frame behind which the client has ended its side: they have releasePatience.
func (s *Stream) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed, s.onReturn = true, nil
	if s.sending != nil {
		s.users.Add(1)
		go s.resetIfStuck(s.sending, s.late)
	}
	s.finishLocked()
	s.mu.Unlock()
	return s.body.Close()
}

// releasePatience is how long Release waits for the write that is under way, before it resets the stream.
const releasePatience = time.Second

// EndsWithHandler reports whether there is no Keeper, so that the stream ends when the handler returns.
func (s *Stream) EndsWithHandler() bool { return !s.kept }

// Release ends the use of the ResponseWriter, so that a handler without a Keeper may return: afterwards nothing more is written. If the peer
// takes nothing from the whole connection, Release waits for the end of the connection: net/http gives the buffers of a ResponseWriter to
// another stream when the handler has returned.
func (s *Stream) Release() {
	var patience deadline
	patience.set(time.Now().Add(releasePatience))
	s.mu.Lock()
	s.finishLocked()
	sending := s.sending
	s.mu.Unlock()
	if sending == nil {
		return
	}
	if err := s.await(sending, patience.passed()); err == os.ErrDeadlineExceeded {
		s.noteLate(err)
		s.Close()
		<-sending
	}
	patience.set(time.Time{})
}

// finishLocked lets no more writes begin. mu must be held.
func (s *Stream) finishLocked() {
	if !s.over {
		s.over = true
		close(s.finished)
	}
}

// resetIfStuck resets the stream if the write under way, which closes sent, is late, or does not end in time, because it waits for the flow
// control. Its caller has added it to users.
func (s *Stream) resetIfStuck(sent <-chan struct{}, late bool) {
	defer s.users.Done()
	var patience deadline
	patience.set(time.Now().Add(releasePatience))
	defer patience.set(time.Time{})
	if !late && s.await(sent, patience.passed()) != os.ErrDeadlineExceeded {
		return
	}
	defer func() { _ = recover() }() // a handler without a Keeper may have returned
	_ = http.NewResponseController(s.w).SetWriteDeadline(time.Unix(1, 0))
}

// LocalAddr returns the server's address, which all streams of the connection share.
func (s *Stream) LocalAddr() net.Addr { return s.local }

// RemoteAddr returns the client's address, which all streams of the connection share.
func (s *Stream) RemoteAddr() net.Addr { return s.remote }

// SetDeadline sets the write deadline. With a time other than zero it returns os.ErrNoDeadline, because there are no read deadlines.
func (s *Stream) SetDeadline(t time.Time) error {
	_ = s.SetWriteDeadline(t)
	return s.SetReadDeadline(t)
}

// SetReadDeadline returns os.ErrNoDeadline, unless t is zero.
func (s *Stream) SetReadDeadline(t time.Time) error {
	if t.IsZero() {
		return nil
	}
	return os.ErrNoDeadline
}

// SetWriteDeadline bounds the waits of Write, also of one that has begun. It can be extended after it has passed.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	s.writeDeadline.set(t)
	return nil
}

// parseAddr returns an address from its text, ip:port. Any other text is kept as it is.
func parseAddr(text string) net.Addr {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return net.TCPAddrFromAddrPort(ap)
	}
	return streamAddr(text)
}

// streamAddr is an address that is not that of a TCP connection.
type streamAddr string

func (streamAddr) Network() string  { return "http2" }
func (a streamAddr) String() string { return string(a) }

// deadline closes a channel at a time that may be changed. The zero deadline is not set.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer   // guarded by mu; nil: not set
	done  chan struct{} // closed by timer; guarded by mu
}

// set makes the channel of passed close at t, or never if t is zero.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		d.done = nil // it is closed, or about to be
	}
	d.timer = nil
	if t.IsZero() {
		return
	}
	if d.done == nil {
		d.done = make(chan struct{})
	}
	done := d.done
	d.timer = time.AfterFunc(time.Until(t), func() { close(done) })
}

// passed returns a channel that is closed when the deadline passes.
func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done == nil {
		d.done = make(chan struct{})
	}
	return d.done
}
