// Chat is a server with chat rooms and a page for them.
//
//	go run ./examples/chat
//
// Then open the URL that it prints. Each room is an object, which hibernates when it has no messages. Messages are on disk, in a feed that
// neither loses nor doubles one when the server, a page or the network fails. Each user is an object too, which limits the user's messages.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/client/js"
	"github.com/edgews/edgews/examples/internal/start"
)

//go:embed index.html
var page []byte

func main() {
	log.SetFlags(0)
	addr := flag.String("addr", "localhost:8080", "the address to listen on")
	data := flag.String("data", "chat.db", "the file in which the rooms are kept")
	start.ParseFlags()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *data); err != nil {
		log.Fatal("chat: ", err)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, addr, data string) error {
	store, err := start.OpenStore(data)
	if err != nil {
		return err
	}
	defer store.Close()
	l, url, err := start.Listen(addr)
	if err != nil {
		return err
	}
	users := edgews.NewNamespace("users", newUser, nil)
	rooms := newRooms(store, users)
	server := &http.Server{Handler: handler(rooms), ReadHeaderTimeout: 10 * time.Second}
	fmt.Printf("Open %s in a browser. Ctrl-C stops the server; %s keeps what was said.\n", url, data)
	context.AfterFunc(ctx, func() { server.Close() }) // it does not close the sockets, which belong to the rooms
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(rooms.Shutdown(grace), users.Shutdown(grace))
}

// newRooms returns the namespace of the rooms in store. A lost connection is noticed within 15 s. A page that does not read its messages
// gets them from the storage as it goes on reading.
func newRooms(store edgews.Store, users *edgews.Namespace) *edgews.Namespace {
	construct := func(ctx context.Context, st *edgews.State) (edgews.Object, error) { return newRoom(ctx, st, users) }
	return edgews.NewNamespace("rooms", construct, &edgews.NamespaceOptions{Store: store, Options: edgews.Options{
		KeepAlive: 10 * time.Second, KeepAliveTimeout: 5 * time.Second, RateLimit: edgews.RateLimit{Messages: 50},
		MaxMessageSize: 16 << 10, SendBuffer: 256 << 10, Overflow: edgews.OverflowClose,
	}})
}

func handler(rooms *edgews.Namespace) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", http.RedirectHandler("/room/lobby", http.StatusFound))
	mux.Handle("GET /edgews.js", js.Handler())
	mux.HandleFunc("GET /room/{room}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	})
	mux.HandleFunc("GET /room/{room}/socket", func(w http.ResponseWriter, r *http.Request) {
		id, err := rooms.ParseID(r.PathValue("room"))
		if err != nil {
			id = rooms.IDFromName(r.PathValue("room"))
		}
		rooms.Get(id).ServeHTTP(w, r)
	})
	// A private room has an ID instead of a name. It can be found only with the link.
	mux.HandleFunc("POST /private", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/room/"+rooms.NewUniqueID().String(), http.StatusSeeOther)
	})
	return mux
}
