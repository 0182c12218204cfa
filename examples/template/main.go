// Template is the smallest server with a page, to begin with: the one that the guides of Cloudflare Workers use for WebSockets. A click on
// a button counts, every other message is answered with an error, and the page shows what the server has sent, with the server's time.
//
//	go run ./examples/template
//
// Then open the URL that it prints.
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
	"sync/atomic"
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
	start.ParseFlags()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr); err != nil {
		log.Fatal("template: ", err)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, addr string) error {
	l, url, err := start.Listen(addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: new(counter).handler(), ReadHeaderTimeout: 10 * time.Second}
	fmt.Printf("Open %s in a browser. Ctrl-C stops the server.\n", url)
	context.AfterFunc(ctx, func() { server.Close() }) // the pages reconnect when the next server runs
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// counter counts the clicks of all pages.
type counter struct{ clicks atomic.Int64 }

// answer is a message to a page: a count or an error.
type answer struct {
	Count int64     `json:"count,omitempty"`
	Error string    `json:"error,omitempty"`
	Time  time.Time `json:"time"`
}

func (c *counter) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	})
	mux.Handle("GET /edgews.js", js.Handler())
	mux.HandleFunc("GET /ws", c.connect)
	return mux
}

// connect gives one end of a pair to the page, and listens on the other.
func (c *counter) connect(w http.ResponseWriter, r *http.Request) {
	client, server := edgews.NewPair()
	server.OnMessage(func(e edgews.MessageEvent) {
		switch e.Text() {
		case "click":
			edgews.SendJSON(server, answer{Count: c.clicks.Add(1), Time: time.Now()})
		case "ping": // the page checks the connection
			server.Send("pong")
		default:
			edgews.SendJSON(server, answer{Error: "unknown message", Time: time.Now()})
		}
	})
	server.Accept()
	edgews.Respond(w, r, client, nil) // an error is answered already
}
