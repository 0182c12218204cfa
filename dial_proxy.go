package edgews

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// http.Transport asks a proxy for a tunnel only for https. It sends a request for http to the proxy itself, with GET, and most proxies
// then answer without passing the Upgrade on. RFC 6455 §4.1 requires CONNECT in both cases.

// roundTripper returns what makes the request r: the client's RoundTripper, or a copy of its http.Transport that uses a tunnel.
func (a *handshakeTransport) roundTripper(r *http.Request) (http.RoundTripper, error) {
	base := a.base
	if base == nil {
		base = http.DefaultTransport
	}
	t, ok := base.(*http.Transport)
	if !ok || r.URL.Scheme != "http" || t.Proxy == nil {
		return base, nil
	}
	proxy, err := t.Proxy(r)
	if err != nil || proxy == nil || proxy.Scheme != "http" && proxy.Scheme != "https" {
		return base, err // a SOCKS proxy always tunnels
	}
	return (&proxyTunnel{t, proxy}).transport(), nil
}

// proxyTunnel opens connections through an HTTP proxy.
type proxyTunnel struct {
	client *http.Transport // of DialOptions.HTTPClient
	proxy  *url.URL
}

const (
	tunnelTimeout    = time.Minute // for connecting to the proxy and for its response, as in net/http
	maxProxyResponse = 64 << 10    // bytes of the head of its response
)

// transport returns a copy of the client's transport for one request through the tunnel.
func (n *proxyTunnel) transport() *http.Transport {
	c := n.client.Clone()
	c.Proxy, c.DialContext = nil, n.dialContext
	c.DisableKeepAlives = true // the copy is used once and must not keep idle connections
	return c
}

// dialContext opens a tunnel to addr.
func (n *proxyTunnel) dialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := n.open(ctx, network, addr)
	if err != nil {
		return nil, &net.OpError{Op: "proxyconnect", Net: network, Err: fmt.Errorf("%s: %w", n.proxy.Redacted(), err)}
	}
	return conn, nil
}

func (n *proxyTunnel) open(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, tunnelTimeout)
	defer cancel()
	conn, err := n.dialProxy(ctx, network)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err = n.connect(ctx, conn, addr)
	if !stop() {
		err = cmp.Or(ctx.Err(), err)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// dialProxy connects to the proxy as the client's transport would.
func (n *proxyTunnel) dialProxy(ctx context.Context, network string) (net.Conn, error) {
	addr := net.JoinHostPort(n.proxy.Hostname(), portOf(n.proxy))
	secure := n.proxy.Scheme == "https"
	if secure && n.client.DialTLSContext != nil {
		return n.client.DialTLSContext(ctx, network, addr)
	}
	conn, err := n.dialPlain(ctx, network, addr)
	if err != nil || !secure {
		return conn, err
	}
	config := new(tls.Config)
	if n.client.TLSClientConfig != nil {
		config = n.client.TLSClientConfig.Clone()
	}
	config.ServerName = cmp.Or(config.ServerName, n.proxy.Hostname())
	config.NextProtos = nil // CONNECT is sent with HTTP/1.1
	if n.client.TLSHandshakeTimeout > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, n.client.TLSHandshakeTimeout)
		defer cancel()
	}
	c := tls.Client(conn, config)
	if err := c.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (n *proxyTunnel) dialPlain(ctx context.Context, network, addr string) (net.Conn, error) {
	dial := n.client.Dial //lint:ignore SA1019 the client may use the deprecated field
	switch {
	case n.client.DialContext != nil:
		return n.client.DialContext(ctx, network, addr)
	case dial != nil:
		return dial(network, addr)
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// connect asks the proxy on conn for a tunnel to addr.
func (n *proxyTunnel) connect(ctx context.Context, conn net.Conn, addr string) error {
	h, err := n.header(ctx, addr)
	if err != nil {
		return err
	}
	r := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: h}
	if err := r.Write(conn); err != nil {
		return err
	}
	reader := bufio.NewReader(io.LimitReader(conn, maxProxyResponse))
	resp, err := http.ReadResponse(reader, r)
	if err != nil {
		return fmt.Errorf("no answer to CONNECT %s: %w", addr, err)
	}
	if n.client.OnProxyConnectResponse != nil {
		if err := n.client.OnProxyConnectResponse(ctx, n.proxy, r, resp); err != nil {
			return err
		}
	}
	switch {
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("CONNECT %s was answered with %d %s: the proxy has to allow tunnels to that port", addr, resp.StatusCode, http.StatusText(resp.StatusCode))
	case reader.Buffered() > 0:
		return errors.New("the proxy has sent more than its answer to CONNECT")
	}
	return nil
}

// header returns the header of the CONNECT request.
func (n *proxyTunnel) header(ctx context.Context, addr string) (h http.Header, err error) {
	h = n.client.ProxyConnectHeader.Clone()
	if n.client.GetProxyConnectHeader != nil {
		h, err = n.client.GetProxyConnectHeader(ctx, n.proxy, addr)
		h = h.Clone()
	}
	if h == nil {
		h = make(http.Header)
	}
	if u := n.proxy.User; u != nil {
		password, _ := u.Password()
		h.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)))
	}
	return h, err
}
