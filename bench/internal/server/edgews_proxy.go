package server

import (
	"net"

	"github.com/edgews/edgews"
)

// serveEdgewsProxy forwards with edgews.Proxy, which moves bytes and does not parse frames.
func serveEdgewsProxy(l net.Listener, c Config) error {
	return serveHTTP(l, edgews.Proxy("http://"+c.Upstream, nil).ServeHTTP)
}
