package edgews

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"path"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/edgews/edgews/internal/park"
)

// upgradeWriter is the http.ResponseWriter of an opening handshake that Serve has read. Upgrade takes the connection from it. For a
// handler that does something else, the connection and the head of the request are handed over to net/http, whose ResponseWriter then does
// what this one is asked to do.
type upgradeWriter struct {
	c        *servedConn
	r        *http.Request
	cancel   context.CancelFunc // ends the context of r
	head     string             // of the request
	buffered []byte             // what has arrived behind it

	header   http.Header
	begun    bool        // the answer has begun
	hijacked bool        // the handler has the connection
	conn     net.Conn    // what Hijack has returned; nil: Hijack was not called, or inner's was
	answer   *httpAnswer // nil: not handed over
	returned atomic.Bool // the handler has returned
}

// Header implements [http.ResponseWriter].
func (w *upgradeWriter) Header() http.Header {
	if w.header == nil {
		w.header = make(http.Header)
	}
	return w.header
}

// ResponseState implements handshake.ResponseState.
func (w *upgradeWriter) ResponseState() (begun, hijacked bool) { return w.begun, w.hijacked }

// DetachConn implements handshake.Detacher.
func (w *upgradeWriter) DetachConn() (net.Conn, []byte, error) {
	conn, err := w.detach()
	if err != nil {
		return nil, nil, err
	}
	return conn, w.buffered, nil
}

func (w *upgradeWriter) detach() (*park.DetachedConn, error) {
	switch {
	case w.answer != nil:
		return nil, http.ErrNotSupported
	case w.hijacked:
		return nil, http.ErrHijacked
	case w.returned.Load(), !w.c.giveUp(servedHandling):
		return nil, net.ErrClosed
	}
	w.hijacked = true
	w.c.server.endRequest(w.c)
	w.c.announce(http.StateHijacked)
	return w.c.conn.Detach(), nil
}

// Hijack implements [http.Hijacker].
func (w *upgradeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.answer != nil {
		conn, rw, err := w.controller().Hijack()
		w.hijacked = w.hijacked || err == nil
		return conn, rw, err
	}
	detached, err := w.detach()
	if err != nil {
		return nil, nil, err
	}
	conn, err := detached.TCPConn()
	if err != nil {
		return nil, nil, err
	}
	w.conn = conn
	if w.c.hooked != nil {
		w.c.hooked.setConn(conn)
	}
	in := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(w.buffered), conn), max(4<<10, len(w.buffered)))
	_, _ = in.Peek(len(w.buffered)) // so that Buffered counts them, as with net/http
	return conn, bufio.NewReadWriter(in, bufio.NewWriter(conn)), nil
}

// WriteHeader implements [http.ResponseWriter].
func (w *upgradeWriter) WriteHeader(status int) {
	if w.refusesCall("WriteHeader") {
		return
	}
	inner := w.inner()
	w.begun = w.begun || status >= 200 || status == http.StatusSwitchingProtocols
	inner.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *upgradeWriter) Write(p []byte) (int, error) {
	if w.refusesCall("Write") {
		return 0, http.ErrHijacked
	}
	inner := w.inner()
	w.begun = true
	return inner.Write(p)
}

// WriteString implements [io.StringWriter].
func (w *upgradeWriter) WriteString(s string) (int, error) {
	if w.refusesCall("Write") {
		return 0, http.ErrHijacked
	}
	inner := w.inner()
	w.begun = true
	return io.WriteString(inner, s)
}

// ReadFrom implements [io.ReaderFrom].
func (w *upgradeWriter) ReadFrom(src io.Reader) (int64, error) {
	if w.refusesCall("Write") {
		return 0, http.ErrHijacked
	}
	inner := w.inner()
	w.begun = true
	return io.Copy(inner, src)
}

// Flush implements [http.Flusher].
func (w *upgradeWriter) Flush() { _ = w.FlushError() }

// FlushError is Flush for [http.ResponseController].
func (w *upgradeWriter) FlushError() error {
	if w.refusesCall("Flush") {
		return http.ErrHijacked
	}
	controller := w.controller()
	w.begun = true
	return controller.Flush()
}

// SetReadDeadline is for [http.ResponseController].
func (w *upgradeWriter) SetReadDeadline(t time.Time) error {
	if w.conn != nil {
		return w.conn.SetReadDeadline(t)
	}
	return w.controller().SetReadDeadline(t)
}

// SetWriteDeadline is for [http.ResponseController].
func (w *upgradeWriter) SetWriteDeadline(t time.Time) error {
	if w.conn != nil {
		return w.conn.SetWriteDeadline(t)
	}
	return w.controller().SetWriteDeadline(t)
}

// EnableFullDuplex is for [http.ResponseController].
func (w *upgradeWriter) EnableFullDuplex() error {
	if w.conn != nil {
		return nil
	}
	return w.controller().EnableFullDuplex()
}

// CloseNotify implements http.CloseNotifier, which old programs use.
func (w *upgradeWriter) CloseNotify() <-chan bool {
	if notifier, ok := w.inner().(interface{ CloseNotify() <-chan bool }); ok {
		return notifier.CloseNotify()
	}
	return make(chan bool)
}

// refusesCall reports whether the handler has taken the connection, and logs the call of a method that needs it.
func (w *upgradeWriter) refusesCall(method string) bool {
	if !w.hijacked {
		return false
	}
	if pc, file, line, ok := runtime.Caller(2); ok {
		w.c.server.logf("http: response.%s on hijacked connection from %s (%s:%d)", method, runtime.FuncForPC(pc).Name(), path.Base(file), line)
	}
	return true
}

// controller is inner for what [http.ResponseController] does.
func (w *upgradeWriter) controller() *http.ResponseController {
	return http.NewResponseController(w.inner())
}

// inner returns net/http's ResponseWriter for this request, with the header as it is now. It hands the connection over first, unless that
// has been done.
func (w *upgradeWriter) inner() http.ResponseWriter {
	if w.answer == nil {
		w.answer = newHTTPAnswer(w.cancel)
		w.handOver(w.answer)
		w.answer.await()
		w.c.server.endRequest(w.c) // srv.Shutdown waits for rest too
	}
	return w.answer.writer(w.header)
}

// handOver hands the connection over to net/http, which gets the request again. answer is nil if net/http calls the handler.
func (w *upgradeWriter) handOver(answer *httpAnswer) {
	if !w.c.giveUp(servedHandling) {
		if answer != nil {
			answer.lose()
		}
		w.c.closeAfterHandler()
		return
	}
	w.c.server.handover.push(&handedOver{
		from: w.c, conn: w.c.conn.Detach(), answer: answer,
		replay: append([]byte(w.head), w.buffered...),
	})
}
