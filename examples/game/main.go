// Game is a server with game sessions and a page to play on. A player who steps on a gem scores.
//
//	go run ./examples/game
//
// Then open the URL that it prints in two windows. Each session is an object, and hibernates between moves: the positions and scores
// of the players are attachments of their sockets, the positions of the gems are in storage. The best scores of all sessions are kept by an
// object of their own, which the sessions call. The page makes requests, and gets replies.
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
	data := flag.String("data", "game.db", "the file in which the sessions are kept")
	start.ParseFlags()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *data); err != nil {
		log.Fatal("game: ", err)
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
	n := newNamespaces(store)
	server := &http.Server{Handler: n.handler(), ReadHeaderTimeout: 10 * time.Second}
	fmt.Printf("Open %s in two windows. Ctrl-C stops the server.\n", url)
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return n.shutdown(grace)
}

// namespaces are the objects of the game.
type namespaces struct{ games, scores *edgews.Namespace }

// newNamespaces returns what is in store.
func newNamespaces(store edgews.Store) namespaces {
	opts := &edgews.NamespaceOptions{Store: store}
	scores := edgews.NewNamespace("scores", newScoreboard, opts)
	all := scores.Get(scores.IDFromName("all"))
	games := edgews.NewNamespace("games", func(ctx context.Context, st *edgews.State) (edgews.Object, error) {
		return newGame(ctx, st, all)
	}, opts)
	return namespaces{games, scores}
}

// shutdown ends the games first, since they call the scoreboard.
func (n namespaces) shutdown(ctx context.Context) error {
	return errors.Join(n.games.Shutdown(ctx), n.scores.Shutdown(ctx))
}

func (n namespaces) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", http.RedirectHandler("/game/1", http.StatusFound))
	mux.Handle("GET /edgews.js", js.Handler())
	mux.Handle("GET /calls.js", js.CallsHandler())
	mux.Handle("GET /scores", n.scores.Get(n.scores.IDFromName("all")))
	mux.HandleFunc("GET /game/{game}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	})
	mux.HandleFunc("GET /game/{game}/socket", func(w http.ResponseWriter, r *http.Request) {
		n.games.Get(n.games.IDFromName(r.PathValue("game"))).ServeHTTP(w, r)
	})
	return mux
}
