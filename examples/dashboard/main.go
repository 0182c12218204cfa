// Dashboard is a server for pages with live prices of an exchange.
//
//	go run ./examples/dashboard
//
// Then open the URL that it prints. One object, board.go, has a single connection to the exchange for all pages. It filters the trades,
// adds them up per symbol, symbol.go, and sends each page what has changed, as fast as the page takes it. The exchange, exchange.go, is a
// part of the program; its prices are random.
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
	"sync"
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
		log.Fatal("dashboard: ", err)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, addr string) error {
	l, url, err := start.Listen(addr)
	if err != nil {
		return err
	}
	defer l.Close()
	feeds, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return err
	}
	stopExchange := startExchange(feeds)
	defer stopExchange()
	boards := newBoards("ws://"+feeds.Addr().String(), nil)
	server := &http.Server{Handler: handler(boards), ReadHeaderTimeout: 10 * time.Second, ConnContext: smallBuffer}
	fmt.Printf("Open %s in a browser. Ctrl-C stops the server.\n", url)
	context.AfterFunc(ctx, func() { server.Close() }) // it does not close the sockets, which belong to the board
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return boards.Shutdown(grace)
}

// smallBuffer makes the operating system keep little of what a slow page has not taken, because that gets old there.
func smallBuffer(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*net.TCPConn); ok {
		c.SetWriteBuffer(8 << 10) // without it, the prices are older on slow connections, and still right
	}
	return ctx
}

func handler(boards *edgews.Namespace) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	})
	mux.Handle("GET /edgews.js", js.Handler())
	mux.Handle("GET /socket", boards.Get(boards.IDFromName("all")))
	return mux
}

// startExchange serves an exchange on l until stop is called.
func startExchange(l net.Listener) (stop func()) {
	exchanges := edgews.NewNamespace("exchanges", newExchange, &edgews.NamespaceOptions{ShutdownCode: edgews.StatusGoingAway})
	server := &http.Server{Handler: exchanges.Get(exchanges.IDFromName("all")), ReadHeaderTimeout: 10 * time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(l) })
	return func() {
		server.Close()
		serving.Wait()
		now, cancel := context.WithCancel(context.Background())
		cancel()
		exchanges.Shutdown(now) // it does not wait for its clients
	}
}
