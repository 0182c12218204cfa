// Chat is a server with chat rooms and a page for them.
//
//	go run ./examples/chat
//
// Then open the URL that it prints. Each room is an object, which hibernates when it has no messages. Messages are on disk, in a feed that
// neither loses nor doubles one when the server, a page or the network fails. Each user is an object too, which limits the user's messages.
// The inspector at /debug/edgews/ shows rooms, users, sockets and what they cost, to this machine only.
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
	"github.com/edgews/edgews/inspect"
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
	meter := edgews.NewMeter(nil)
	inspector := inspect.New(&inspect.Options{Meter: meter})
	watched := edgews.Options{Observer: inspector, Meter: meter}
	users := edgews.NewNamespace("users", newUser, &edgews.NamespaceOptions{Options: watched})
	rooms := newRooms(store, users, watched)
	inspector.AddNamespaces(rooms, users)
	server := &http.Server{Handler: handler(rooms, inspector.Handler()), ReadHeaderTimeout: 10 * time.Second}
	fmt.Printf("Open %s in a browser. Ctrl-C stops the server; %s keeps what was said.\n", url, data)
	context.AfterFunc(ctx, func() { server.Close() }) // it does not close the sockets, which belong to the rooms
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(rooms.Shutdown(grace), users.Shutdown(grace), inspector.Shutdown(grace))
}

// newRooms returns the namespace of the rooms in store. A lost connection is noticed within 15 s. A page that does not read its messages
// gets them from the storage as it goes on reading. opts say who watches and meters the rooms.
func newRooms(store edgews.Store, users *edgews.Namespace, opts edgews.Options) *edgews.Namespace {
	construct := func(ctx context.Context, st *edgews.State) (edgews.Object, error) { return newRoom(ctx, st, users) }
	opts.KeepAlive, opts.KeepAliveTimeout, opts.RateLimit.Messages = 10*time.Second, 5*time.Second, 50
	opts.MaxMessageSize, opts.SendBuffer, opts.Overflow = 16<<10, 256<<10, edgews.OverflowClose
	return edgews.NewNamespace("rooms", construct, &edgews.NamespaceOptions{Store: store, Options: opts})
}

func handler(rooms *edgews.Namespace, inspector http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/debug/edgews/", inspector)
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
