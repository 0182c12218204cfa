// Package edgewsh2 lets the HTTP/2 server of net/http accept WebSockets (RFC 8441).
//
//	srv := &http.Server{Addr: ":443", Handler: edgewsh2.Handler(mux)}
//	err := srv.ListenAndServeTLS("cert.pem", "key.pem")
//
// The same handlers then serve WebSockets over HTTP/1.1 and over HTTP/2, with the same edgews.Upgrade, Respond, Proxy and Namespace.
// [http.Request.ProtoMajor] tells which it is. Browsers open a WebSocket over HTTP/2 if they already have an HTTP/2 connection to the server:
// it shares the connection of the page, which saves a TCP and a TLS handshake.
//
// # What the import does
//
// Importing this package, also with a blank import, adds http2xconnect=1 to the environment variable GODEBUG, unless GODEBUG sets
// http2xconnect already, before net/http is initialised. This concerns the whole process, and child processes, which inherit the variable:
// each HTTP/2 server of net/http and golang.org/x/net/http2 announces SETTINGS_ENABLE_CONNECT_PROTOCOL. Browsers then use HTTP/2 for
// every wss URL of these servers. A WebSocket handler of another library, which knows only HTTP/1.1, stops working for them.
//
// The package depends on an internal setting of Go, which a new version of Go may replace. TestServerAnnouncesExtendedConnect then fails.
//
// # What Handler does
//
// net/http ends an HTTP/2 stream when its handler returns, so a goroutine has to stay in the handler for as long as the socket is open.
// [Handler] makes the goroutine stay: handlers may return at once, as over HTTP/1.1. Put it around the server's whole handler, so that
// middleware is inside it: middleware then sees the handler return as over HTTP/1.1.
//
// Without Handler, only these handlers work over HTTP/2:
//
//   - the ServeHTTP of an object's Stub and that of Proxy, which wait for the end of the connection themselves, and a Respond that passes
//     a dialed socket through. The end of the request's context, as by a time-out of middleware, ends their WebSockets with 1006;
//   - a handler that returns after the end of the socket: after Socket.Done is closed, or after a receive method has returned a
//     *CloseError. It must not write to the ResponseWriter after Upgrade, since that would get into the stream of the socket, and nothing
//     of the socket may be in use when it returns. A handler that returns earlier ends its socket with 1006,
//     and a warning is logged.
//
// # What is different over HTTP/2
//
// The method of the request is CONNECT. A route for GET, such as "GET /ws" in an http.ServeMux, does not match it, and the browser gets 405, or
// what a route for all paths answers. Register "/ws", or "CONNECT /ws" beside "GET /ws". As for every CONNECT, ServeMux
// does not clean the path, and the host of a pattern has to contain the port if that of the request does.
//
// The standard library's server does not give up its connections, so these things are not possible:
//
//   - An idle socket is not parked: it has two goroutines and the buffers of a stream, together about 28 KB.
//   - There is no half-close by the server. It ends the stream in both directions when both sides have sent Close, or when it drops
//     the socket. The client may end its side first.
//   - The server can reset a stream only with INTERNAL_ERROR. It does so when it drops a socket whose peer has stopped reading. A
//     stream that the peer resets is an end with 1006.
//   - A handler, and middleware, cannot use http.Hijacker. The response of Upgrade goes past wrappers of the ResponseWriter that have an
//     Unwrap method; one without is refused with 500, unless it has a Flush method.
//   - Socket and stream have no TCP-level information: keep-alive relies on pings and on data alone.
//   - The context of the request ends also when the peer resets the stream, and when the connection is lost, while the handler runs.
//   - A panic of the handler after Upgrade ends the socket. One of an object's ServeHTTP does not.
//
// # Limits
//
// http.Server.HTTP2 has the limits of a connection, whose streams are requests and sockets:
//
//   - MaxConcurrentStreams counts sockets: at the default of 250 open sockets a browser waits with its next request, since it has one
//     connection. A socket counts until its handler has returned.
//   - MaxReceiveBufferPerStream is what a client may send on a stream that is not read, and MaxReceiveBufferPerConnection is that for all
//     streams of the connection together. Both are 1 MiB by default: one socket whose receiver does not receive can then hold up all
//     other streams of its connection, requests too. Set them to 64 KiB and 4 MiB, for example: then it takes 64 such sockets.
//   - A client that takes nothing from the connection blocks all its streams. Their sockets end after Options.WriteTimeout, but their
//     goroutines stay until the connection ends, and without Handler the close event waits for that too. Set WriteByteTimeout, and
//     SendPingTimeout for clients that have vanished.
//
// http.Server.ReadTimeout and WriteTimeout do not end sockets. [http.Server.Shutdown] tells clients to open no more streams (GOAWAY) and
// waits for the sockets, unlike over HTTP/1.1, until its context ends. Close them, as with HTTP/1.1, with StatusGoingAway, for example in a
// function of RegisterOnShutdown.
package edgewsh2

import (
	"net/http"

	_ "github.com/edgews/edgews/internal/extendedconnect" // before net/http
	"github.com/edgews/edgews/internal/handshake"
)

// Handler returns a handler that calls h. If h has opened a WebSocket over HTTP/2, it returns when the socket has ended, or when the peer has
// reset the stream, whichever comes first; h may have returned long before. Other requests are passed on without a change. A Handler
// inside another one has no effect. If h panics, the socket ends with 1006.
func Handler(h http.Handler) http.Handler { return handshake.KeepStreams(h) }
