// Package chatrooms has the rooms of a chat and their page: room.go is the object of a room, user.go that of a user. examples/chat serves them on
// one machine, with the rooms in a file, and examples/cluster on several, with the same code.
package chatrooms

import (
	"context"
	_ "embed"
	"net/http"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/client/js"
)

//go:embed index.html
var page []byte

// NewRooms returns the namespace of the rooms. opts say where the rooms are kept, and who watches and meters them. A lost connection is noticed
// within 15 s. A page that does not read its messages gets them from the storage as it goes on reading.
func NewRooms(users *edgews.Namespace, opts edgews.NamespaceOptions) *edgews.Namespace {
	construct := func(ctx context.Context, st *edgews.State) (edgews.Object, error) { return newRoom(ctx, st, users) }
	opts.KeepAlive, opts.KeepAliveTimeout, opts.RateLimit.Messages = 10*time.Second, 5*time.Second, 50
	opts.MaxMessageSize, opts.SendBuffer, opts.Overflow = 16<<10, 256<<10, edgews.OverflowClose
	return edgews.NewNamespace("rooms", construct, &opts)
}

// NewUsers returns the namespace of the users, whom the rooms ask.
func NewUsers(opts edgews.NamespaceOptions) *edgews.Namespace {
	return edgews.NewNamespace("users", newUser, &opts)
}

// Handler serves the page and the sockets of rooms.
func Handler(rooms *edgews.Namespace) http.Handler {
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
