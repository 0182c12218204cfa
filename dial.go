package edgews

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/edgews/edgews/internal/deflate"
)

// DialOptions configures Dial. A nil pointer means the zero value, which is recommended and safe.
type DialOptions struct {
	Options

	// Protocols are the subprotocols to ask for, the preferred one first. The server may choose one of
	// them, or none (see [Socket.Protocol]).
	Protocols []string

	// Header is sent with the request. Host sets the request's host. The handshake's own headers are
	// replaced, as Workers do; Sec-WebSocket-Protocol and Sec-WebSocket-Extensions are refused, because
	// Protocols and Compression say the same.
	Header http.Header

	// HTTPClient makes the request; nil means [http.DefaultClient]. Its proxy, TLS settings, cookie jar
	// and redirect policy count, and its Timeout bounds the handshake, not the socket. It is not changed.
	HTTPClient *http.Client
}

// connectTimeout bounds the handshake of NewWebSocket, in whose signature there is no place for a context.
const connectTimeout = 30 * time.Second

// maxRefusal is how much of the body of a refusal is kept, in bytes.
const maxRefusal = 1 << 10

// Dial opens a connection (RFC 6455 §4.1) and returns the client's end, which waits to be accepted: add
// listeners and call Accept, or receive from it. In Workers this is fetch with the header Upgrade: websocket.
// The scheme may be ws, wss, http or https; a user name and password in the URL are sent as basic
// authorization.
//
// ctx, and HTTPClient.Timeout, bound the handshake: neither ends the socket once Dial has returned.
//
// The request is an ordinary one, made by net/http: HTTP/1.1 even where the client would use HTTP/2, through a
// proxy's CONNECT for wss (for ws the proxy has to pass an Upgrade on), and behind up to ten redirects, also to ws
// and wss, unless the client has a policy of its own. A RoundTripper has to pass the answer's body on or wrap it as
// an [io.ReadWriteCloser].
//
// The connection belongs to the socket from then on, as with [Upgrade]: closing the [net.Conn] that a Transport's DialContext has returned
// does not end the socket, unless it is of a type of your own that embeds net.Conn.
//
// If there was an answer it is returned, also together with an error; then its body holds the first KiB of
// what the server said. It need not be closed. The error is a [*HandshakeError].
//
// Deviation: Workers accept a subprotocol that was not asked for, or several, and know only http and https here.
func Dial(ctx context.Context, url string, opts *DialOptions) (*Socket, *http.Response, error) {
	c, resp, err := dial(ctx, url, opts)
	if err != nil {
		return nil, resp, err
	}
	s := newSocket(c)
	s.belong(ctx, outboundSocket)
	return s, resp, nil
}

// NewWebSocket returns a socket that connects in the background: new WebSocket(url, protocols) in Workers. It is
// already accepted, its URL is url as given, and it fires open. If that fails it fires error, with a
// [*HandshakeError], and close: 1006, "Failed to establish websocket connection". Close gives the attempt up, and
// so do 30 seconds.
//
// The returned error says what is wrong with the arguments: the scheme must be ws or wss, there may be no
// fragment, and protocols must be tokens, each different. As in browsers, a user name and password in the URL
// are not sent and a redirect is a failure. For headers, options or an HTTP client of your own use [Dial].
//
// Deviation: Workers report a faulty answer as "received 502 instead"; here the fault has its name. A double
// quote in a protocol is refused, which is not a token by RFC 9110 §5.6.2.
func NewWebSocket(url string, protocols ...string) (*Socket, error) {
	if _, err := parseURL(url, "ws", "wss"); err != nil {
		return nil, err
	}
	client := *http.DefaultClient
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	o, err := newOffer(url, &DialOptions{Protocols: protocols, HTTPClient: &client})
	if err != nil {
		return nil, err
	}
	o.target.User = nil
	s := newConnecting(url, o.opts)
	go connect(s, o)
	return s, nil
}

// connect opens s. It ends when the handshake does: after connectTimeout at the latest, or when s is closed.
func connect(s *Socket, o *offer) {
	ctx, cancel := context.WithTimeout(s.connecting(), connectTimeout)
	defer cancel()
	c, _, err := o.dial(ctx)
	if err == nil {
		s.opened(c)
		return
	}
	if e, ok := errors.AsType[*HandshakeError](err); ok {
		err = &HandshakeError{StatusCode: e.StatusCode, Detail: "failed to establish the WebSocket connection: " + e.Detail, Err: e.Err}
	}
	s.connectFailed(err)
}

// dial checks the arguments and does the handshake.
func dial(ctx context.Context, url string, opts *DialOptions) (wireConfig, *http.Response, error) {
	if opts == nil {
		opts = new(DialOptions)
	}
	o, err := newOffer(url, opts)
	if err != nil {
		return wireConfig{}, nil, err
	}
	return o.dial(ctx)
}

// offer is one handshake from the client's side.
type offer struct {
	url       string   // as given
	target    *url.URL // where the request goes
	opts      *Options
	meter     *Meter
	protocols []string
	header    http.Header // the caller's
	host      string      // in place of target's, if set
	key       string
	client    *http.Client
	timeout   time.Duration // of the handshake; 0: none
}

// newOffer checks what the caller gave and copies it.
func newOffer(url string, opts *DialOptions) (*offer, error) {
	u, err := parseURL(url, "ws", "wss", "http", "https")
	if err != nil {
		return nil, err
	}
	if err := checkProtocols(opts.Protocols); err != nil {
		return nil, err
	}
	if err := checkRequestHeader(opts.Header); err != nil {
		return nil, err
	}
	o := &offer{
		url: url, target: u, key: newKey(),
		opts: opts.resolve(), meter: opts.Meter, protocols: slices.Clone(opts.Protocols),
		header: opts.Header.Clone(), host: opts.Header.Get("Host"),
	}
	o.client, o.timeout = upgradingClient(opts.HTTPClient)
	return o, nil
}

// dial sends the request, checks the answer and takes the connection over.
func (o *offer) dial(ctx context.Context) (wireConfig, *http.Response, error) {
	if _, err := o.meter.admit(Usage{}); err != nil {
		return wireConfig{}, nil, err
	}
	ctx, settle := handshakeContext(ctx, o.timeout)
	defer settle()
	resp, traced, err := o.send(ctx)
	if err != nil {
		return wireConfig{}, resp, &HandshakeError{Detail: "no answer", Err: err}
	}
	protocol, params, err := o.verify(resp)
	if err != nil {
		keepRefusal(resp)
		return wireConfig{}, resp, answerError(resp, err)
	}
	conn, buffered, err := adopt(resp, traced)
	if err != nil {
		return wireConfig{}, resp, answerError(resp, err)
	}
	if err := settle(); err != nil {
		conn.Close()
		return wireConfig{}, resp, &HandshakeError{Detail: "given up", Err: err}
	}
	c := wireConfig{conn: conn, buffered: buffered, client: true, opts: o.opts, meter: o.meter, url: o.url, protocol: protocol}
	if params != nil {
		c.deflate, c.extensions = params, strings.Join(headerValues(resp.Header, headerExtensions), ", ")
	}
	return c, resp, nil
}

// parseURL returns url with the scheme that net/http knows.
func parseURL(raw string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, &HandshakeError{Detail: "the url is invalid", Err: err}
	}
	if u.Scheme == "" {
		return nil, &HandshakeError{Detail: fmt.Sprintf("the url is invalid: %q has no scheme", raw)}
	}
	if !slices.Contains(schemes, u.Scheme) {
		return nil, &HandshakeError{Detail: fmt.Sprintf("the url scheme must be %s: it is %q", alternatives(schemes), u.Scheme)}
	}
	if u.Hostname() == "" {
		return nil, &HandshakeError{Detail: fmt.Sprintf("the url is invalid: %q has no host", raw)}
	}
	if strings.Contains(raw, "#") { // url.Parse forgets a bare one
		return nil, &HandshakeError{Detail: fmt.Sprintf("the url fragment must be empty: %q has one (RFC 6455 §3)", raw)}
	}
	u.Scheme = httpScheme(u.Scheme)
	return u, nil
}

// alternatives writes "ws or wss".
func alternatives(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// httpScheme maps ws to http and wss to https; every other scheme stays.
func httpScheme(scheme string) string {
	switch scheme {
	case "ws":
		return "http"
	case "wss":
		return "https"
	}
	return scheme
}

// checkProtocols is the check of the WebSocket constructor in Workers.
func checkProtocols(protocols []string) error {
	for i, p := range protocols {
		switch {
		case !isToken(p) && len(protocols) == 1:
			return &HandshakeError{Detail: fmt.Sprintf("the protocol header token is invalid: %q", p)}
		case !isToken(p):
			return &HandshakeError{Detail: fmt.Sprintf("one of the protocol header tokens is invalid: %q", p)}
		case slices.Contains(protocols[:i], p):
			return &HandshakeError{Detail: fmt.Sprintf("the protocols header cannot have repeating values: %q", p)}
		}
	}
	return nil
}

// checkRequestHeader refuses the two headers that are the result of a negotiation.
func checkRequestHeader(h http.Header) error {
	for name := range h {
		switch http.CanonicalHeaderKey(name) {
		case "Sec-Websocket-Protocol":
			return &HandshakeError{Detail: "DialOptions.Header: name subprotocols in Protocols, not in " + headerProtocol}
		case "Sec-Websocket-Extensions":
			return &HandshakeError{Detail: "DialOptions.Header: configure compression in Compression, not in " + headerExtensions}
		}
	}
	return nil
}

// upgradingClient returns a copy of c that follows redirects to ws and wss, and its Timeout, which the copy does
// not have: it would cover the body of the answer, and that is our connection.
func upgradingClient(c *http.Client) (*http.Client, time.Duration) {
	if c == nil {
		c = http.DefaultClient
	}
	upgrading := *c
	upgrading.Timeout = 0
	upgrading.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		r.URL.Scheme = httpScheme(r.URL.Scheme)
		if c.CheckRedirect != nil {
			return c.CheckRedirect(r, via)
		}
		if len(via) >= 10 { // as http.Client does without a policy
			return errors.New("stopped after 10 redirects")
		}
		return nil
	}
	return &upgrading, c.Timeout
}

// handshakeContext returns a context that ends with ctx, or after timeout unless that is 0, until settle is called,
// and never afterwards: a RoundTripper may hold on to its request's context for as long as the body lives. settle
// returns why the context has ended, if it has.
func handshakeContext(ctx context.Context, timeout time.Duration) (handshake context.Context, settle func() error) {
	release := func() {}
	if timeout > 0 {
		why := fmt.Errorf("HTTPClient.Timeout of %v exceeded: %w", timeout, context.DeadlineExceeded)
		ctx, release = context.WithTimeoutCause(ctx, timeout, why)
	}
	handshake, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	return handshake, func() error {
		defer release()
		if stop() {
			return nil
		}
		return context.Cause(ctx)
	}
}

// send makes the request and returns the answer and the connection that it came on, nil if httptrace saw none.
func (o *offer) send(ctx context.Context) (*http.Response, net.Conn, error) {
	var traced atomic.Pointer[net.Conn]
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { traced.Store(&info.Conn) }, // the last one: redirects, retries
	})
	resp, err := o.client.Do(o.request(ctx))
	if conn := traced.Load(); conn != nil {
		return resp, *conn, err
	}
	return resp, nil, err
}

// request returns the opening handshake of RFC 6455 §4.1. The values of Connection and Upgrade also make
// http.Transport use HTTP/1.1, and a fresh connection if the one it has to the host is HTTP/2.
func (o *offer) request(ctx context.Context) *http.Request {
	h := make(http.Header)
	for name, values := range o.header {
		if name != "Host" && !isHandshakeHeader(name) {
			h[name] = values
		}
	}
	h["Connection"] = []string{"Upgrade"}
	h["Upgrade"] = []string{"websocket"}
	h[headerVersion] = []string{wireVersion}
	h[headerKey] = []string{o.key}
	if len(o.protocols) > 0 {
		h[headerProtocol] = []string{strings.Join(o.protocols, ", ")}
	}
	if c := o.opts.Compression; !c.Disable {
		h[headerExtensions] = []string{deflate.Offer(c.want())}
	}
	r := &http.Request{Method: http.MethodGet, URL: o.target, Host: o.host, Header: h, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	return r.WithContext(ctx)
}

// verify checks the answer as RFC 6455 §4.1 demands, and returns what the server chose.
func (o *offer) verify(resp *http.Response) (protocol string, params *deflate.Params, err error) {
	h := resp.Header
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return "", nil, fmt.Errorf("expected status 101, but received %d", resp.StatusCode)
	}
	if got := strings.Join(h.Values("Upgrade"), ", "); !strings.EqualFold(got, "websocket") {
		return "", nil, fmt.Errorf(`expected "Upgrade: websocket", but received %.100q`, got)
	}
	if got := h.Values("Connection"); !lists(got, "upgrade") {
		return "", nil, fmt.Errorf(`expected "Connection: Upgrade", but received %.100q`, strings.Join(got, ", "))
	}
	if got := headerValues(h, headerAccept); !slices.Equal(got, []string{acceptFor(o.key)}) {
		return "", nil, fmt.Errorf("expected %s %q, but received %.100q", headerAccept, acceptFor(o.key), strings.Join(got, ", "))
	}
	if protocol, err = o.chosenProtocol(h); err != nil {
		return "", nil, err
	}
	params, err = o.chosenCompression(h)
	return protocol, params, err
}

// chosenProtocol returns the one subprotocol that the server chose, or "".
func (o *offer) chosenProtocol(h http.Header) (string, error) {
	values := headerValues(h, headerProtocol)
	if len(values) == 0 {
		return "", nil
	}
	if i := slices.Index(o.protocols, values[0]); i >= 0 && len(values) == 1 {
		return o.protocols[i], nil // ours: the header's memory is let go
	}
	return "", fmt.Errorf("expected one of the subprotocols %q or none, but received %.100q", o.protocols, strings.Join(values, ", "))
}

// chosenCompression returns what the server agreed to, or nil. Nothing but permessage-deflate is ever offered.
func (o *offer) chosenCompression(h http.Header) (*deflate.Params, error) {
	values := headerValues(h, headerExtensions)
	if o.opts.Compression.Disable {
		if len(listed(values)) > 0 {
			return nil, fmt.Errorf("expected no extension, but received %.100q", strings.Join(values, ", "))
		}
		return nil, nil
	}
	params, ok, err := deflate.Agree(values)
	if err != nil || !ok {
		return nil, err
	}
	return &params, nil
}

// answerError says what was wrong with an answer.
func answerError(resp *http.Response, err error) error {
	return &HandshakeError{StatusCode: resp.StatusCode, Detail: err.Error()}
}

// keepRefusal replaces the body by a copy of its beginning and lets the connection go. The body of a 101 is
// the connection itself, of which there is nothing to keep.
func keepRefusal(resp *http.Response) {
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body = http.NoBody
		return
	}
	kept, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // what came before an error is kept too
	resp.Body = io.NopCloser(bytes.NewReader(kept))
}
