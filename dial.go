package edgews

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/edgews/edgews/internal/deflate"
	"github.com/edgews/edgews/internal/handshake"
)

// DialOptions configures Dial. A nil pointer means the zero value, which is recommended and safe.
type DialOptions struct {
	Options

	// Protocols are the subprotocols to ask for, the preferred one first. The server may choose one of
	// them, or none (see [Socket.Protocol]).
	Protocols []string

	// Header is sent with the request, under canonical names whatever their case here. Host, which may have one
	// value, sets the request's host. The handshake's own headers are replaced, as Workers do;
	// Sec-WebSocket-Protocol and Sec-WebSocket-Extensions are refused, because Protocols and Compression say the
	// same. Nothing of Header goes along with a redirect to another host; see Dial.
	Header http.Header

	// HTTPClient makes the request; nil means [http.DefaultClient]. Its proxy, TLS settings, cookie jar
	// and redirect policy count, and its Timeout bounds the handshake, not the socket. It is not changed.
	HTTPClient *http.Client
}

// connectTimeout bounds the handshake of NewWebSocket, in whose signature there is no place for a context.
const connectTimeout = 30 * time.Second

// Dial opens a connection (RFC 6455 §4.1) and returns the client's end, which waits to be accepted: add
// listeners and call Accept, or receive from it. In Workers this is fetch with the header Upgrade: websocket.
// The scheme may be ws, wss, http or https; a user name and password in the URL are sent as basic
// authorization.
//
// ctx, and HTTPClient.Timeout, bound the handshake: neither ends the socket once Dial has returned.
//
// The request is an ordinary one, made by net/http: HTTP/1.1 even where the client would use HTTP/2, and behind up
// to ten redirects, also to ws and wss, unless the client has a policy of its own. A RoundTripper has to pass the
// answer's body on or wrap it as an [io.ReadWriteCloser].
//
// An HTTP proxy that the client's [http.Transport] names is asked for a tunnel with CONNECT (RFC 6455 §4.1), for ws
// as for wss: a proxy that allows CONNECT to port 443 only, as Squid does unless configured otherwise, has to allow
// the port of a ws URL too.
//
// A redirect to another scheme, host or port carries nothing of Header, no user name and password, no Protocols and
// no Referer, and neither do the redirects after it; only the cookies that a Jar has for the new host go along. The
// same host over TLS (ws to wss, port 80 to 443 or the same port) is no other. A redirect from wss to ws is not
// followed, whatever the client's CheckRedirect says. CheckRedirect sees the request without what is
// dropped, and may add what the new host is to have.
//
// The status decides: if it is not 101, Dial reads what is there of the body, for a second and 4 KiB at the most,
// and returns. If there was an answer it is returned, also together with an error; then its body holds what was read.
// It need not be closed. The error is a [*HandshakeError], whose text has the first line of that body, unless it is a page, and
// never the password of a URL.
//
// The connection belongs to the socket from then on, as with [Upgrade]: closing the [net.Conn] that a Transport's DialContext has returned
// does not end the socket, unless it is of a type of your own that embeds net.Conn.
//
// The socket pings the server like any other (see Options.KeepAlive). A server that does not know pings would be dropped: give it a
// negative KeepAlive.
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
// It has no context and cannot know whether an object calls it: there, give the socket to [State.Hold] before adding
// listeners, so that these are events of the object.
//
// Deviation: Workers report a faulty answer as "received 502 instead"; here the fault has its name. A double
// quote in a protocol is refused, which is not a token by RFC 9110 §5.6.2.
func NewWebSocket(url string, protocols ...string) (*Socket, error) {
	if _, err := parseURL(url, "ws", "wss"); err != nil {
		return nil, err
	}
	client := *http.DefaultClient
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	o, err := newClientHandshake(url, &DialOptions{Protocols: protocols, HTTPClient: &client})
	if err != nil {
		return nil, err
	}
	o.requestURL.User = nil
	s := newConnecting(url, o.opts)
	go connectInBackground(s, o)
	return s, nil
}

// connect opens s. It ends when the handshake does: after connectTimeout at the latest, or when s is closed.
func connectInBackground(s *Socket, o *clientHandshake) {
	ctx, cancel := context.WithTimeout(s.connectContext(), connectTimeout)
	defer cancel()
	c, _, err := o.do(ctx)
	if err == nil {
		s.connected(c)
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
	o, err := newClientHandshake(url, opts)
	if err != nil {
		return wireConfig{}, nil, err
	}
	return o.do(ctx)
}

// offer is one handshake from the client's side.
type clientHandshake struct {
	url          string   // as given
	webSocketURL bool     // … with the scheme ws or wss
	requestURL   *url.URL // where the request goes
	opts         *Options
	meter        *Meter
	protocols    []string
	header       http.Header // the caller's, with canonical names
	host         string      // in place of target's, if set
	key          string
	httpClient   *http.Client
	transport    *handshakeTransport // the RoundTripper of client
	redirects    redirectPolicy      // its CheckRedirect
	timeout      time.Duration       // of the handshake; 0: none
}

// newOffer checks what the caller gave and copies it.
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
	o := &clientHandshake{
		url: url, webSocketURL: isWebSocketURL(url), requestURL: u, key: handshake.NewKey(),
		opts: opts.resolve(), meter: opts.Meter, protocols: slices.Clone(opts.Protocols),
		header: header, host: header.Get("Host"),
	}
	o.setClient(opts.HTTPClient)
	return o, nil
}

// dial sends the request, checks the answer and takes the connection over.
func (o *clientHandshake) do(ctx context.Context) (wireConfig, *http.Response, error) {
	if _, err := o.meter.admit(Usage{}); err != nil {
		return wireConfig{}, nil, err
	}
	ctx, settle := handshakeContext(ctx, o.timeout)
	defer settle()
	resp, err := o.httpClient.Do(o.request(ctx))
	if err != nil {
		return wireConfig{}, resp, o.requestError(resp, err)
	}
	protocol, params, err := o.verify(resp)
	if err != nil {
		discardResponse(resp)
		return wireConfig{}, resp, responseError(resp, err)
	}
	conn, buffered, err := handshake.Adopt(resp, o.transport.conn())
	if err != nil {
		return wireConfig{}, resp, responseError(resp, err)
	}
	if err := settle(); err != nil {
		conn.Close()
		return wireConfig{}, resp, &HandshakeError{Detail: "given up", Err: err}
	}
	c := wireConfig{conn: conn, buffered: buffered, client: true, opts: o.opts, meter: o.meter, url: o.url, protocol: protocol}
	if params != nil {
		c.deflate, c.extensions = params, strings.Join(handshake.Values(resp.Header, handshake.ExtensionsHeader), ", ")
	}
	return c, resp, nil
}

// parseURL returns url with the scheme that net/http knows.
func parseURL(raw string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, invalidURL(raw, err)
	}
	if u.Scheme == "" {
		return nil, &HandshakeError{Detail: fmt.Sprintf("the url is invalid: %q has no scheme", maskPassword(raw))}
	}
	if !slices.Contains(schemes, u.Scheme) {
		return nil, &HandshakeError{Detail: fmt.Sprintf("the url scheme must be %s: it is %q", alternatives(schemes), u.Scheme)}
	}
	if u.Hostname() == "" {
		return nil, &HandshakeError{Detail: fmt.Sprintf("the url is invalid: %q has no host", maskPassword(raw))}
	}
	if strings.Contains(raw, "#") { // url.Parse forgets a bare one
		return nil, &HandshakeError{Detail: fmt.Sprintf("the url fragment must be empty: %q has one (RFC 6455 §3)", maskPassword(raw))}
	}
	u.Scheme = httpScheme(u.Scheme)
	return u, nil
}

// invalidURL says why raw is no URL. The words of url.Parse may contain a part of a password.
func invalidURL(raw string, err error) error {
	masked := maskPassword(raw)
	if masked != raw {
		return &HandshakeError{Detail: fmt.Sprintf("the url is invalid: %q: escape what is special in its user name and password (url.UserPassword does)", masked)}
	}
	return &HandshakeError{Detail: "the url is invalid", Err: err}
}

// maskPassword replaces the password in a URL by xxxxx, as [url.URL.Redacted] does, also where url.Parse finds none because the
// URL is invalid: there, whatever is before the last @ counts as user name and password.
func maskPassword(raw string) string {
	start := strings.Index(raw, "//") + len("//")
	if start < len("//") {
		start = 0
	}
	rest := raw[start:]
	if _, err := url.Parse(raw); err == nil {
		if end := strings.IndexAny(rest, "/?#"); end >= 0 {
			rest = rest[:end]
		}
	}
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return raw
	}
	user, _, found := strings.Cut(rest[:at], ":")
	if !found {
		return raw
	}
	return raw[:start] + user + ":xxxxx" + raw[start+at:]
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

// webSocketScheme is the reverse of httpScheme.
func webSocketScheme(scheme string) string {
	switch scheme {
	case "http":
		return "ws"
	case "https":
		return "wss"
	}
	return scheme
}

// isWebSocketURL says whether a valid URL has the scheme ws or wss.
func isWebSocketURL(raw string) bool {
	scheme, _, _ := strings.Cut(raw, ":")
	return strings.EqualFold(scheme, "ws") || strings.EqualFold(scheme, "wss")
}

// requestHeader returns the caller's header with canonical names, or what is wrong with it. net/http writes names as they are:
// two spellings of one header would be two headers on the wire.
func cloneRequestHeader(given http.Header) (http.Header, error) {
	h := make(http.Header, len(given))
	for name, values := range given {
		if err := checkRequestHeader(name, values); err != nil {
			return nil, &HandshakeError{Detail: "DialOptions.Header: " + err.Error()}
		}
		key := http.CanonicalHeaderKey(name)
		h[key] = append(h[key], values...)
	}
	if n := len(h["Host"]); n > 1 {
		return nil, &HandshakeError{Detail: fmt.Sprintf("DialOptions.Header: Host has %d values, where a request has one", n)}
	}
	return h, nil
}

// checkRequestHeader refuses the two headers that are the result of a negotiation, and what cannot be sent.
func checkRequestHeader(name string, values []string) error {
	switch http.CanonicalHeaderKey(name) {
	case "Sec-Websocket-Protocol":
		return errors.New("name subprotocols in Protocols, not in " + handshake.ProtocolHeader)
	case "Sec-Websocket-Extensions":
		return errors.New("configure compression in Compression, not in " + handshake.ExtensionsHeader)
	}
	return handshake.CheckField(name, values)
}

// setClient sets the client to a copy of c that follows redirects to ws and wss, keeps no more of a refusal than Dial returns, and
// has no Timeout: it would cover the body of the answer, and that is our connection.
func (o *clientHandshake) setClient(c *http.Client) {
	if c == nil {
		c = http.DefaultClient
	}
	client := *c
	o.timeout, client.Timeout = c.Timeout, 0
	o.transport = &handshakeTransport{base: c.Transport, key: o.key}
	client.Transport = o.transport
	o.redirects = redirectPolicy{handshake: o, callers: c.CheckRedirect}
	client.CheckRedirect = o.redirects.check
	o.httpClient = &client
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

// request returns the opening handshake of RFC 6455 §4.1.
func (o *clientHandshake) request(ctx context.Context) *http.Request {
	h := o.handshakeHeader()
	for name, values := range o.header {
		if name != "Host" && !handshake.Reserved(name) {
			h[name] = values
		}
	}
	if len(o.protocols) > 0 {
		h[handshake.ProtocolHeader] = []string{strings.Join(o.protocols, ", ")}
	}
	r := &http.Request{Method: http.MethodGet, URL: o.requestURL, Host: o.host, Header: h, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	return r.WithContext(ctx)
}

// handshakeHeader is what every server may know. The values of Connection and Upgrade also make http.Transport use HTTP/1.1, and a
// fresh connection if the one it has to the host is HTTP/2.
func (o *clientHandshake) handshakeHeader() http.Header {
	h := http.Header{
		"Connection":            {"Upgrade"},
		"Upgrade":               {"websocket"},
		handshake.VersionHeader: {handshake.Version},
		handshake.KeyHeader:     {o.key},
	}
	if want := o.opts.Compression.want(); want != nil {
		h[handshake.ExtensionsHeader] = []string{deflate.Offer(*want)}
	}
	return h
}

// requestError says why there was no answer, or none that counts, with the scheme that the caller used and without a password.
func (o *clientHandshake) requestError(resp *http.Response, err error) error {
	if e, ok := err.(*url.Error); ok {
		shown := *e
		shown.URL = o.displayURL(e.URL)
		err = &shown
	}
	if resp != nil { // http.Client: only if a redirect was not to be followed
		return &HandshakeError{StatusCode: resp.StatusCode, Detail: "the redirect was not followed", Err: err}
	}
	return &HandshakeError{Detail: "no answer", Err: err}
}

// shown returns a URL of net/http's as the caller would write it, without a password.
func (o *clientHandshake) displayURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return maskPassword(raw)
	}
	if o.webSocketURL {
		u.Scheme = webSocketScheme(u.Scheme)
	}
	return u.Redacted()
}

// verify checks the response as RFC 6455 §4.1 demands, and returns what the server chose. params is nil without compression.
func (o *clientHandshake) verify(resp *http.Response) (protocol string, params *deflate.Params, err error) {
	h := resp.Header
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return "", nil, fmt.Errorf("expected status 101, but received %s", describeResponse(resp))
	}
	if err := handshake.CheckResponse(h, o.key); err != nil {
		return "", nil, err
	}
	protocols := o.protocols
	if o.redirects.crossedHost { // the last request has offered none
		protocols = nil
	}
	if protocol, err = handshake.ChosenProtocol(h, protocols); err != nil {
		return "", nil, err
	}
	params, err = handshake.ChosenCompression(h, !o.opts.Compression.Disable)
	return protocol, params, err
}

// answerError says what was wrong with an answer.
func responseError(resp *http.Response, err error) error {
	return &HandshakeError{StatusCode: resp.StatusCode, Detail: err.Error()}
}
