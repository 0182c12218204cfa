// Relay is a server between pages and a chat server: it changes what passes, and tells the pages when the chat server goes away.
//
//	go run ./examples/relay
//
// Then open the URL that it prints in two windows, and stop the chat server with the button. Each page has an object, relay.go, which
// connects to the chat server for it. A program that speaks the protocol of the chat server itself connects to /raw, bot.go.
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
	upstream := flag.String("upstream", "localhost:0", "the address of the chat server, which is part of this program; 0 is any free port")
	start.ParseFlags()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *upstream); err != nil {
		log.Fatal("relay: ", err)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, addr, upstream string) error {
	chat := &chatServer{addr: upstream, listen: func(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }}
	if err := chat.start(); err != nil {
		return fmt.Errorf("%w (choose another address with -upstream)", err)
	}
	defer chat.stop()
	l, url, err := start.Listen(addr)
	if err != nil {
		return err
	}
	relays, bots := newRelays(chat.url(), nil), newBots(chat.url(), nil)
	server := &http.Server{Handler: handler(relays, bots, chat), ReadHeaderTimeout: 10 * time.Second}
	fmt.Printf("Open %s in two windows. The chat server is %s. Ctrl-C stops both.\n", url, chat.url())
	context.AfterFunc(ctx, func() { server.Close() }) // it does not close the sockets, which belong to the objects
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(relays.Shutdown(grace), bots.Shutdown(grace))
}

func handler(relays, bots *edgews.Namespace, chat *chatServer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	})
	mux.Handle("GET /edgews.js", js.Handler())
	mux.HandleFunc("GET /socket", func(w http.ResponseWriter, r *http.Request) {
		relays.Get(relays.NewUniqueID()).ServeHTTP(w, r) // an object for each page
	})
	mux.HandleFunc("GET /raw", func(w http.ResponseWriter, r *http.Request) {
		bots.Get(bots.NewUniqueID()).ServeHTTP(w, r)
	})
	mux.HandleFunc("POST /upstream/stop", func(w http.ResponseWriter, r *http.Request) { chat.stop() })
	mux.HandleFunc("POST /upstream/start", func(w http.ResponseWriter, r *http.Request) {
		if err := chat.start(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return mux
}
