package edgews

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"github.com/edgews/edgews/internal/handshake"
	"github.com/edgews/edgews/internal/header"
)

// forwardedHeaders are what a proxy says about the client. The client's own are dropped: a client could claim anything.
var forwardedHeaders = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}

// outgoing returns the request to the target for r, a handshake, and its Sec-WebSocket-Key.
func (p *proxy) outgoing(r *http.Request) (out *http.Request, key string) {
	out = r.Clone(r.Context())
	out.Close, out.RequestURI = false, ""
	if out.Header == nil {
		out.Header = make(http.Header)
	}
	removeHopByHop(out.Header)
	for _, name := range forwardedHeaders {
		out.Header.Del(name)
	}
	rewritten := &httputil.ProxyRequest{In: r, Out: out}
	p.rewriteRequest(rewritten)
	out = rewritten.Out
	out.Body, out.ContentLength = nil, 0
	out.Method, out.Proto, out.ProtoMajor, out.ProtoMinor = http.MethodGet, "HTTP/1.1", 1, 1 // r may have come over HTTP/2
	if out.URL.Scheme = httpScheme(out.URL.Scheme); out.Header["User-Agent"] == nil {
		out.Header["User-Agent"] = []string{""} // net/http would send its own
	}
	if key = r.Header.Get(handshake.KeyHeader); key == "" { // over HTTP/2 (RFC 8441 §5)
		key = handshake.NewKey()
	}
	addHandshake(out.Header, key)
	return out, key
}

// rewritePlain is the Rewrite of the httputil.ReverseProxy, which has removed the headers that outgoing removes, and what it cannot parse of
// the query.
func (p *proxy) rewritePlain(r *httputil.ProxyRequest) {
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	p.rewriteRequest(r)
	r.Out.URL.Scheme = httpScheme(r.Out.URL.Scheme)
}

// rewriteRequest calls the program's Rewrite, and adds what it has left out. Of the URL of a request, the path and the query are passed on:
// "GET a:http://elsewhere/admin" has an Opaque, with which a client could choose the Host and the whole path.
func (p *proxy) rewriteRequest(r *httputil.ProxyRequest) {
	r.Out.Host = ""
	r.Out.URL.Scheme, r.Out.URL.Opaque, r.Out.URL.User, r.Out.URL.Host = "", "", nil, ""
	if p.rewrite != nil {
		p.rewrite(r)
	}
	if r.Out.Header == nil {
		r.Out.Header = make(http.Header)
	}
	if r.Out.URL == nil {
		r.Out.URL = new(url.URL)
	}
	if r.Out.URL.Host == "" {
		host := r.Out.Host
		r.SetURL(p.target)
		r.Out.Host = host
		p.authorize(r.Out)
	}
	said := make(http.Header)
	for _, name := range forwardedHeaders {
		if values, ok := r.Out.Header[name]; ok {
			said[name] = values
			delete(r.Out.Header, name)
		}
	}
	r.SetXForwarded()
	maps.Copy(r.Out.Header, said)
}

// authorize adds the user name and password of the target's URL, unless out has an Authorization header.
func (p *proxy) authorize(out *http.Request) {
	if u := p.target.User; u != nil && out.Header["Authorization"] == nil {
		password, _ := u.Password()
		out.SetBasicAuth(u.Username(), password)
	}
}

// hopByHop are the headers of one connection (RFC 9110 §7.6.1), with those that proxies use without a standard.
var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	":protocol", // of an extended CONNECT (RFC 8441 §4)
}

// removeHopByHop removes the headers that are for one connection, also those that Connection names.
func removeHopByHop(h http.Header) {
	for name := range header.Elements(h.Values("Connection")) {
		if !strings.HasPrefix(http.CanonicalHeaderKey(name), "Sec-Websocket-") {
			h.Del(name)
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

// addHandshake adds the headers of a handshake to those that pass from the client to the target, spelled as in RFC 6455.
func addHandshake(h http.Header, key string) {
	for _, name := range []string{handshake.ProtocolHeader, handshake.ExtensionsHeader} {
		values := handshake.Values(h, name)
		h.Del(name)
		if len(values) > 0 {
			h[name] = values
		}
	}
	h.Del(handshake.VersionHeader)
	h.Del(handshake.KeyHeader)
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	h[handshake.VersionHeader], h[handshake.KeyHeader] = []string{handshake.Version}, []string{key}
}

// checkStatus returns why the status of a target's response cannot be passed on, or nil. http.Transport returns any three digits, and
// ResponseWriter.WriteHeader panics with some of them.
func checkStatus(resp *http.Response) error {
	if code := resp.StatusCode; code != http.StatusSwitchingProtocols && (code < 200 || code > 999) {
		return fmt.Errorf("edgews: expected a status of a response, but received %d", code)
	}
	return nil
}

// maxProxiedBody is how many bytes of the body of a target's refusal the client gets.
const maxProxiedBody = 64 << 10

// passRefusal answers r with a target's response other than 101.
func passRefusal(w http.ResponseWriter, r *http.Request, resp *http.Response) {
	removeHopByHop(resp.Header)
	resp.Header.Del("Content-Length") // the body may have been cut; net/http adds the length of a short one
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	closeAfter(w, r)
	if resp.StatusCode == http.StatusUpgradeRequired && r.ProtoMajor == 1 { // RFC 9110 §15.5.22
		w.Header().Set("Upgrade", "websocket")
		w.Header().Add("Connection", "Upgrade")
	}
	w.WriteHeader(resp.StatusCode)
	if body, ok := resp.Body.(*savedBody); ok {
		_, _ = w.Write(body.content)
	}
}
