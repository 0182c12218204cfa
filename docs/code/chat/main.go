// Chat is Cloudflare's chat demo (workers-chat-demo) as a Go program: the example of docs/from-workers.md.
//
//	go run ./docs/code/chat
//
// Then open the URL that it prints, in two windows.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/store/bolt"
)

//go:embed chat.html
var page []byte

// worker is the stateless part: it serves the page, makes private rooms, and passes requests on to rooms.
func worker(rooms *edgews.Namespace) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html;charset=UTF-8")
		w.Write(page)
	})
	mux.HandleFunc("POST /api/room", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, rooms.NewUniqueID())
	})
	mux.HandleFunc("GET /api/room/{name}/websocket", func(w http.ResponseWriter, r *http.Request) {
		id, err := roomID(rooms, r.PathValue("name"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		rooms.Get(id).ServeHTTP(w, r)
	})
	return mux
}

var hexID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// roomID returns the ID of a room: of a private one, whose name is its ID, or of a public one.
func roomID(rooms *edgews.Namespace, name string) (edgews.ID, error) {
	switch {
	case hexID.MatchString(name):
		return rooms.ParseID(name)
	case len(name) <= 32:
		return rooms.IDFromName(name), nil
	}
	return edgews.ID{}, errors.New("name too long")
}

func main() {
	log.SetFlags(0)
	addr := flag.String("addr", "localhost:8080", "the address to listen on")
	data := flag.String("data", "chat.db", "the file in which the rooms are kept")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *data); err != nil {
		log.Fatal("chat: ", err)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, addr, data string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("Open http://%s in two windows. Ctrl-C stops the server; %s keeps what was said.\n", l.Addr(), data)
	return serve(ctx, l, data)
}

// serve has what wrangler.toml declares: the two namespaces, and where their storage is.
func serve(ctx context.Context, l net.Listener, data string) error {
	store, err := bolt.Open(data, nil)
	if err != nil {
		return err
	}
	defer store.Close()
	limiters := edgews.NewNamespace("limiters", newLimiter, &edgews.NamespaceOptions{HibernateAfter: time.Minute})
	rooms := edgews.NewNamespace("rooms", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return &room{st: st, limiters: limiters}, nil
	}, &edgews.NamespaceOptions{Store: store})

	server := &http.Server{Handler: worker(rooms), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() }) // it does not close the sockets, which belong to the rooms
	if err := edgews.Serve(l, server); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(rooms.Shutdown(grace), limiters.Shutdown(grace))
}
