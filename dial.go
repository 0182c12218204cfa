package edgews

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/edgews/edgews/internal/handshake"
)

// DialOptions configures Dial. A nil pointer means the zero value, which is recommended and safe.
type DialOptions struct {
	Options

	// Protocols are the subprotocols to offer, the preferred one first. The server chooses one of them or none (see
	// [Socket.Protocol]).
	Protocols []string

	// Header is sent with the request. Names may have any case; they are sent in canonical form. Host, which may have one
	// value, sets the request's host. The handshake's own headers are replaced, as Workers do. Sec-WebSocket-Protocol and
	// Sec-WebSocket-Extensions are refused; set Protocols and Compression instead. Header is not sent to another host after a
	// redirect; see Dial.
	Header http.Header

	// HTTPClient makes the request; nil means [http.DefaultClient]. Its proxy, TLS settings, cookie jar and redirect policy are
	// used, and its Timeout bounds the handshake, not the socket. It is not changed.
	HTTPClient *http.Client
}

// connectTimeout bounds the handshake of NewWebSocket, which takes no context.
const connectTimeout = 30 * time.Second

// Dial opens a connection (RFC 6455 §4.1) and returns the client's end, which waits to be accepted: add
// listeners and call Accept, or receive from it. In Workers this is fetch with the header Upgrade: websocket.
// The scheme may be ws, wss, http or https; a user name and password in the URL are sent as basic
// authorization.
//
// ctx, and HTTPClient.Timeout, bound the handshake: neither ends the socket once Dial has returned.
//
// net/http makes the request, with HTTP/1.1 also where the client would use HTTP/2. Up to ten redirects are followed, also to ws and
// wss, unless the client has a policy of its own. A RoundTripper has to pass the response's body on, or wrap it as an
// [io.ReadWriteCloser].
//
// For WebSockets over HTTP/2, which share a connection, use the Transport of the module dialh2 in HTTPClient.
//
// An HTTP proxy of the client's [http.Transport] is asked for a tunnel with CONNECT (RFC 6455 §4.1), for ws as for wss. A proxy that
// allows CONNECT to port 443 only, as Squid does by default, has to allow the port of a ws URL too.
//
// After a redirect to another scheme, host or port, the requests have nothing of Header, no user name and password, no Protocols and
// no Referer; they have only the cookies that the client's Jar has for the new host. The same host over TLS (ws to wss, port 80 to
// 443 or the same port) is not another host. A redirect from wss to ws is never followed, even if the client's CheckRedirect allows
// it. CheckRedirect sees the request without what was dropped, and may add what the new host needs.
//
// If the status is not 101, Dial reads the beginning of the body, for at most 1 s and up to 4 KiB, and returns an error. Whenever
// there was a response it is returned, also together with an error; its body then holds what was read, and need not be closed. The
// error is a [*HandshakeError]. Its text has the first line of that body, unless the body is an HTML page, and never the password of
// a URL.
//
// The connection belongs to the socket from then on, as with [Upgrade]: closing the [net.Conn] that a Transport's DialContext has returned
// does not end the socket, unless it is of a type of your own that embeds net.Conn.
//
// The socket sends pings to the server (see Options.KeepAlive). It drops a server that does not answer pings; set a negative KeepAlive
// for such a server.
//
// Deviation: Workers accept a subprotocol that was not offered, or several, and allow only http and https here.
func Dial(ctx context.Context, url string, opts *DialOptions) (*Socket, *http.Response, error) {
	c, resp, err := dial(ctx, url, opts)
	if err != nil {
		return nil, resp, err
	}
	s := newSocket(c)
	s.bindToObject(ctx, pinOutbound)
	return s, resp, nil
}

// NewWebSocket returns a socket that connects in the background: new WebSocket(url, protocols) in Workers. The socket is
// already accepted, its URL is url as given, and it fires open when it is connected. If connecting fails, it fires error, with a
// [*HandshakeError], and close: 1006, "Failed to establish websocket connection". Close ends the attempt; otherwise it fails after 30 s.
//
// The returned error says what is wrong with the arguments: the scheme must be ws or wss, there must be no fragment, and protocols
// must be tokens, each different. As in browsers, a user name and password in the URL are not sent, and a redirect is a failure. For
// headers, options or an HTTP client of your own, use [Dial].
//
// NewWebSocket takes no context, so it cannot tell whether an object calls it. In an object, give the socket to [State.Hold] before
// adding listeners, so that they run as events of the object.
//
// Deviation: Workers report a faulty response as "received 502 instead"; here the error names the fault. A double quote in a
// protocol is refused, because it cannot be part of a token (RFC 9110 §5.6.2).
func NewWebSocket(url string, protocols ...string) (*Socket, error) {
	if _, err := parseURL(url, "ws", "wss"); err != nil {
		return nil, err
	}
	client := *http.DefaultClient
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	hs, err := newClientHandshake(url, &DialOptions{Protocols: protocols, HTTPClient: &client})
	if err != nil {
		return nil, err
	}
	hs.requestURL.User = nil
	s := newConnecting(url, hs.opts)
	go connectInBackground(s, hs)
	return s, nil
}

// connectInBackground opens s. It returns when the handshake ends: after connectTimeout at the latest, or when s is closed.
func connectInBackground(s *Socket, hs *clientHandshake) {
	ctx, cancel := context.WithTimeout(s.connectContext(), connectTimeout)
	defer cancel()
	c, _, err := hs.do(ctx)
	if err == nil {
		s.connected(c)
		return
	}
	if e, ok := errors.AsType[*HandshakeError](err); ok {
		err = &HandshakeError{StatusCode: e.StatusCode, Detail: "failed to establish the WebSocket connection: " + e.Detail, Err: e.Err}
	}
	s.connectFailed(err)
}

// dial checks the arguments and performs the handshake.
func dial(ctx context.Context, url string, opts *DialOptions) (wireConfig, *http.Response, error) {
	if opts == nil {
		opts = new(DialOptions)
	}
	hs, err := newClientHandshake(url, opts)
	if err != nil {
		return wireConfig{}, nil, err
	}
	return hs.do(ctx)
}

// clientHandshake is one opening handshake from the client's side, with all its redirects.
type clientHandshake struct {
	url          string   // as the caller gave it
	webSocketURL bool     // url has the scheme ws or wss
	requestURL   *url.URL // url with the scheme http or https
	opts         *Options
	meter        *Meter
	protocols    []string
	header       http.Header // the caller's, with canonical names
	host         string      // instead of the host of requestURL; "": not set
	key          string      // Sec-WebSocket-Key
	httpClient   *http.Client
	transport    *handshakeTransport // the Transport of httpClient
	redirects    redirectPolicy      // its CheckRedirect
	timeout      time.Duration       // of the handshake; 0: none
}

// newClientHandshake checks and copies the arguments of Dial.
func newClientHandshake(url string, opts *DialOptions) (*clientHandshake, error) {
	u, err := parseURL(url, "ws", "wss", "http", "https")
	if err != nil {
		return nil, err
	}
	if err := handshake.CheckProtocols(opts.Protocols); err != nil {
		return nil, &HandshakeError{Detail: err.Error()}
	}
	header, err := cloneRequestHeader(opts.Header)
	if err != nil {
		return nil, err
	}
	if err := opts.Options.validate("DialOptions"); err != nil {
		return nil, &HandshakeError{Detail: err.Error()}
	}
	hs := &clientHandshake{
		url: url, webSocketURL: isWebSocketURL(url), requestURL: u, key: handshake.NewKey(),
		opts: opts.resolve(), meter: opts.Meter, protocols: slices.Clone(opts.Protocols),
		header: header, host: header.Get("Host"),
	}
	hs.setClient(opts.HTTPClient)
	return hs, nil
}

// do sends the request, checks the response and takes the connection over. The response is nil if there was none.
func (hs *clientHandshake) do(ctx context.Context) (wireConfig, *http.Response, error) {
	if _, err := hs.meter.admit(Usage{}); err != nil {
		return wireConfig{}, nil, err
	}
	ctx, detach := handshakeContext(ctx, hs.timeout)
	defer detach()
	resp, err := hs.httpClient.Do(hs.request(ctx))
	if err != nil {
		return wireConfig{}, resp, hs.requestError(resp, err)
	}
	protocol, params, err := hs.verify(resp)
	if err != nil {
		discardResponse(resp)
		return wireConfig{}, resp, responseError(resp, err)
	}
	conn, buffered, err := handshake.Adopt(resp, hs.transport.conn())
	if err != nil {
		return wireConfig{}, resp, responseError(resp, err)
	}
	if err := detach(); err != nil {
		conn.Close()
		return wireConfig{}, resp, &HandshakeError{Detail: "given up", Err: err}
	}
	c := wireConfig{conn: conn, buffered: buffered, client: true, opts: hs.opts, meter: hs.meter, url: hs.url, protocol: protocol}
	if params != nil {
		c.deflate, c.extensions = params, strings.Join(handshake.Values(resp.Header, handshake.ExtensionsHeader), ", ")
	}
	return c, resp, nil
}
