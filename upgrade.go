package edgews

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/edgews/edgews/internal/deflate"
	"github.com/edgews/edgews/internal/park"
)

// UpgradeOptions configures Upgrade and Respond. A nil pointer means the zero value, which is recommended and safe.
// A value that can never work is answered with 500 to every request, so that it is found with the first one.
type UpgradeOptions struct {
	Options

	// Protocols are the subprotocols that the server speaks, the preferred one first. The first that the
	// client offers is agreed on; if it offers none of them the socket has none (see [Socket.Protocol]).
	Protocols []string

	// AllowedOrigins are the sites, besides the server's own host, whose pages may connect:
	//
	//	https://example.com        this scheme, host and (default) port
	//	https://example.com:8443   this port
	//	https://*.example.com      every subdomain of any depth, not example.com itself
	//	http://localhost:*         every port
	//	example.com                every scheme, on its default port
	//	null                       sandboxed frames and local files, of anybody
	//	file://                    local files in some web views, of anybody
	//
	// A host may be written in Unicode or in punycode. A wildcard needs a domain that is yours alone: *.com is refused, but no list
	// of public suffixes is consulted, so *.co.uk and *.github.io are not. Beware of null and file://: a page of any site can
	// have the origin null, by a frame with the attribute sandbox, and then connects with the cookies of its visitor.
	AllowedOrigins []string

	// InsecureSkipOriginCheck lets the pages of every site connect, with the cookies of whoever is looking
	// at them. Only for servers that authenticate by something that a foreign page does not have.
	InsecureSkipOriginCheck bool

	// Header is added to the 101 answer, after what is already set on the ResponseWriter. It may not
	// contain headers of the handshake itself.
	Header http.Header
}

// IsUpgrade says whether r asks for a WebSocket, so that one path can serve both pages and sockets. Only the
// Upgrade header counts: a request that asks and gets the rest wrong is for Upgrade to refuse, with the reason.
func IsUpgrade(r *http.Request) bool {
	return lists(r.Header.Values("Upgrade"), "websocket")
}

// Upgrade answers an opening handshake (RFC 6455 §4.2) and returns the server's end, which waits to be accepted:
// add listeners and call Accept, or receive from it. The handler may return at once; neither its return nor the end
// of r.Context ends the socket. Nothing that came behind the request is lost. A socket that has not been accepted after 10 s
// is worth a warning in Options.Logger.
//
// Everything is checked before the connection leaves net/http. What does not pass is answered, 400, 403, 405,
// 426, 429 (see [Meter.SetQuota]) or 505, with a sentence that says why, and Upgrade returns a [*HandshakeError] with the same status: the
// handler only returns. A ResponseWriter that does not give up its connection gets a 500; one that wraps
// another has to have an Unwrap method. After a refusal the connection is closed.
//
// A request with an Origin header, which browsers send, must come from a page of the same host (scheme aside), or
// from one of AllowedOrigins. One without is let in: it is not a browser's.
//
// Headers that were set on w go out with the 101, cookies included. Once WriteHeader, Write or Hijack has been called on w, Upgrade
// returns an error and answers nothing.
//
// The connection belongs to the socket from then on. Closing the [net.Conn] that the server's ConnState or ConnContext has shown does not
// end the socket: on Linux a TCP connection goes on under another file descriptor, and over TLS it is noticed only with the next
// keep-alive. To end sockets from outside keep them, and call Close. To cut connections at any moment, as tests of faults do, have the
// server's Listener return connections of a type of your own that embeds net.Conn: such a connection is used through its methods
// alone, at the price of a goroutine for each, and closing it ends the socket at once.
//
// Deviation: Workers check only the Upgrade header, whose value must be websocket alone, the version and the
// presence of a key. They do not look at Connection and Origin, accept any key and any HTTP version, and let
// the worker answer a subprotocol that was not offered.
func Upgrade(w http.ResponseWriter, r *http.Request, opts *UpgradeOptions) (*Socket, error) {
	c, err := upgrade(w, r, opts)
	if err != nil {
		return nil, err
	}
	s := newSocket(c)
	c.pass.release()
	s.bindToObject(r.Context(), pinAccepted)
	s.warnIfUnaccepted()
	return s, nil
}

// Respond answers an opening handshake with client, an end of a [NewPair]: the connection takes client's place, and
// what the other end sends and receives travels on it. In Workers this is
//
//	return new Response(null, {status: 101, webSocket: client})
//
// The options count, and the handshake goes, as in [Upgrade]. Afterwards client is used up: its methods return
// [ErrUsed]. What the other end sent before goes out right behind the 101.
//
// A client that cannot be used ([ErrNotPair], [ErrAccepted], [ErrUsed]) is answered with 500, and the pair is then as it
// was. After any other error, a refused request or one that could not be answered, nothing can come of the pair: client is
// used up and the other end ends, with an error event that has the *HandshakeError and the close event 1006. A pair whose
// end is never given to Respond goes on, since Respond does not hear of it; but see [State.AcceptWebSocket].
//
// Deviation: Workers find a client that cannot be used only after the 101, and cut the connection. The other end of a pair
// whose response was refused ends there when the garbage collector finds it.
func Respond(w http.ResponseWriter, r *http.Request, client *Socket, opts *UpgradeOptions) error {
	if err := client.attachable(); err != nil {
		return refuse(w, r, &HandshakeError{
			StatusCode: http.StatusInternalServerError,
			Detail:     "the handler's socket cannot be used in a response",
			Err:        err,
		})
	}
	c, err := upgrade(w, r, opts)
	if err != nil {
		client.abandon(err)
		return err
	}
	defer c.pass.release()
	_, err = client.attach(r.Context(), c)
	if err != nil { // somebody was faster
		c.conn.Close()
		return err
	}
	c.pass.release()
	return nil
}

// upgrade is the handshake: check, agree, take the connection over, answer.
func upgrade(w http.ResponseWriter, r *http.Request, opts *UpgradeOptions) (c wireConfig, err error) {
	if opts == nil {
		opts = &UpgradeOptions{Options: defaultOptions(r.Context())}
	}
	if begun := answered(w); begun != nil {
		return wireConfig{}, begun
	}
	if refused := opts.check(r); refused != nil {
		return wireConfig{}, refuse(w, r, refused)
	}
	meter, object := meterFor(r.Context(), opts.Meter)
	var admitted quotaPass
	if object == nil { // or its Stub has asked
		if admitted, err = meter.admit(Usage{Connections: 1}); err != nil {
			return wireConfig{}, refuse(w, r, &HandshakeError{StatusCode: http.StatusTooManyRequests, Detail: quotaExceededText, Err: err})
		}
		defer func() {
			if err != nil {
				admitted.release()
			}
		}()
	}
	o := opts.resolve()
	a := agree(r.Header, opts.Protocols, o.Compression)
	a.addHeader(w.Header())
	a.addHeader(opts.Header)

	conn, buffered, refused := takeOver(w)
	if refused != nil {
		return wireConfig{}, refuse(w, r, refused)
	}
	if err := a.write(conn, o.WriteTimeout); err != nil {
		conn.Close()
		return wireConfig{}, &HandshakeError{Detail: "the answer could not be written", Err: err}
	}
	return wireConfig{
		conn: conn, buffered: buffered, opts: o, meter: meter, object: object, pass: admitted,
		deflate: a.deflate, protocol: a.protocol, extensions: a.extensions,
	}, nil
}

// check returns why r cannot be upgraded with these options, or nil.
func (o *UpgradeOptions) check(r *http.Request) *HandshakeError {
	allowed, err := o.validate()
	if err != nil {
		return &HandshakeError{StatusCode: http.StatusInternalServerError, Detail: err.Error()}
	}
	for _, need := range requirements {
		if refused := need(r); refused != nil {
			return refused
		}
	}
	if o.InsecureSkipOriginCheck {
		return nil
	}
	return checkOrigin(r, allowed)
}

// validate finds the programmer's mistakes.
func (o *UpgradeOptions) validate() ([]originPattern, error) {
	if err := o.Options.check("UpgradeOptions"); err != nil {
		return nil, err
	}
	for _, p := range o.Protocols {
		if !isToken(p) {
			return nil, fmt.Errorf("UpgradeOptions.Protocols: %q is not a token: no spaces and none of ()<>@,;:\\\"/[]?={}", p)
		}
	}
	for name, values := range o.Header {
		if err := validAnswerHeader(name, values); err != nil {
			return nil, err
		}
	}
	return parsePatterns(o.AllowedOrigins)
}

// validAnswerHeader keeps Header away from the handshake, and line breaks out of it: who controls a header's line
// breaks controls the answer.
func validAnswerHeader(name string, values []string) error {
	switch {
	case http.CanonicalHeaderKey(name) == "Sec-Websocket-Protocol":
		return fmt.Errorf("UpgradeOptions.Header: %s is chosen from Protocols", name)
	case isHandshakeHeader(name) || describesBody(name):
		return fmt.Errorf("UpgradeOptions.Header: %s is not for the caller to set in a 101", name)
	}
	if err := checkHeaderField(name, values); err != nil {
		return fmt.Errorf("UpgradeOptions.Header: %w", err)
	}
	return nil
}

// describesBody says whether a header speaks of a body, which a 101 does not have (RFC 9110 §8.6, RFC 9112 §6.1).
func describesBody(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Content-Length", "Content-Encoding", "Transfer-Encoding", "Trailer", "Te", "Keep-Alive":
		return true
	}
	return strings.HasPrefix(name, http.TrailerPrefix)
}

// requirements are the conditions of RFC 6455 §4.2.1. The Host header is net/http's to check.
var requirements = []func(*http.Request) *HandshakeError{
	needHTTP11, needGET, needNoBody, needUpgrade, needConnection, needVersion, needKey, needProtocolTokens,
}

func needHTTP11(r *http.Request) *HandshakeError {
	switch {
	case r.ProtoMajor == 1 && r.ProtoMinor >= 1:
		return nil
	case r.ProtoMajor == 1: // RFC 9110 §7.8: ignore Upgrade in an HTTP/1.0 request
		return refusal(http.StatusBadRequest, "the request is %s, which cannot be upgraded: use HTTP/1.1", r.Proto)
	}
	return refusal(http.StatusHTTPVersionNotSupported, "the request came over %s, on which there is no Upgrade here: use HTTP/1.1", r.Proto)
}

func needGET(r *http.Request) *HandshakeError {
	if r.Method == http.MethodGet {
		return nil
	}
	return refusal(http.StatusMethodNotAllowed, "the method is %.100q: a WebSocket is opened with GET", r.Method)
}

// needNoBody refuses bytes that one side would take for a body and the other for frames.
func needNoBody(r *http.Request) *HandshakeError {
	if r.ContentLength == 0 && len(r.TransferEncoding) == 0 {
		return nil
	}
	return refusal(http.StatusBadRequest, "the request has a body: a WebSocket is opened without one")
}

func needUpgrade(r *http.Request) *HandshakeError {
	if IsUpgrade(r) {
		return nil
	}
	return refusal(http.StatusUpgradeRequired, `this is a WebSocket endpoint: send "Upgrade: websocket", and check that no proxy in between removes it`)
}

func needConnection(r *http.Request) *HandshakeError {
	values := r.Header.Values("Connection")
	if lists(values, "upgrade") {
		return nil
	}
	return refusal(http.StatusBadRequest, `the Connection header is %.100q: it has to contain "Upgrade"; check that no proxy in between removes it`,
		strings.Join(values, ", "))
}

func needVersion(r *http.Request) *HandshakeError {
	values := headerValues(r.Header, headerVersion)
	if slices.Equal(values, []string{wireVersion}) {
		return nil
	}
	return refusal(http.StatusUpgradeRequired, "%s is %.100q: this server speaks version %s", headerVersion, strings.Join(values, ", "), wireVersion)
}

func needKey(r *http.Request) *HandshakeError {
	values := headerValues(r.Header, headerKey)
	if len(values) == 1 && validKey(values[0]) {
		return nil
	}
	return refusal(http.StatusBadRequest, "%s is %.100q: send 16 bytes in base64, once", headerKey, strings.Join(values, ", "))
}

func needProtocolTokens(r *http.Request) *HandshakeError {
	for _, p := range listed(headerValues(r.Header, headerProtocol)) {
		if !isToken(p) {
			return refusal(http.StatusBadRequest, "%s contains %.100q, which is not a token", headerProtocol, p)
		}
	}
	return nil
}

// refusal is a request's fault.
func refusal(status int, format string, args ...any) *HandshakeError {
	return &HandshakeError{StatusCode: status, Detail: fmt.Sprintf(format, args...)}
}

// refuse answers with the status and the detail as plain text, unless there is an answer already, and returns e.
func refuse(w http.ResponseWriter, r *http.Request, e *HandshakeError) error {
	if errors.Is(e, http.ErrHijacked) || answered(w) != nil {
		return e
	}
	closeAfter(w, r)
	switch e.StatusCode {
	case http.StatusMethodNotAllowed: // RFC 9110 §15.5.6
		w.Header().Set("Allow", http.MethodGet)
	case http.StatusTooManyRequests: // RFC 6585 §4
		setRetryAfter(w.Header())
	case http.StatusUpgradeRequired: // RFC 9110 §15.5.22, RFC 6455 §4.4
		w.Header().Set("Upgrade", "websocket")
		w.Header().Add("Connection", "Upgrade")
		w.Header()[headerVersion] = []string{wireVersion}
	}
	http.Error(w, e.Detail, e.StatusCode)
	return e
}

// closeAfter has the connection closed after the answer to r, a request to upgrade that is refused. A proxy that takes the connection
// for a tunnel without having looked for a 101 would otherwise send what is meant for a socket as the next request.
func closeAfter(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 { // over HTTP/2 the connection belongs to others too
		w.Header().Set("Connection", "close")
	}
}

// agreement is what a 101 says.
type agreement struct {
	accept     string
	protocol   string          // "": none
	deflate    *deflate.Params // nil: no compression
	extensions string          // deflate in words
	header     http.Header     // what else it carries; nil: nothing
}

// agree chooses from what the client offers (RFC 6455 §4.2.2, RFC 7692 §5).
func agree(h http.Header, protocols []string, c *Compression) *agreement {
	a := &agreement{accept: acceptFor(headerValues(h, headerKey)[0])}
	offered := listed(headerValues(h, headerProtocol))
	if i := slices.IndexFunc(protocols, func(p string) bool { return slices.Contains(offered, p) }); i >= 0 {
		a.protocol = protocols[i]
	}
	if c.Disable {
		return a
	}
	if params, ok := deflate.Accept(headerValues(h, headerExtensions), c.want()); ok {
		a.deflate, a.extensions = &params, params.String()
	}
	return a
}

// addHeader adds h to the answer, except for what would break it. Middleware sets headers without knowing
// that this answer is a 101, so what does not fit is left out without a word.
func (a *agreement) addHeader(h http.Header) {
	for name, values := range h {
		if !isHandshakeHeader(name) && !describesBody(name) {
			if a.header == nil {
				a.header = make(http.Header)
			}
			a.header[name] = append(a.header[name], values...)
		}
	}
}

// write sends the 101 in one piece. Even a socket without a write timeout does not wait for ever here: the
// caller is a handler.
func (a *agreement) write(conn net.Conn, timeout time.Duration) error {
	answer := a.bytes()
	n, err := park.TryWrite(conn, answer) // there is room, except in a test: no need for a timer
	if err != park.ErrWouldBlock {
		return err
	}
	if timeout < 0 {
		timeout = defaultWriteTimeout
	}
	_ = conn.SetWriteDeadline(time.Now().Add(timeout))
	late := time.AfterFunc(timeout+drainGrace, func() { conn.Close() }) // if the deadline does nothing
	_, err = conn.Write(answer[n:])
	if !late.Stop() && err == nil {
		err = os.ErrDeadlineExceeded
	}
	_ = conn.SetWriteDeadline(time.Time{})
	return err
}

// bytes returns the answer as it travels.
func (a *agreement) bytes() []byte {
	b := make([]byte, 0, 256)
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"...)
	b = appendHeader(b, headerAccept, a.accept)
	b = appendHeader(b, headerProtocol, a.protocol)
	b = appendHeader(b, headerExtensions, a.extensions)
	if len(a.header) > 0 {
		var more bytes.Buffer
		a.header.Write(&more) // takes line breaks out of values
		b = append(b, more.Bytes()...)
	}
	return append(b, "\r\n"...)
}

// appendHeader leaves out what is empty.
func appendHeader(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(append(b, name...), ": "...)
	return append(append(b, value...), "\r\n"...)
}
