package edgews

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"github.com/edgews/edgews/internal/handshake"
)

// setClient sets httpClient to a copy of c that follows redirects to ws and wss and reads no more of a refusal's body than Dial returns.
// The copy has no Timeout, because net/http would apply it to the body of the response, which is the connection.
func (hs *clientHandshake) setClient(c *http.Client) {
	if c == nil {
		c = http.DefaultClient
	}
	client := *c
	hs.timeout, client.Timeout = c.Timeout, 0
	hs.transport = &handshakeTransport{base: c.Transport, key: hs.key, bodyLimit: maxSavedBody}
	client.Transport = hs.transport
	hs.redirects = redirectPolicy{handshake: hs, callers: c.CheckRedirect}
	client.CheckRedirect = hs.redirects.check
	hs.httpClient = &client
}

// handshakeContext returns a context that ends with ctx and after timeout, if that is not 0. detach ends the dependence: a context that
// has not ended by then never ends, because a RoundTripper may watch the context of its request for as long as the body is in
// use. detach returns why the context has ended, or nil.
func handshakeContext(ctx context.Context, timeout time.Duration) (handshake context.Context, detach func() error) {
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

// handshakeTransport makes the requests of one handshake, the first and those that redirects lead to, one after the other.
type handshakeTransport struct {
	base      http.RoundTripper // nil: http.DefaultTransport
	key       string            // Sec-WebSocket-Key
	bodyLimit int               // bytes that are read of the body of a response other than 101
	trace     *connTrace        // of the last request
}

// RoundTrip implements http.RoundTripper. The body of a response other than 101 is replaced by its beginning, so that neither http.Client,
// which reads the body of a redirect, nor the caller waits for the rest.
func (a *handshakeTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	base, err := a.roundTripper(r)
	if err != nil {
		return nil, err
	}
	a.trace = &connTrace{key: a.key}
	resp, err := base.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), a.trace.hooks())))
	if err != nil || resp == nil { // http.Client says that nil is none
		return resp, err
	}
	resp.Request = r
	if resp.Body == nil { // a RoundTripper of the program's own may leave it out
		resp.Body = http.NoBody
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		saveBody(r.Context(), resp, a.bodyLimit)
	}
	return resp, nil
}

// conn returns the connection that the last request has used, or nil if that is uncertain.
func (a *handshakeTransport) conn() net.Conn {
	if a.trace == nil {
		return nil
	}
	return a.trace.singleConn()
}

// connTrace learns from httptrace which connection carried a request. A RoundTripper may make other requests with the same context, for
// hedging or telemetry. httptrace then does not say which connection belongs to which request, and connTrace has no result.
type connTrace struct {
	key string // Sec-WebSocket-Key of the request

	mu sync.Mutex
	// Guarded by mu.
	conn         net.Conn // the last that was used
	severalConns bool     // more than one was used
	keySent      bool     // key was sent
}

func (t *connTrace) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{GotConn: t.gotConn, WroteHeaderField: t.wroteHeaderField}
}

func (t *connTrace) gotConn(info httptrace.GotConnInfo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.severalConns = t.severalConns || t.conn != nil && t.conn != info.Conn
	t.conn = info.Conn
}

func (t *connTrace) wroteHeaderField(name string, values []string) {
	if name != handshake.KeyHeader || len(values) != 1 || values[0] != t.key {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keySent = true
}

// singleConn returns the connection if only one was used and the request was sent on it. Otherwise it returns nil.
func (t *connTrace) singleConn() net.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.severalConns || !t.keySent {
		return nil
	}
	return t.conn
}
