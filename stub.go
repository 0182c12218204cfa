package edgews

import (
	"bufio"
	"cmp"
	"errors"
	"net"
	"net/http"
)

// Stub is the way to one object from outside. It costs nothing and may be kept, or made again each time.
type Stub struct {
	n   *Namespace
	id  ID
	err error // why there is no such object
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
// everything after Shutdown with 503, upgrades from its beginning. When as many wait for the object as
// NamespaceOptions.MaxWaiting lets, the answer is 503 as well. Who has used up a quota gets 429 (Meter.SetQuota). A stub with
// an ID of another namespace, or the zero ID, answers 500 and says so: check IDs that come from clients with ParseID. A panic
// with http.ErrAbortHandler, or after the answer has begun, cuts the connection as net/http does.
func (s *Stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.n.closing.refuses(r) {
		closeUpgradeAfter(w, r)
		w.Header().Set("Retry-After", "1")
		http.Error(w, shutdownDetail, http.StatusServiceUnavailable)
		return
	}
	if s.err != nil {
		s.n.logger().Warn("edgews: request for an object that there cannot be", "namespace", s.n.name, "object", s.id.String(), "error", s.err)
		http.Error(w, s.err.Error(), http.StatusInternalServerError)
		return
	}
	pass, err := s.n.admit(s.id, r)
	if err != nil {
		closeUpgradeAfter(w, r)
		tooMany(w)
		return
	}
	rw := &responseWriter{ResponseWriter: w, pass: pass}
	defer rw.pass.unused()
	err = s.n.do(r.Context(), s.id, "ServeHTTP", func(e *eventContext, value Object) error {
		e.o.beginServing()
		defer e.o.endServing()
		value.ServeHTTP(rw, r.WithContext(e))
		return nil
	})
	if reached(err, r) && !rw.switched {
		s.n.object(s.id).account(FactRequest, Usage{HTTPRequests: 1})
		rw.pass.used()
	}
	if err != nil && r.Context().Err() == nil {
		closeUpgradeAfter(w, r)
		rw.fail(err)
	}
}

// closeUpgradeAfter is closeAfter for a request that may be any.
func closeUpgradeAfter(w http.ResponseWriter, r *http.Request) {
	if IsUpgrade(r) {
		closeAfter(w, r)
	}
}

// admit asks the quota of whoever pays for the object.
func (n *Namespace) admit(id ID, r *http.Request) (pass, error) {
	switch {
	case n.opts.Meter == nil || n.opts.Meter.books.quotas.Load() == 0:
		return pass{}, nil
	case IsUpgrade(r):
		return n.payer(id).admit(Usage{Connections: 1})
	}
	return n.payer(id).admit(Usage{HTTPRequests: 1})
}

// reached reports whether a request has come to its object, which may have failed with err.
func reached(err error, r *http.Request) bool {
	switch {
	case err == nil:
		return true
	case errors.Is(err, ErrReentrant), errors.Is(err, ErrShutdown), errors.Is(err, ErrFenced), errors.Is(err, ErrOverloaded):
		return false
	}
	return err != r.Context().Err()
}

// fail answers a request that no handler has answered.
func (w *responseWriter) fail(err error) {
	status := http.StatusInternalServerError
	text := ""
	switch {
	case errors.Is(err, ErrOverloaded):
		status, text = http.StatusServiceUnavailable, err.Error()
	case errors.Is(err, ErrReentrant):
		status = http.StatusLoopDetected
	case errors.Is(err, ErrFenced), errors.Is(err, ErrShutdown):
		status = http.StatusServiceUnavailable
	}
	if w.began || errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	http.Error(w, cmp.Or(text, http.StatusText(status)), status)
}

// responseWriter notices whether there is still an answer to be given.
type responseWriter struct {
	http.ResponseWriter
	began    bool
	switched bool // it has become a socket, or something else that is not HTTP
	pass     pass
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
	if err == nil {
		w.began, w.switched = true, true
		w.pass.used() // the handler may go on for as long as the socket is open
	}
	return conn, rw, err
}
