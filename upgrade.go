package edgews

import (
	"net"
	"net/http"
	"os"
	"time"

	"github.com/edgews/edgews/internal/handshake"
	"github.com/edgews/edgews/internal/park"
)

// UpgradeOptions configures Upgrade and Respond. A nil pointer means the zero value, which is recommended and safe.
// An invalid value makes the server answer every request with 500, so that the first request shows the mistake.
type UpgradeOptions struct {
	Options

	// Protocols are the subprotocols that the server supports, the preferred one first. The first that the
	// client offers is chosen; if it offers none of them, the socket has no subprotocol (see [Socket.Protocol]).
	Protocols []string

	// AllowedOrigins are the sites, besides the server's own host, whose pages may connect:
	//
	//	https://example.com        this scheme, host and (default) port
	//	https://example.com:8443   this port
	//	https://*.example.com      every subdomain of any depth, not example.com itself
	//	http://localhost:*         every port
	//	example.com                every scheme, on its default port
	//	null                       every sandboxed frame and local file
	//	file://                    every local file, in some web views
	//
	// A host may be written in Unicode or in punycode. Use a wildcard only over a domain whose subdomains are all your own: *.com is
	// refused, but *.co.uk and *.github.io are not, because no list of public suffixes is consulted. null and file:// are dangerous:
	// a page of any site can get the origin null by means of a sandboxed frame, and then connects with the cookies of its visitor.
	AllowedOrigins []string

	// InsecureSkipOriginCheck lets the pages of every site connect, with the cookies of their visitors. It is only for servers
	// that authenticate by something that a page of another site does not have.
	InsecureSkipOriginCheck bool

	// Header is added to the 101, or the 200 of HTTP/2, after the headers that are set on the ResponseWriter. It must not contain headers of the
	// handshake itself or headers that describe a body.
	Header http.Header

	roster *roster // of the hub whose Upgrade it is; nil: none
}

// IsUpgrade reports whether r asks for a WebSocket, so that one path can serve both pages and sockets. Over HTTP/1.1 only the Upgrade header
// counts; over HTTP/2, r is an extended CONNECT (RFC 8441), whose method is CONNECT, so that routes for GET do not match it. Upgrade refuses
// a request that is wrong in other parts, and says why.
func IsUpgrade(r *http.Request) bool {
	return handshake.IsUpgrade(r)
}

// Upgrade answers an opening handshake (RFC 6455 §4.2) and returns the server's end, which waits to be accepted:
// add listeners and call Accept, or receive from it. The handler may return at once; neither its return nor the end
// of r.Context ends the socket. Bytes that the client sent right behind its request are not lost. If a socket has not been accepted
// after 10 s, a warning is logged to Options.Logger.
//
// Everything is checked before the connection leaves net/http. A request that does not pass is answered with 400, 403, 405, 426, 429
// (see [Meter.SetQuota]), 501 or 505 and a sentence that says why, and Upgrade returns a [*HandshakeError] with the same status; the handler
// only has to return. The connection is closed after the answer. A ResponseWriter that does not give up its connection is answered
// with 500; one that wraps another needs an Unwrap method. The directory examples/frameworks has tests with routers and middleware.
//
// A request with an Origin header, which browsers send, must come from a page of the same host, whatever its scheme, or from one
// of AllowedOrigins. A request without that header does not come from a browser and is let in.
//
// Headers that were set on w are sent with the 101, cookies included. If WriteHeader, Write or Hijack has been called on w, Upgrade
// returns an error and answers nothing.
//
// Over HTTP/2 the socket gets the stream of an extended CONNECT (RFC 8441), if package edgewsh2 is imported. net/http ends a stream when the
// handler returns, so wrap the server's handler in edgewsh2.Handler; that package says what else is different. The answer is 200 instead of
// 101, and a refusal leaves the connection open.
//
// The connection belongs to the socket from then on. Closing the [net.Conn] that the server's ConnState or ConnContext has received does
// not end the socket: on Linux, a TCP connection continues under another file descriptor, and over TLS the closing is noticed only with
// the next keep-alive. To end sockets from outside, keep them and call Close. To cut connections at any moment, as tests of
// faults do, let the server's Listener return connections of a type of your own that embeds net.Conn: such a connection is used through
// its methods alone, at the price of a goroutine for each, and closing it ends the socket at once.
//
// Deviation: Workers check only the Upgrade header, whose value must be websocket alone, the version and the
// presence of a key. They do not look at Connection and Origin, accept any key and any HTTP version, and let
// the worker answer a subprotocol that was not offered.
func Upgrade(w http.ResponseWriter, r *http.Request, opts *UpgradeOptions) (*Socket, error) {
	c, err := upgrade(w, r, opts)
	if err != nil {
		return nil, err
	}
	if conn, ok := c.conn.(*connectConn); ok {
		defer c.pass.release()
		client, _ := NewPair()
		return client.answerConnect(r.Context(), conn, c)
	}
	if conn, ok := c.conn.(*edgeConn); ok {
		return conn.open(r, c)
	}
	s := newSocket(c)
	s.warnIfHandlerReturns(c.conn)
	c.pass.release()
	s.bindToObject(r.Context(), pinAccepted)
	s.warnIfUnaccepted()
	c.places.join(s)
	return s, nil
}

// Respond answers an opening handshake with client, an end of a [NewPair]. The connection takes client's place: what the other end of
// the pair sends and receives is sent and received on the connection. In Workers this is
//
//	return new Response(null, {status: 101, webSocket: client})
//
// The options and the handshake are those of [Upgrade]. Afterwards client is used up: its methods return [ErrUsed]. What the other
// end has sent before is sent right behind the 101.
//
// client may also be a socket that [Dial] has returned and that has not been accepted: return await fetch(url, …) in Workers. Then the bytes
// of both connections are passed through as they are, as by [Proxy], until one of them ends. The client gets the subprotocol and the
// compression that the dialed connection has; a subprotocol that it has not offered is left out, and if it has not offered that
// compression, the messages are relayed, as by [Relay], with the options of both sockets. Of opts, Protocols and Compression do not apply;
// CloseTimeout and WriteTimeout do. A meter counts one connection, see FactPassThrough. Over HTTP/2 this Respond returns at the end of the
// connection, unless edgewsh2.Handler waits for that.
//
// If client cannot be used ([ErrNotPair], [ErrAccepted], [ErrUsed]), the request is answered with 500 and the pair stays as it
// was. After any other error, from a refused request or from an answer that could not be sent, client is used up and the other end
// ends, with an error event that has the *HandshakeError and the close event 1006. A pair that is never given to Respond stays open;
// but see [State.AcceptWebSocket].
//
// Deviation: Workers notice a client that cannot be used only after the 101, and cut the connection. The other end of a pair
// whose response was refused ends there when the garbage collector finds it.
func Respond(w http.ResponseWriter, r *http.Request, client *Socket, opts *UpgradeOptions) error {
	if client.isDialed() {
		return respondWithDialed(w, r, client, opts)
	}
	if err := client.attachable(); err != nil {
		return refuseClient(w, r, opts, err)
	}
	c, err := upgrade(w, r, opts)
	if err != nil {
		client.abandon(err)
		return err
	}
	defer c.pass.release()
	if conn, ok := c.conn.(*connectConn); ok {
		if _, err := client.answerConnect(r.Context(), conn, c); err != nil {
			_ = conn.Close()
			return err
		}
		return nil
	}
	if conn, ok := c.conn.(*edgeConn); ok {
		if err := conn.answer(r, c.opts); err != nil {
			client.abandon(err)
			c.places.release()
			return err
		}
	}
	server, err := client.attach(r.Context(), c)
	if err != nil { // another goroutine has used client in the meantime
		c.conn.Close()
		c.places.release()
		return err
	}
	server.warnIfHandlerReturns(c.conn)
	c.pass.release()
	c.places.join(server)
	return nil
}

// refuseClient refuses r because of err: the socket that Respond was given cannot be used.
func refuseClient(w http.ResponseWriter, r *http.Request, opts *UpgradeOptions, err error) error {
	err = refuse(w, r, &HandshakeError{
		StatusCode: http.StatusInternalServerError,
		Detail:     "the handler's socket cannot be used in a response",
		Err:        err,
	})
	opts.orDefault(r).tellRefusal(r, err)
	return err
}

// upgrade checks the request, negotiates, takes the connection over and sends the 101.
func upgrade(w http.ResponseWriter, r *http.Request, opts *UpgradeOptions) (c wireConfig, err error) {
	opts = opts.orDefault(r)
	defer func() { opts.tellRefusal(r, err) }()
	return upgradeWith(w, r, opts, func(o *Options) *handshake.Response {
		return handshake.Respond(r.Header, opts.Protocols, o.Compression.want())
	})
}

// orDefault returns the options in force for r.
func (o *UpgradeOptions) orDefault(r *http.Request) *UpgradeOptions {
	if o == nil {
		return &UpgradeOptions{Options: defaultOptions(r.Context())}
	}
	return o
}

// upgradeWith is upgrade with another choice of the response.
func upgradeWith(w http.ResponseWriter, r *http.Request, opts *UpgradeOptions, choose func(*Options) *handshake.Response) (c wireConfig, err error) {
	if answered := handshake.CheckUnanswered(w); answered != nil {
		return wireConfig{}, refusalError(answered)
	}
	if refused := opts.checkRequest(r); refused != nil {
		return wireConfig{}, refuse(w, r, refused)
	}
	a, err := admitUpgrade(w, r, opts.Meter, opts.roster)
	if err != nil {
		return wireConfig{}, err
	}
	admitted := false
	defer func() {
		if !admitted { // because of an error, or of a panic in the program's ResponseWriter
			a.release()
		}
	}()
	o := opts.resolve()
	resp := choose(o)
	resp.AddHeader(w.Header())
	resp.AddHeader(opts.Header)
	conn, buffered, err := switchProtocols(w, r, resp, o.WriteTimeout)
	if err != nil {
		return wireConfig{}, err
	}
	admitted = true
	return wireConfig{
		conn: conn, buffered: buffered, opts: o, meter: a.meter, object: a.object, pass: a.pass, places: a.places,
		deflate: resp.Deflate, protocol: resp.Protocol, extensions: resp.Extensions,
		where: whereOf(r),
	}, nil
}

// admission is what a request to upgrade is charged to.
type admission struct {
	meter  *Meter
	object *object   // nil: none
	pass   quotaPass // the caller releases it when the connection has been counted, or is not opened
	places places    // the caller gives them to the socket, or releases them when the connection ends, or is not opened
}

func (a *admission) release() {
	a.pass.release()
	a.places.release()
}

// admitUpgrade asks the limits and the quotas for r, which counts for the object that answers it or for m, or refuses r. During the Shutdown of
// the object's namespace it refuses r, too. hub is nil, or that of the socket.
func admitUpgrade(w http.ResponseWriter, r *http.Request, m *Meter, hub *roster) (a admission, err error) {
	if isShuttingDown(r.Context()) { // Shutdown has begun after the object got the request, or while the request waited
		return a, refuse(w, r, &HandshakeError{StatusCode: http.StatusServiceUnavailable, Detail: shutdownDetail, Err: ErrShutdown})
	}
	a.meter, a.object = meterFor(r.Context(), m)
	if refused := a.reserve(r, hub); refused != nil {
		return a, refuse(w, r, refused)
	}
	if a.object != nil { // its Stub has asked the quotas already
		return a, nil
	}
	if a.pass, err = a.meter.admit(Usage{Connections: 1}); err != nil {
		a.places.release()
		return a, refuse(w, r, &HandshakeError{StatusCode: http.StatusTooManyRequests, Detail: quotaExceededText, Err: err})
	}
	return a, nil
}

// reserve gets a place in hub, which may be nil, and in the namespace of the object: the one that its Stub has offered, if it has. If one of
// them refuses r, no place is left reserved.
func (a *admission) reserve(r *http.Request, hub *roster) *HandshakeError {
	all := false
	defer func() {
		if !all { // because of a refusal, or of a panic in the program's Key
			a.places.release()
		}
	}()
	var inNamespace *roster
	if o, ok := r.Context().Value(objectContextKey{}).(*object); ok {
		inNamespace = o.ns.roster
	}
	if offered, _ := r.Context().Value(placeContextKey{}).(*place); offered.take(inNamespace) {
		a.places, inNamespace = append(a.places, offered), nil
	}
	for _, in := range []*roster{inNamespace, hub} {
		p, refused := in.reserve(r)
		if refused != nil {
			return refused
		}
		if p.take(in) {
			a.places = append(a.places, p)
		}
	}
	all = true
	return nil
}

// switchProtocols takes the connection of r over and answers with resp. If it fails, it has refused r as far as that is possible.
func switchProtocols(w http.ResponseWriter, r *http.Request, resp *handshake.Response, timeout time.Duration) (conn net.Conn, buffered []byte, err error) {
	if handshake.IsExtendedConnect(r) {
		conn, err = takeStream(w, r, resp)
		return conn, nil, err
	}
	conn, buffered, refused := handshake.Hijack(w)
	if refused != nil {
		return nil, nil, refuse(w, r, refusalError(refused))
	}
	switch c := conn.(type) {
	case *connectConn:
		c.response = resp
		return conn, nil, nil
	case *edgeConn:
		c.response = resp
		return conn, nil, nil
	}
	if err := writeResponse(conn, resp.Bytes(), timeout); err != nil {
		conn.Close()
		return nil, nil, &HandshakeError{Detail: "the answer could not be written", Err: err}
	}
	return conn, buffered, nil
}

// writeResponse sends a 101 in one piece. Without a write timeout, which a socket may have, it waits for defaultWriteTimeout: the
// caller is a handler.
func writeResponse(conn net.Conn, response []byte, timeout time.Duration) error {
	n, err := park.TryWrite(conn, response) // there is room, except in tests, so that no deadline has to be set
	if err != park.ErrWouldBlock {
		return err
	}
	if timeout < 0 {
		timeout = defaultWriteTimeout
	}
	_ = conn.SetWriteDeadline(time.Now().Add(timeout))
	late := time.AfterFunc(timeout+drainGrace, func() { conn.Close() }) // if the deadline does nothing
	_, err = conn.Write(response[n:])
	if !late.Stop() && err == nil {
		err = os.ErrDeadlineExceeded
	}
	_ = conn.SetWriteDeadline(time.Time{})
	return err
}
