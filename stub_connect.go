package edgews

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/edgews/edgews/internal/handshake"
)

// Connect has the object answer r, a request to upgrade, and returns the client's end of the socket that it opens, which waits to be accepted:
// add listeners and call Accept, receive from it, or give it to Respond, and the object's end gets the connection of that request. In
// Workers this is stub.fetch with the header Upgrade: websocket, and the webSocket of its response. There is no network: the two ends are a
// pair, whose messages have no frames and no size limit. Connect is for objects and handlers that talk to an object over a socket, and for
// tests.
//
// Of r, Connect needs nothing: what is missing of a handshake is added, a nil r is a GET of "/", and a request that a server has got, over
// HTTP/2 too, may be passed on as it is. Its Sec-WebSocket-Protocol is negotiated; compression is not, since there is nothing to compress. r
// is not changed. The context of the request is ctx, not that of r. It bounds the handshake: when it ends first, Connect gives up, and an
// object that upgrades then gets an error. It does not end the socket.
//
// The object answers with Upgrade or with Respond, and sees no difference but that both addresses of its socket are "pair". Connect returns
// as soon as it has answered, even if its handler goes on. In an event of another object the client's end belongs to that object, as one
// that Dial returns. All else is as with ServeHTTP: it is one event, it counts as one connection, quotas and Shutdown refuse it. MaxMessageSize,
// RateLimit and KeepAlive do not apply between the ends of a pair.
//
// If the object does not open a socket, the error is a *HandshakeError as that of Dial, with the status of the response, which is returned
// too: its body has at most the first 4 KiB, and need not be closed. Before the object's handler runs, errors.Is also finds ErrShutdown,
// ErrQuota, ErrOverloaded, ErrReentrant or ErrInvalidID in it; afterwards it finds the panic of a handler.
func (s *Stub) Connect(ctx context.Context, r *http.Request) (*Socket, *http.Response, error) {
	inner, cancel := context.WithCancelCause(withoutPlace(context.WithoutCancel(ctx)))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	defer stop()
	r = connectRequest(inner, r)
	w := &connectWriter{request: r, header: make(http.Header), answered: make(chan struct{})}
	go w.serve(s)
	select {
	case <-w.answered:
	case <-ctx.Done():
		w.finish(context.Cause(ctx))
	}
	client, resp, err := w.result()
	if err != nil {
		cancel(err) // of a handler that goes on
		return nil, resp, err
	}
	client.bindToObject(ctx, pinOutbound)
	return client, resp, nil
}

// connectRequest returns a copy of r that is a handshake with the context ctx.
func connectRequest(ctx context.Context, r *http.Request) *http.Request {
	if r == nil {
		r = new(http.Request)
	}
	stream := handshake.IsExtendedConnect(r)
	r = r.Clone(ctx)
	if r.URL == nil {
		r.URL = &url.URL{Path: "/"}
	}
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	if stream {
		delete(r.Header, ":protocol")
		r.Method, r.Body, r.ContentLength = "", nil, 0
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	r.Method = cmp.Or(r.Method, http.MethodGet)
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	r.Host = cmp.Or(r.Host, r.URL.Host, "localhost")
	r.RequestURI = cmp.Or(r.RequestURI, r.URL.RequestURI())
	r.RemoteAddr = cmp.Or(r.RemoteAddr, pairAddr.String())
	completeHandshake(r.Header)
	return r
}

// completeHandshake adds to h what a handshake has, as far as it is not there, and removes what Connect does not negotiate.
func completeHandshake(h http.Header) {
	missing := func(name string) bool { return len(handshake.Values(h, name)) == 0 }
	if missing("Upgrade") {
		h.Set("Upgrade", "websocket")
		h.Set("Connection", "Upgrade") // instead of keep-alive
	}
	if missing("Connection") {
		h.Set("Connection", "Upgrade")
	}
	if missing(handshake.VersionHeader) {
		h.Set(handshake.VersionHeader, handshake.Version)
	}
	if missing(handshake.KeyHeader) {
		h.Set(handshake.KeyHeader, handshake.NewKey())
	}
	h.Del(handshake.ExtensionsHeader)
}

// connectWriter is the ResponseWriter of Connect: it gets a socket, or the beginning of an answer.
type connectWriter struct {
	request  *http.Request
	header   http.Header   // of the handler
	answered chan struct{} // closed when finished is set

	mu sync.Mutex // a leaf

	// Guarded by mu.
	taken    bool           // the handler has taken the connection over
	client   *Socket        // what it has opened; nil: nothing yet
	response *http.Response // nil: none yet
	body     []byte
	finished bool // Connect needs no more of the answer
	err      error
}

// serve has the object of s answer.
func (w *connectWriter) serve(s *Stub) {
	err := errGoexitInHandler
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("the object has cut the connection: %v", cause)
		}
		w.finish(err)
	}()
	err = s.serve(w, w.request)
	if gone := context.Cause(w.request.Context()); gone != nil { // perhaps the object has not begun to answer
		err = gone
		return
	}
	w.WriteHeader(http.StatusOK) // as net/http does for a handler that has written nothing
}

// finish ends the wait for the answer, which is what has been written until now. err is what has ended the event, or the wait; it may be nil.
func (w *connectWriter) finish(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.finishLocked(err)
}

// finishLocked is finish. mu must be held.
func (w *connectWriter) finishLocked(err error) {
	if !w.finished {
		w.finished, w.err = true, err
		close(w.answered)
	}
}

// result returns what Connect does. The answer must be finished.
func (w *connectWriter) result() (*Socket, *http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.client != nil {
		return w.client, w.response, nil
	}
	if w.taken && w.err == nil {
		w.err = errConnectConn
	}
	if w.response == nil {
		return nil, nil, &HandshakeError{Detail: "the object has not answered", Err: w.err}
	}
	body := &savedBody{content: w.body}
	body.Reset(w.body)
	w.response.Body = body
	return nil, w.response, &HandshakeError{
		StatusCode: w.response.StatusCode, Detail: "expected status 101, but received " + describeResponse(w.response), Err: w.err,
	}
}

func (w *connectWriter) Header() http.Header { return w.header }

func (w *connectWriter) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writeHeaderLocked(status)
}

// writeHeaderLocked is WriteHeader. mu must be held.
func (w *connectWriter) writeHeaderLocked(status int) {
	if status < 200 || w.response != nil || w.taken || w.finished {
		return
	}
	w.response = &http.Response{
		Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: w.header.Clone(), ContentLength: -1, Request: w.request,
	}
	time.AfterFunc(saveBodyTimeout, func() { w.finish(nil) })
}

func (w *connectWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.taken {
		return 0, http.ErrHijacked
	}
	w.writeHeaderLocked(http.StatusOK)
	if !w.finished {
		w.body = append(w.body, p[:min(len(p), maxSavedBody-len(w.body))]...)
		if len(w.body) == maxSavedBody {
			w.finishLocked(nil)
		}
	}
	return len(p), nil
}

// ResponseState implements handshake.ResponseState.
func (w *connectWriter) ResponseState() (begun, hijacked bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.response != nil && !w.taken, w.taken
}

// Hijack is http.Hijacker. The connection that it returns is only for Upgrade and Respond.
func (w *connectWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.taken {
		return nil, nil, http.ErrHijacked
	}
	w.taken = true
	return &connectConn{w: w}, nil, nil
}

// connectConn stands for the connection of a connectWriter, until Upgrade or Respond answers with a socket instead.
type connectConn struct {
	w        *connectWriter
	response *handshake.Response
}

// errConnectConn is for programs that take the connection of a request over to speak WebSocket themselves.
var errConnectConn = errors.New("edgews: a request of Stub.Connect has no connection: answer it with Upgrade or Respond")

func (c *connectConn) Read([]byte) (int, error)         { return 0, errConnectConn }
func (c *connectConn) Write([]byte) (int, error)        { return 0, errConnectConn }
func (c *connectConn) Close() error                     { c.w.finish(errConnectConn); return nil }
func (c *connectConn) LocalAddr() net.Addr              { return pairAddr }
func (c *connectConn) RemoteAddr() net.Addr             { return pairAddr }
func (c *connectConn) SetDeadline(time.Time) error      { return nil }
func (c *connectConn) SetReadDeadline(time.Time) error  { return nil }
func (c *connectConn) SetWriteDeadline(time.Time) error { return nil }

// give answers with client, which belongs to the caller of Connect from then on. It fails if Connect has given up.
func (c *connectConn) give(client *Socket) error {
	w := c.w
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(c.response.Bytes())), w.request)
	if err != nil {
		return &HandshakeError{Detail: "the answer could not be read", Err: err}
	}
	resp.Body = http.NoBody
	w.mu.Lock()
	defer w.mu.Unlock()
	if gone := context.Cause(w.request.Context()); gone != nil { // Connect is about to give up
		w.finishLocked(gone)
	}
	if w.finished {
		return &HandshakeError{Detail: "the answer could not be given: Stub.Connect has given up", Err: w.err}
	}
	w.client, w.response = client, resp
	w.finishLocked(nil)
	return nil
}

// giveConn is give with a socket over a connection to another server, which gets the places of the request.
func (c *connectConn) giveConn(cfg wireConfig, places places) error {
	s := newSocket(cfg)
	if err := c.give(s); err != nil {
		_ = cfg.conn.Close()
		places.release()
		return err
	}
	places.join(s)
	return nil
}
