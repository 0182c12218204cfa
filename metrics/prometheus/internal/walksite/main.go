// Walksite is the server of the operator's walk, which docs/operating.md shows and a test of cmd/edgews does: rooms like those of examples/chat, with the inspector at /debug/edgews/
// and the metrics at /metrics. It has two faults to find: a socket that does not read is kept for ever, and the room "archive" has a task that
// does not end, so it never sleeps.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/inspect"
	"github.com/edgews/edgews/metrics"
	edgewsprometheus "github.com/edgews/edgews/metrics/prometheus"
)

func main() {
	log.SetFlags(0)
	addr := flag.String("addr", "localhost:8080", "the address to listen on")
	flag.Parse()
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal("walksite: ", err)
	}
	meter := edgews.NewMeter(nil)
	inspector := inspect.New(&inspect.Options{Meter: meter})
	collector := edgewsprometheus.New(&metrics.Options{Meter: meter, Plans: []edgews.Plan{edgews.DurableObjects}})
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector)
	rooms := edgews.NewNamespace("rooms", newRoom, &edgews.NamespaceOptions{Options: edgews.Options{
		Observer: edgews.Observers(inspector, collector), Meter: meter, KeepAlive: -1, WriteTimeout: -1, SendBuffer: 256 << 10, Overflow: edgews.OverflowDropOldest,
	}})
	inspector.AddNamespaces(rooms)

	mux := http.NewServeMux()
	mux.Handle("/debug/edgews/", inspector.Handler())
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}))
	mux.HandleFunc("GET /room/{room}/socket", func(w http.ResponseWriter, r *http.Request) {
		rooms.ByName(r.PathValue("room")).ServeHTTP(w, r)
	})
	fmt.Printf("Open http://%s/debug/edgews/ in a browser.\n", l.Addr())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	fmt.Fprintln(os.Stderr, "walksite:", server.Serve(l))
	os.Exit(1)
}

// room sends what one of its members says to all of them.
type room struct{ st *edgews.State }

func newRoom(_ context.Context, st *edgews.State) (edgews.Object, error) { return &room{st}, nil }

// ServeHTTP accepts a member.
func (r *room) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s, err := edgews.Upgrade(w, req, nil)
	if err != nil {
		return // answered already
	}
	if err := r.st.AcceptWebSocket(s, req.FormValue("name")); err != nil {
		log.Print("walksite: ", err)
		return
	}
	if r.st.ID().Name() == "archive" {
		r.archive()
	}
}

// archive keeps the room from sleeping until the program ends.
func (r *room) archive() {
	r.st.WaitUntil(func(ctx context.Context) { <-ctx.Done() })
}

// WebSocketMessage sends a message to all members. What does not fit into a queue pushes out what is the oldest there.
func (r *room) WebSocketMessage(_ context.Context, _ *edgews.Socket, m edgews.Message) error {
	r.st.Broadcast(edgews.Prepare(m.Kind, m.Data))
	return nil
}
