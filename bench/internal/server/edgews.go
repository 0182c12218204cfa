package server

import (
	"context"
	"net"
	"net/http"

	"github.com/edgews/edgews"
)

// serveEdgews upgrades the connections of net/http.
func serveEdgews(l net.Listener, c Config) error { return serveHTTP(l, edgewsHandler(c)) }

// serveEdgewsServe reads the requests from the event loop.
func serveEdgewsServe(l net.Listener, c Config) error {
	return edgews.Serve(l, &http.Server{Handler: edgewsHandler(c)})
}

func edgewsHandler(c Config) http.HandlerFunc { return edgewsHandlerWith(c, edgewsOptions(c)) }

func edgewsHandlerWith(c Config, opts *edgews.UpgradeOptions) http.HandlerFunc {
	listen := edgewsEcho
	switch {
	case c.Work == Broadcast:
		listen = edgewsBroadcast(edgews.NewHub(nil))
	case c.Work.mixed():
		listen = edgewsMixed(c.Work)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, opts)
		if err != nil {
			return
		}
		listen(s)
		_ = s.Accept()
	}
}

func edgewsOptions(c Config) *edgews.UpgradeOptions {
	alone := c.Deflate == Reset
	opts := &edgews.UpgradeOptions{}
	opts.Compression = &edgews.Compression{Level: c.Level, NoContextTakeover: alone, PeerNoContextTakeover: alone}
	return opts
}

func edgewsEcho(s *edgews.Socket) {
	s.OnMessage(func(e edgews.MessageEvent) {
		_ = e.Target.Write(context.Background(), e.Kind, e.Data)
	})
}

func edgewsMixed(w Work) func(*edgews.Socket) {
	return func(s *edgews.Socket) {
		s.OnMessage(func(e edgews.MessageEvent) {
			if w.answers(e.Kind == edgews.Text) {
				_ = e.Target.Write(context.Background(), e.Kind, e.Data)
			}
		})
	}
}

func edgewsBroadcast(all *edgews.Hub) func(*edgews.Socket) {
	return func(s *edgews.Socket) {
		_ = all.Add(s)
		s.OnMessage(func(e edgews.MessageEvent) { all.Broadcast(edgews.Prepare(e.Kind, e.Data)) })
	}
}
