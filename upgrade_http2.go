package edgews

import (
	"net"
	"net/http"

	"github.com/edgews/edgews/internal/handshake"
)

// takeStream answers r, an extended CONNECT, and returns its stream as a connection. If it fails, it has refused r as far as that is possible.
func takeStream(w http.ResponseWriter, r *http.Request, resp *handshake.Response) (net.Conn, error) {
	stream, refused := handshake.TakeStream(w, r, resp)
	switch {
	case refused == nil:
		return stream, nil
	case refused.Status == 0:
		return nil, refusalError(refused)
	}
	return nil, refuse(w, r, refusalError(refused))
}

// keepStream is for functions that have nothing to do after they have taken the stream of r and that can wait for its end. It returns r
// with a context that says so, and a function to call at the end, which waits unless an outer handler does. Over HTTP/1.1 it does nothing.
func keepStream(r *http.Request) (kept *http.Request, returned func()) {
	if !handshake.IsExtendedConnect(r) {
		return r, func() {}
	}
	kept, keeper := handshake.WithKeeper(r, nil)
	return kept, keeper.Return
}

// handlerReturnedText is logged if a handler has ended its socket by returning.
const handlerReturnedText = "edgews: the handler has returned, which ends its WebSocket over HTTP/2: wrap the server's handler in edgewsh2.Handler, or return after Socket.Done"

// warnIfHandlerReturns logs a warning when conn, the connection of s, ends because the handler that has opened s over HTTP/2 returns, unless
// Close was called before.
func (s *Socket) warnIfHandlerReturns(conn net.Conn) {
	stream, ok := conn.(*handshake.Stream)
	if !ok || !stream.EndsWithHandler() {
		return
	}
	stream.OnReturn(func() {
		s.mu.Lock()
		closed, logger := s.is(sentClose), s.opts.Logger
		s.mu.Unlock()
		if !closed {
			orDefaultLogger(logger).Warn(handlerReturnedText, s.logAttr())
		}
	})
}
