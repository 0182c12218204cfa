// Package dialh2 opens WebSockets over HTTP/2 (RFC 8441): many sockets to a server share one connection. It has a [Transport] for the
// HTTPClient of edgews.DialOptions, so Dial, Reconnect and Proxy use it with all their other options:
//
//	client := &http.Client{Transport: new(dialh2.Transport)}
//	s, _, err := edgews.Dial(ctx, "wss://example.com/ws", &edgews.DialOptions{HTTPClient: client})
//
// Keep the Transport, as any other: it has the connections.
//
// It is a module of its own because it needs golang.org/x/net: net/http's own client has no extended CONNECT.
package dialh2

import (
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
)

// Transport is an http.RoundTripper for opening handshakes over HTTP/2. It makes a request with Upgrade: websocket an extended CONNECT, and
// the answer, a status of 200 to 299, a 101 whose body is the stream. Other requests, and other responses, it passes on unchanged, so that
// redirects and refusals work as over HTTP/1.1. The zero value is ready for use. A Transport must not be copied, its fields must not be
// changed after the first request, and its methods may be called from any goroutine.
//
// The body of a 101 is a net.Conn. Its addresses are those of the connection. It has write deadlines, and no read deadlines
// (os.ErrNoDeadline). Its CloseWrite sends END_STREAM; Close resets a stream that has not ended in both directions with CANCEL. A stream that
// the server has reset is an error of Read, which makes an edgews socket end with 1006. A GOAWAY of the server does not end the streams
// that are open; new sockets use a new connection.
//
// A stream that is not read holds up no other stream of the connection: it takes 4 MiB from the server at most, and then the server has to wait.
// For each socket the transport keeps a buffer of 16 KiB.
//
// There are no proxies. The URL's scheme says whether the connection has TLS: ws and http have none, and the server has to know that it gets
// HTTP/2 (prior knowledge, RFC 9113 §3.3).
type Transport struct {
	// TLSClientConfig is used for wss and https; nil means the default. It is not changed.
	TLSClientConfig *tls.Config

	// DialContext connects, and TLS is added for wss and https; nil means a net.Dialer.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// HTTP2 has limits and time-outs of the connections; nil means the defaults. A connection whose server has vanished without a word is
	// noticed with SendPingTimeout, or by the sockets themselves (edgews.Options.KeepAlive). The fields for servers, the two buffers
	// and PermitProhibitedCipherSuites have no effect.
	HTTP2 *http.HTTP2Config

	// Fallback makes the requests to servers that do not speak HTTP/2 or have no extended CONNECT, such as http.DefaultTransport; browsers
	// do the same. If it is nil, such a request fails.
	Fallback http.RoundTripper

	once       sync.Once
	tls, plain pooled // with and without TLS; made by init
}

// pooled makes requests on connections that it keeps.
type pooled interface {
	http.RoundTripper
	CloseIdleConnections()
}

// CloseIdleConnections closes the connections that have no streams.
func (t *Transport) CloseIdleConnections() {
	t.once.Do(t.init)
	t.tls.CloseIdleConnections()
	t.plain.CloseIdleConnections()
}

// RoundTrip implements http.RoundTripper. The context of r has to last for as long as the stream: its end resets the stream. edgews.Dial sees to
// that.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.once.Do(t.init)
	base := t.tls
	if r.URL.Scheme == "http" {
		base = t.plain
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return base.RoundTrip(r)
	}
	s := newStream()
	resp, err := base.RoundTrip(connectRequest(r, s))
	switch {
	case err != nil:
		_ = s.Close()
		if s.metOtherProtocol() { // package http2 says only that there is no connection
			err = errNoHTTP2
		}
		if t.Fallback != nil && lacksExtendedConnect(err) {
			return t.Fallback.RoundTrip(r)
		}
		if cause := context.Cause(r.Context()); cause != nil { // package http2 says only that it was cancelled
			err = cause
		}
		return nil, fmt.Errorf("dialh2: %w", err)
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		_ = s.Close()
		resp.Request = r
		return resp, nil
	}
	s.response = resp.Body
	return switched(r, resp, s), nil
}

// connectRequest returns the extended CONNECT that corresponds to r (RFC 8441 §5). s is its body.
func connectRequest(r *http.Request, s *stream) *http.Request {
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { s.setConn(info.Conn) }}
	connect := r.Clone(httptrace.WithClientTrace(r.Context(), trace))
	connect.Method, connect.Body, connect.ContentLength = http.MethodConnect, s.request, -1
	for name := range connect.Header {
		switch http.CanonicalHeaderKey(name) {
		case "Connection", "Upgrade", "Sec-Websocket-Key":
			delete(connect.Header, name)
		}
	}
	connect.Header[":protocol"] = []string{"websocket"}
	return connect
}

// switched returns the 101 that corresponds to resp, the response to an extended CONNECT.
func switched(r *http.Request, resp *http.Response, body io.ReadWriteCloser) *http.Response {
	h := resp.Header.Clone()
	h.Set("Upgrade", "websocket")
	h.Set("Connection", "Upgrade")
	h.Set("Sec-Websocket-Accept", acceptFor(keyOf(r.Header)))
	return &http.Response{
		Status: "101 Switching Protocols", StatusCode: http.StatusSwitchingProtocols,
		Proto: resp.Proto, ProtoMajor: resp.ProtoMajor, ProtoMinor: resp.ProtoMinor,
		Header: h, Body: body, Request: r, TLS: resp.TLS,
	}
}

// keyOf returns Sec-WebSocket-Key, in the spelling of RFC 6455 or of net/http.
func keyOf(h http.Header) string {
	for name, values := range h {
		if http.CanonicalHeaderKey(name) == "Sec-Websocket-Key" && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

// acceptFor returns the Sec-WebSocket-Accept that answers key (RFC 6455 §4.2.2). An HTTP/2 server sends none.
func acceptFor(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// errNoHTTP2: the server has chosen another protocol, or none.
var errNoHTTP2 = errors.New("the server does not speak HTTP/2")

// lacksExtendedConnect reports whether err says that the server has no HTTP/2, or no extended CONNECT, whose error package http2 does not export.
func lacksExtendedConnect(err error) bool {
	return errors.Is(err, errNoHTTP2) || strings.Contains(err.Error(), "extended connect not supported")
}
