package edgews

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/edgews/edgews/internal/handshake"
)

// Stub reaches one object from outside. It costs nothing, and may be kept or made anew for each use. Its methods may be called from any
// goroutine.
type Stub struct {
	n   *Namespace
	id  ID
	err error // why there is no such object; nil: there may be one
}

// ID returns the ID of the object.
func (s *Stub) ID() ID { return s.id }

// ErrReentrant: an event of an object would wait for another event of the same object, which cannot begin before it ends.
var ErrReentrant = errors.New("edgews: an event of an object cannot wait for another event of the same object")

// ServeHTTP has the object answer r, as an event of its own: the request waits until the object is free, and constructs the object if it is
// not in memory. Two requests that arrive at the same time construct it once. If the client disconnects before the event has begun, the
// object does not get the request.
//
// The context of the request that the handler gets is derived from r's. It also tells Upgrade, Respond and Dial to which object a socket
// belongs: a socket that the handler accepts with Accept, or by receiving from it, keeps the object awake until the socket ends. One that
// it gives to State.AcceptWebSocket does not.
//
// Over HTTP/2, ServeHTTP returns when the socket that the handler has opened has ended, unless edgewsh2.Handler waits for that. The object
// does not wait.
//
// The answer is 500 if the object cannot be constructed or panics, and for the stub of the zero ID or of an ID of another namespace, which
// says so: check IDs that come from clients with ParseID. It is 508 if the object calls itself; 503 after Shutdown, for upgrades as soon as
// Shutdown has begun, and if NamespaceOptions.MaxWaiting requests and calls wait for the object, or MaxSockets sockets are open; and 429 if a
// quota is used up (Meter.SetQuota), or MaxPerKey sockets of the client's key are open. A panic with http.ErrAbortHandler, or after the answer
// has begun, cuts the connection, as in net/http.
func (s *Stub) ServeHTTP(w http.ResponseWriter, r *http.Request) { _ = s.serve(w, r) }

// serve is ServeHTTP. It returns why no handler has answered r, or what has ended the handler.
func (s *Stub) serve(w http.ResponseWriter, r *http.Request) error {
	if s.n.shutdown.refuses(r) {
		s.n.tellRefusal(r, http.StatusServiceUnavailable, ErrShutdown)
		closeAfterUpgradeRequest(w, r)
		w.Header().Set("Retry-After", "1")
		http.Error(w, shutdownDetail, http.StatusServiceUnavailable)
		return ErrShutdown
	}
	if c := s.n.opts.Cluster; c != nil && s.err == nil {
		kept, returned := keepStream(r)
		defer returned()
		c.ServeHTTP(ObjectKey{s.n.name, s.id}, w, kept)
		return nil
	}
	return s.serveHere(w, r)
}

// serveHere is serve on the object's home.
func (s *Stub) serveHere(w http.ResponseWriter, r *http.Request) error {
	if s.err != nil {
		s.n.logger().Warn("edgews: request for an object that there cannot be", "namespace", s.n.name, "object", s.id.String(), "error", s.err)
		http.Error(w, s.err.Error(), http.StatusInternalServerError)
		return s.err
	}
	offered, r, refused := s.n.offerPlace(r)
	if refused != nil {
		s.n.opts.tellRefusal(r, refused)
		return refuse(w, r, refused)
	}
	defer offered.withdraw()
	admitted, err := s.n.admit(s.id, r)
	if err != nil {
		s.n.tellRefusal(r, http.StatusTooManyRequests, err)
		closeAfterUpgradeRequest(w, r)
		answerQuotaExceeded(w)
		return err
	}
	rw := &responseWriter{ResponseWriter: w, pass: admitted}
	defer rw.pass.release()
	if handshake.IsExtendedConnect(r) {
		kept, keeper := handshake.WithKeeper(r, rw.noteSwitched)
		defer keeper.Return()
		r = kept
	}
	var begun atomic.Bool
	err = s.n.do(r.Context(), s.id, "ServeHTTP", func(e *eventContext, value Object) error {
		begun.Store(true)
		e.o.beginRequest()
		defer e.o.endRequest()
		value.ServeHTTP(rw, r.WithContext(e))
		return nil
	})
	err = withoutNotHome(err, &begun)
	if reachedObject(r.Context(), err) && !rw.switched {
		s.n.objectFor(s.id).bookFact(FactRequest, Usage{HTTPRequests: 1})
		rw.pass.release()
	}
	if err != nil && r.Context().Err() == nil && !errors.Is(err, ErrNotHome) {
		if errors.Is(err, ErrReentrant) { // the answer does not tell the client which objects there are
			s.n.logger().Warn("edgews: request would wait for itself", "namespace", s.n.name, "object", s.id.String(), "error", err)
		}
		closeAfterUpgradeRequest(w, r)
		if errors.Is(err, ErrOverloaded) || errors.Is(err, ErrShutdown) && !rw.began {
			s.n.tellRefusal(r, http.StatusServiceUnavailable, err)
		}
		rw.writeError(err)
	}
	return err
}

// offerPlace reserves a place for the connection of r, if r is a request to upgrade and the namespace has limits. It returns the request with
// which the handler finds the place, or why r has to be refused: before it wakes the object. If another object of the namespace passes r on,
// which has a place already, that one is for the handler.
func (n *Namespace) offerPlace(r *http.Request) (*place, *http.Request, *HandshakeError) {
	if n.roster == nil || !IsUpgrade(r) || n.roster.isOfferedTo(r.Context()) {
		return nil, r, nil
	}
	p, refused := n.roster.reserve(r)
	if refused != nil {
		return nil, r, refused
	}
	return p, r.WithContext(context.WithValue(r.Context(), placeContextKey{}, p)), nil
}

// closeAfterUpgradeRequest is closeAfter if r is a request to upgrade.
func closeAfterUpgradeRequest(w http.ResponseWriter, r *http.Request) {
	if IsUpgrade(r) {
		closeAfter(w, r)
	}
}

// admit asks the quotas of the meter that pays for the object.
func (n *Namespace) admit(id ID, r *http.Request) (quotaPass, error) {
	if IsUpgrade(r) {
		return n.admitUsage(id, Usage{Connections: 1})
	}
	return n.admitUsage(id, Usage{HTTPRequests: 1})
}

// admitUsage asks the quotas of the meter that pays for the object for u.
func (n *Namespace) admitUsage(id ID, u Usage) (quotaPass, error) {
	if n.opts.Meter == nil || n.opts.Meter.accounting.quotaCount.Load() == 0 {
		return quotaPass{}, nil
	}
	return n.meterFor(id).admit(u)
}

// reachedObject reports whether an event of the object has handled a request with the context ctx, which may have failed with err.
func reachedObject(ctx context.Context, err error) bool {
	switch {
	case err == nil:
		return true
	case errors.Is(err, ErrReentrant), errors.Is(err, ErrShutdown), errors.Is(err, ErrFenced), errors.Is(err, ErrOverloaded), errors.Is(err, ErrNotHome):
		return false
	}
	return err != ctx.Err()
}

// writeError answers a request whose event has failed with err.
func (w *responseWriter) writeError(err error) {
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
	if w.switched {
		return // the connection is not net/http's any more
	}
	if w.began || errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	http.Error(w, cmp.Or(text, http.StatusText(status)), status)
}

// responseWriter notes whether the handler has begun to answer.
type responseWriter struct {
	http.ResponseWriter
	began    bool // the answer has begun
	switched bool // the connection was hijacked, or its stream taken
	pass     quotaPass
}

// Unwrap is for http.ResponseController.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *responseWriter) WriteHeader(status int) {
	if w.switched {
		return
	}
	w.began = w.began || status >= 200 || status == http.StatusSwitchingProtocols
	w.ResponseWriter.WriteHeader(status)
}

func (w *responseWriter) Write(p []byte) (int, error) {
	if w.switched { // over HTTP/2 net/http would write it into the stream
		return 0, http.ErrHijacked
	}
	w.began = true
	return w.ResponseWriter.Write(p)
}

// Flush is http.Flusher, for handlers that do not know http.ResponseController.
func (w *responseWriter) Flush() {
	if w.switched { // over HTTP/2 the socket's goroutines use the ResponseWriter
		return
	}
	w.began = true
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack is http.Hijacker.
func (w *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.noteSwitched()
	}
	return conn, rw, err
}

// noteSwitched says that the connection, or the stream, is a WebSocket from now on.
func (w *responseWriter) noteSwitched() {
	w.began, w.switched = true, true
	w.pass.release() // the handler may go on for as long as the socket is open
}

// DetachConn is handshake.Detacher.
func (w *responseWriter) DetachConn() (net.Conn, []byte, error) {
	conn, buffered, err := handshake.Detach(w.ResponseWriter)
	if err == nil {
		w.noteSwitched()
	}
	return conn, buffered, err
}
