package server

import (
	"context"
	"net"
	"net/http"

	"github.com/edgews/edgews"
)

// serveEdgewsRelay parses each message and sends it on, with edgews.Relay.
func serveEdgewsRelay(l net.Listener, c Config) error {
	plain := &edgews.DialOptions{} // as the client: it does not offer compression
	plain.Compression = &edgews.Compression{Disable: true}
	return serveHTTP(l, func(w http.ResponseWriter, r *http.Request) {
		upstream, _, err := edgews.Dial(r.Context(), "ws://"+c.Upstream+r.URL.RequestURI(), plain)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		s, err := edgews.Upgrade(w, r, nil)
		if err != nil {
			_ = upstream.Close(edgews.StatusGoingAway, "")
			return
		}
		go edgews.Relay(context.Background(), s, upstream)
	})
}
