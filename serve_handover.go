package edgews

import (
	"bufio"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/edgews/edgews/internal/park"
)

// handedOver is a connection on the way to net/http.
type handedOver struct {
	from   *servedConn
	conn   *park.DetachedConn
	replay []byte      // what has been read from it
	answer *httpAnswer // not nil: the handler of the request in replay has been called already
}

// discard closes the connection instead.
func (h *handedOver) discard() {
	_ = h.conn.Close()
	if h.answer != nil {
		h.answer.lose()
	}
	h.from.announce(http.StateClosed)
}

// handoverListener is the net.Listener from which rest gets its connections.
type handoverListener struct {
	s      *upgradeServer
	wake   chan struct{} // holds a token while the queue may have connections; its capacity is 1
	closed chan struct{}

	mu     sync.Mutex
	queue  []*handedOver
	ending bool // closed is closed
}

// push gives a connection to rest, or closes it if rest has been shut down. It does not wait.
func (l *handoverListener) push(h *handedOver) {
	l.mu.Lock()
	ending := l.ending
	if !ending {
		l.queue = append(l.queue, h)
	}
	l.mu.Unlock()
	if ending {
		h.discard()
		return
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// pop takes a connection from the queue. It returns nil if there is none.
func (l *handoverListener) pop() *handedOver {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		l.queue = nil
		return nil
	}
	h := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	return h
}

// Accept implements [net.Listener].
func (l *handoverListener) Accept() (net.Conn, error) {
	for {
		for h := l.pop(); h != nil; h = l.pop() {
			conn, err := newReplayedConn(h)
			if err == nil {
				return conn, nil
			}
			l.s.logf("edgews: connection from %v cannot be handed over to net/http: %v", h.from.remote, err)
			h.discard()
		}
		select {
		case <-l.wake:
		case <-l.closed:
			return nil, net.ErrClosed
		}
	}
}

// Close implements [net.Listener].
func (l *handoverListener) Close() error {
	l.mu.Lock()
	queue, ending := l.queue, l.ending
	l.queue, l.ending = nil, true
	l.mu.Unlock()
	if !ending {
		close(l.closed)
	}
	for _, h := range queue {
		h.discard()
	}
	return nil
}

// Addr implements [net.Listener].
func (l *handoverListener) Addr() net.Addr { return l.s.Addr() }

// replayedConn is a connection that net/http serves. What has been read from it is read again.
type replayedConn struct {
	*net.TCPConn
	hooked  *hookedConn // nil: there are no hooks
	context context.Context

	mu           sync.Mutex
	replay       []byte
	headDeadline time.Time   // for the first SetReadDeadline; zero: none
	answer       *httpAnswer // of the request in replay; nil: net/http calls the handler
	lost         bool        // closed before net/http has served the request of answer
	announced    bool        // ConnState knows that the connection is active
}

func newReplayedConn(h *handedOver) (*replayedConn, error) {
	tcp, err := h.conn.TCPConn()
	if err != nil {
		return nil, err
	}
	c := &replayedConn{TCPConn: tcp, hooked: h.from.hooked, replay: h.replay, answer: h.answer, announced: h.answer != nil}
	if timeout := h.from.server.timeout; timeout > 0 {
		c.headDeadline = time.Now().Add(timeout - nowMillis().sub(h.from.acceptedAt))
	}
	c.context = context.WithValue(h.from.context(), replayedConnKey{}, c)
	if c.hooked != nil {
		c.hooked.setConn(c)
	}
	return c, nil
}

// replayedConnKey is the key of a connection's replayedConn in its context.
type replayedConnKey struct{}

// contextOfHandedOver is ConnContext of rest. The program's ConnContext has been called when the connection was accepted.
func contextOfHandedOver(_ context.Context, c net.Conn) context.Context {
	return c.(*replayedConn).context
}

// announceHandedOver is ConnState of rest. The program's ConnState has been called when the connection was accepted, and if a handler has
// been called, also with StateActive.
func announceHandedOver(nc net.Conn, state http.ConnState) {
	c, ok := nc.(*replayedConn)
	if !ok || c.hooked == nil || state == http.StateNew {
		return
	}
	c.mu.Lock()
	known := c.announced && state == http.StateActive
	c.announced = false
	c.mu.Unlock()
	if !known {
		c.hooked.announce(state)
	}
}

// Read implements [net.Conn].
func (c *replayedConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	n := copy(p, c.replay)
	if c.replay = c.replay[n:]; len(c.replay) == 0 {
		c.replay = nil
	}
	c.mu.Unlock()
	if n > 0 {
		return n, nil
	}
	return c.TCPConn.Read(p)
}

// WriteTo implements [io.WriterTo], which *net.TCPConn implements without knowing what is read again.
func (c *replayedConn) WriteTo(w io.Writer) (n int64, err error) {
	_, replay := c.TakeConn()
	if len(replay) > 0 {
		written, err := w.Write(replay)
		if n = int64(written); err != nil {
			return n, err
		}
	}
	rest, err := c.TCPConn.WriteTo(w)
	return n + rest, err
}

// TakeConn implements handshake.Prefixed.
func (c *replayedConn) TakeConn() (net.Conn, []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	replay := c.replay
	c.replay = nil
	return c.TCPConn, replay
}

// SetReadDeadline implements [net.Conn]. net/http calls it first for the head of a request, of whose time some has passed already.
func (c *replayedConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	if first := c.headDeadline; !first.IsZero() && first.Before(t) {
		t = first
	}
	c.headDeadline = time.Time{}
	c.mu.Unlock()
	return c.TCPConn.SetReadDeadline(t)
}

// Close implements [net.Conn].
func (c *replayedConn) Close() error {
	c.mu.Lock()
	answer := c.answer
	c.answer, c.replay = nil, nil
	c.lost = c.lost || answer != nil
	c.mu.Unlock()
	if answer != nil {
		answer.lose()
	}
	return c.TCPConn.Close()
}

// takeAnswer returns the answer of the request in replay, once. lost says that the connection has been closed before: net/http, which may
// have read the request already, must not call the handler again.
func (c *replayedConn) takeAnswer() (answer *httpAnswer, lost bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	answer = c.answer
	c.answer = nil
	return answer, c.lost
}

// serveRest is the handler of rest.
func (s *upgradeServer) serveRest(w http.ResponseWriter, r *http.Request) {
	if c, ok := r.Context().Value(replayedConnKey{}).(*replayedConn); ok {
		switch answer, lost := c.takeAnswer(); {
		case answer != nil:
			answer.serve(w, r)
			return
		case lost:
			panic(http.ErrAbortHandler)
		}
	}
	s.handler().ServeHTTP(w, r)
}

// httpAnswer connects the handler of a request, which runs in one goroutine, with the ResponseWriter that net/http has made for the
// same request in another.
type httpAnswer struct {
	cancel context.CancelFunc // ends the context of the handler's request

	ready    chan http.ResponseWriter // from net/http
	lost     chan struct{}            // closed if there will be none
	loseOnce sync.Once

	aborted bool          // set before done is closed
	done    chan struct{} // closed when the handler has ended

	w http.ResponseWriter // owned by the handler, which has called await
}

func newHTTPAnswer(cancel context.CancelFunc) *httpAnswer {
	return &httpAnswer{cancel: cancel, ready: make(chan http.ResponseWriter, 1), lost: make(chan struct{}), done: make(chan struct{})}
}

// serve lets the handler answer with w. It returns when the handler has ended.
func (a *httpAnswer) serve(w http.ResponseWriter, r *http.Request) {
	defer context.AfterFunc(r.Context(), a.cancel)()
	a.ready <- w
	<-a.done
	if a.aborted {
		panic(http.ErrAbortHandler)
	}
}

// lose says that net/http does not serve the request.
func (a *httpAnswer) lose() { a.loseOnce.Do(func() { close(a.lost) }) }

// await waits for net/http.
func (a *httpAnswer) await() {
	select {
	case a.w = <-a.ready:
	case <-a.lost:
		a.w = lostWriter{}
	}
}

// writer returns net/http's ResponseWriter with the given header.
func (a *httpAnswer) writer(h http.Header) http.ResponseWriter {
	header := a.w.Header()
	clear(header)
	maps.Copy(header, h)
	return a.w
}

// end lets net/http finish the answer, or cut the connection if aborted is true.
func (a *httpAnswer) end(aborted bool) {
	a.aborted = aborted
	close(a.done)
}

// lostWriter is the ResponseWriter of a connection that has been closed.
type lostWriter struct{}

func (lostWriter) Header() http.Header       { return make(http.Header) }
func (lostWriter) WriteHeader(int)           {}
func (lostWriter) Write([]byte) (int, error) { return 0, net.ErrClosed }

// The methods for [http.ResponseController], so that its errors do not say that they are not supported.

func (lostWriter) FlushError() error                { return net.ErrClosed }
func (lostWriter) SetReadDeadline(time.Time) error  { return net.ErrClosed }
func (lostWriter) SetWriteDeadline(time.Time) error { return net.ErrClosed }
func (lostWriter) EnableFullDuplex() error          { return net.ErrClosed }
func (lostWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, net.ErrClosed
}
