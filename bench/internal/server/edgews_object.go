package server

import (
	"context"
	"net"
	"net/http"

	"github.com/edgews/edgews"
)

// serveEdgewsObject does the same with objects: one for each connection, or one for all connections of a broadcast.
func serveEdgewsObject(l net.Listener, c Config) error {
	opts := edgewsOptions(c)
	n := edgews.NewNamespace("bench", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return &edgewsObject{opts, c.Work, st}, nil
	}, nil)
	return serveHTTP(l, func(w http.ResponseWriter, r *http.Request) {
		id := n.IDFromName("all")
		if c.Work != Broadcast {
			id = n.NewUniqueID()
		}
		n.Get(id).ServeHTTP(w, r)
	})
}

type edgewsObject struct {
	opts *edgews.UpgradeOptions
	work Work
	st   *edgews.State
}

func (o *edgewsObject) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, o.opts)
	if err != nil {
		return
	}
	_ = o.st.AcceptWebSocket(s)
}

func (o *edgewsObject) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	switch {
	case o.work == Broadcast:
		o.st.Broadcast(edgews.Prepare(m.Kind, m.Data))
		return nil
	case o.work.mixed():
		if o.work.answers(m.Kind == edgews.Text) {
			_ = s.Write(ctx, m.Kind, m.Data) // fails when the flood ends while this handler sleeps
		}
		return nil
	}
	return s.Write(ctx, m.Kind, m.Data)
}
