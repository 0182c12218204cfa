package server

import (
	"net"
	"net/http/httputil"
	"net/url"
)

// serveReverseProxy forwards with the proxy of the standard library. It copies bytes and does not parse frames.
func serveReverseProxy(l net.Listener, c Config) error {
	target := &url.URL{Scheme: "http", Host: c.Upstream}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.SetXForwarded()
	}}
	return serveHTTP(l, proxy.ServeHTTP)
}
