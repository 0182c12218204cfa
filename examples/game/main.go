// Game is a server with game sessions and a page to play on. A player who steps on a gem scores.
//
//	go run ./examples/game
//
// Then open the URL that it prints in two windows. Each session is an object, and hibernates between moves: the positions and scores
// of the players are attachments of their sockets, the positions of the gems are in storage.
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
	games := newGames(store)
	server := &http.Server{Handler: handler(games), ReadHeaderTimeout: 10 * time.Second}
	fmt.Printf("Open %s in two windows. Ctrl-C stops the server.\n", url)
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return games.Shutdown(grace)
}

// newGames returns the sessions in store.
func newGames(store edgews.Store) *edgews.Namespace {
	return edgews.NewNamespace("games", newGame, &edgews.NamespaceOptions{Store: store})
}

func handler(games *edgews.Namespace) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", http.RedirectHandler("/game/1", http.StatusFound))
	mux.Handle("GET /edgews.js", js.Handler())
	mux.HandleFunc("GET /game/{game}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	})
	mux.HandleFunc("GET /game/{game}/socket", func(w http.ResponseWriter, r *http.Request) {
		games.Get(games.IDFromName(r.PathValue("game"))).ServeHTTP(w, r)
	})
	return mux
}
