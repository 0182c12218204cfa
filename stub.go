package edgews

import (
	"bufio"
	"errors"
	"net"
	"net/http"
)

// Stub is the way to one object from outside. It costs nothing and may be kept, or made again each time.
type Stub struct {
	n  *Namespace
	id ID
}

// ID returns the ID of the object.
func (s *Stub) ID() ID { return s.id }

// ErrReentrant: an event of an object waits for another event of the same object, which cannot begin before it ends.
var ErrReentrant = errors.New("edgews: an event of an object cannot wait for another event of the same object")

// ServeHTTP has the object answer r, as an event of its own: it waits for its turn, and constructs the object if it is
// not in memory. Two requests that race to a sleeping object construct it once. When the client goes away before its
// turn has come, the object does not hear of it.
//
// The context that the handler finds in r is r's own, and also tells Upgrade, Respond and Dial to which object a socket
// belongs: a socket that the handler accepts with Accept, or by receiving from it, keeps the object awake until it
// ends. One given to State.AcceptWebSocket does not.
//
// An object that cannot be constructed or that panics is answered with 500, one that calls itself with 508, and
// everything after Shutdown with 503, upgrades from its beginning. A panic with http.ErrAbortHandler, or after
// the answer has begun, cuts the connection as net/http does.
func (s *Stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.n.closing.refuses(r) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the server is shutting down", http.StatusServiceUnavailable)
		return
	}
	rw := &responseWriter{ResponseWriter: w}
	err := s.n.do(r.Context(), s.id, func(e *eventContext, value Object) error {
		value.ServeHTTP(rw, r.WithContext(e))
		return nil
	})
	if err != nil && r.Context().Err() == nil {
		rw.fail(err)
	}
}

// fail answers a request that no handler has answered.
func (w *responseWriter) fail(err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, ErrReentrant):
		status = http.StatusLoopDetected
	case errors.Is(err, ErrFenced):
		status = http.StatusServiceUnavailable
	}
	if w.began || errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	http.Error(w, http.StatusText(status), status)
}

// responseWriter notices whether there is still an answer to be given.
type responseWriter struct {
	http.ResponseWriter
	began bool
}

// Unwrap is for http.ResponseController.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *responseWriter) WriteHeader(status int) {
	w.began = w.began || status >= 200 || status == http.StatusSwitchingProtocols
	w.ResponseWriter.WriteHeader(status)
}

func (w *responseWriter) Write(p []byte) (int, error) {
	w.began = true
	return w.ResponseWriter.Write(p)
}

// Flush is http.Flusher, for handlers that do not know http.ResponseController.
func (w *responseWriter) Flush() {
	w.began = true
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack is http.Hijacker.
func (w *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.began = w.began || err == nil
	return conn, rw, err
}
