package edgews

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/edgews/edgews/internal/handshake"
	"github.com/edgews/edgews/internal/tunnel"
)

// ProxyOptions configures Proxy. A nil pointer means the zero value, which is recommended and safe. An invalid value makes the proxy answer
// every request with 500, so that the first request shows the mistake.
type ProxyOptions struct {
	// Options: CloseTimeout, WriteTimeout, Observer and Logger apply, and Meter unless it is set below. The others are about messages, which a
	// proxy does not look at.
	Options

	// Rewrite changes the request to the target, as [httputil.ReverseProxy.Rewrite] does. It may change the path, the query, the headers
	// and, with SetURL, the target. The target's URL is applied afterwards, unless Out.URL has a host then. Out has no hop-by-hop headers,
	// none of the Forwarded and X-Forwarded headers of the client, and an empty Host; the proxy adds the headers of the handshake after
	// Rewrite, and X-Forwarded-For, -Host and -Proto, except those that Out.Header contains, which may be nil to send none. nil changes nothing.
	//
	// The target's host is sent as Host. A target that compares Origin with Host needs the client's:
	//
	//	Rewrite: func(r *httputil.ProxyRequest) { r.Out.Host = r.In.Host }
	Rewrite func(*httputil.ProxyRequest)

	// HTTPClient connects to the target; nil means [http.DefaultClient]. Of its fields Transport and Timeout are used; Timeout bounds the
	// handshake with the target, which has 30 s without it. Redirects are not followed: the client gets them.
	HTTPClient *http.Client

	// IdleTimeout resets connections on which no byte has moved for so long, at most 24 days; 0: never. Neither side needs it to notice that the other
	// one is lost: TCP keep-alive is on, as by default in Go, and the WebSocket pings of each side pass through.
	IdleTimeout time.Duration

	// Meter counts a proxied WebSocket as one connection, whatever it carries and for however long: a Worker that returns an untouched
	// response is billed for the request alone. The record of it is FactPassThrough. Other requests do not count.
	Meter *Meter
}

// Proxy returns a handler that passes requests on to target, which is a URL with the scheme ws, wss, http or https. In Workers this is
//
//	return fetch(target + url.pathname + url.search, request)
//
// A WebSocket is passed through: the target answers the handshake, with its own subprotocol, extensions, cookies and other headers, and
// from then on bytes move both ways as they are, pings and Closes included. If the target refuses, the client gets its status, its
// headers and the first 64 KiB of its body. A target that cannot be reached is answered with 502, or 504 after a time-out. All other
// requests are passed on with an [httputil.ReverseProxy].
//
// The path of the request is appended to that of target, and the query is kept; see ProxyOptions.Rewrite. Dot segments are passed on as they
// are, unless an [http.ServeMux] has removed them: a target must not rely on the path of its URL to hide others. A user name and password
// in target are sent as basic authorization, with requests that have no Authorization header. The proxy does not check the Origin header,
// which the target gets: the target decides which sites may connect.
//
// Between TCP connections on Linux, an idle WebSocket has no goroutine and no buffer, and large amounts move by splice(2). The end of one
// side is passed on as it is: the end of the stream as one, for which the other side has CloseTimeout, and a reset as a reset. If one side
// takes nothing for WriteTimeout, both are reset; until then at most 64 KiB for it are in the process, or 256 KiB in the kernel.
//
// The handler returns as soon as the WebSocket is open; over HTTP/2 it returns at its end, unless edgewsh2.Handler waits for that. To end
// proxied connections with the server, end the process: [http.Server.Shutdown] knows neither these nor other connections that have been
// taken over.
//
// To look at messages, or to change them, use [Dial], [Upgrade] and [Relay].
func Proxy(target string, opts *ProxyOptions) http.Handler {
	if opts == nil {
		opts = new(ProxyOptions)
	}
	p := &proxy{rewrite: opts.Rewrite, meter: cmp.Or(opts.Meter, opts.Options.Meter)}
	p.target, p.err = parseURL(target, "ws", "wss", "http", "https")
	if p.err == nil {
		p.err = opts.Options.validate("ProxyOptions")
	}
	if p.err != nil {
		return p
	}
	p.opts, p.logger = opts.Options.resolve(), opts.Logger
	if p.logger == nil {
		p.logger = slog.New(slog.DiscardHandler)
	}
	client := opts.HTTPClient
	if client == nil {
		client = http.DefaultClient
	}
	p.transport, p.timeout = client.Transport, cmp.Or(client.Timeout, connectTimeout)
	p.tunnel = newTunnelOptions(p.opts, opts.IdleTimeout)
	p.plain = &httputil.ReverseProxy{
		Rewrite: p.rewritePlain, Transport: p.transport, ModifyResponse: checkStatus, ErrorHandler: p.connectFailed, FlushInterval: -1,
	}
	return p
}

// proxy is the handler of Proxy. Its fields are immutable.
type proxy struct {
	err       error // why the arguments of Proxy are invalid
	target    *url.URL
	rewrite   func(*httputil.ProxyRequest)
	transport http.RoundTripper // nil: http.DefaultTransport
	timeout   time.Duration     // of the handshake with the target
	opts      *Options
	logger    *slog.Logger
	meter     *Meter
	tunnel    *tunnel.Options
	plain     *httputil.ReverseProxy // for requests that are no handshakes
}

// ServeHTTP implements http.Handler.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case p.err != nil:
		http.Error(w, p.err.Error(), http.StatusInternalServerError)
	case IsUpgrade(r):
		r, returned := keepStream(r)
		defer returned()
		p.passThrough(w, r)
	default:
		p.plain.ServeHTTP(w, r)
	}
}

// passThrough answers a handshake as the target does, and forwards the bytes of the connection.
func (p *proxy) passThrough(w http.ResponseWriter, r *http.Request) {
	if handshake.CheckUnanswered(w) != nil {
		return
	}
	if refused := handshake.CheckRequest(r); refused != nil {
		p.opts.tellRefusal(r, refuse(w, r, refusalError(refused)))
		return
	}
	a, err := admitUpgrade(w, r, p.meter, nil)
	if err != nil {
		p.opts.tellRefusal(r, err)
		return
	}
	opened := false
	defer func() {
		a.pass.release()
		if !opened {
			a.places.release()
		}
	}()
	up, err := p.connect(r)
	if ended := context.Cause(r.Context()); ended != nil && err == nil {
		up.close()
		err = ended
	}
	switch {
	case err != nil:
		p.connectFailed(w, r, err)
	case up.conn == nil:
		p.opts.tellTargetRefusal(r, up.response.StatusCode, &HandshakeError{StatusCode: up.response.StatusCode, Detail: "the target of the proxy has refused"})
		passRefusal(w, r, up.response)
	default:
		opened = p.open(w, r, a, up)
	}
}

// upstream is the target's answer to a handshake.
type upstream struct {
	response *http.Response
	conn     net.Conn // nil: the target has refused
	buffered []byte   // what has arrived behind the response
}

func (up *upstream) close() {
	if up.conn != nil {
		_ = up.conn.Close()
	}
}

// connect performs the handshake of r with the target.
func (p *proxy) connect(r *http.Request) (*upstream, error) {
	ctx, detach := handshakeContext(r.Context(), p.timeout)
	defer detach()
	out, key := p.outgoing(r.WithContext(ctx))
	transport := &handshakeTransport{base: p.transport, key: key, bodyLimit: maxProxiedBody}
	resp, err := transport.RoundTrip(out)
	switch {
	case err != nil:
		return nil, err
	case resp == nil:
		return nil, errors.New("edgews: the RoundTripper has returned neither a response nor an error")
	case resp.StatusCode != http.StatusSwitchingProtocols:
		return &upstream{response: resp}, checkStatus(resp)
	}
	if err := cmp.Or(handshake.CheckResponse(resp.Header, key), handshake.CheckPassOn(out.Header, resp.Header)); err != nil {
		discardResponse(resp)
		return nil, err
	}
	conn, buffered, err := handshake.Adopt(resp, transport.conn())
	if err != nil {
		return nil, err
	}
	if err := detach(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &upstream{resp, conn, buffered}, nil
}

// open answers r as the target did, and starts to forward. It reports whether it has: then the end of the connection releases the places.
func (p *proxy) open(w http.ResponseWriter, r *http.Request, a admission, up *upstream) bool {
	removeHopByHop(up.response.Header)
	resp := handshake.PassOn(r.Header, up.response.Header)
	resp.AddHeader(w.Header())
	conn, buffered, err := switchProtocols(w, r, resp, p.opts.WriteTimeout)
	if err != nil {
		up.close()
		p.opts.tellRefusal(r, err)
		p.logger.Warn("edgews: proxy: the client could not be answered", "error", err, requestLogAttr(r))
		return false
	}
	a.countPassThrough()
	if asked, ok := conn.(*connectConn); ok {
		protocol := up.response.Header.Get(handshake.ProtocolHeader)
		cfg := wireConfig{conn: up.conn, buffered: up.buffered, client: true, opts: p.opts, url: r.URL.String(), protocol: protocol}
		return asked.giveConn(cfg, a.places) == nil
	}
	t := a.places.releasedBy(loggedTunnel(p.tunnel, p.logger, r))
	head := up.response.Header
	t = observePassThrough(t, p.opts.Observer, p.opts, r, conn, head.Get(handshake.ProtocolHeader), strings.Join(head.Values(handshake.ExtensionsHeader), ", "))
	tunnel.Start(conn, up.conn, buffered, up.buffered, t)
	return true
}

// connectFailed answers r after the target could not be asked. What went wrong is for the log: it may contain addresses of the target's
// network.
func (p *proxy) connectFailed(w http.ResponseWriter, r *http.Request, err error) {
	level := slog.LevelWarn
	if errors.Is(r.Context().Err(), context.Canceled) { // mostly because the client has gone
		level = slog.LevelDebug
	}
	p.logger.Log(r.Context(), level, "edgews: proxy: no answer from the target", "target", p.target.Redacted(), "error", err, requestLogAttr(r))
	e := &HandshakeError{StatusCode: http.StatusBadGateway, Detail: "the target of the proxy could not be reached", Err: err}
	if isTimeout(err) {
		e.StatusCode, e.Detail = http.StatusGatewayTimeout, "the target of the proxy did not answer in time"
	}
	if IsUpgrade(r) {
		p.opts.tellTargetRefusal(r, e.StatusCode, e)
	}
	_ = refuse(w, r, e)
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || ok && timeout.Timeout()
}
