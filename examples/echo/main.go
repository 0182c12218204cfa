// Echo serves a page that tests a WebSocket, and the WebSocket itself.
//
//	go run ./examples/echo
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
		log.Fatal("echo: ", err)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, addr string) error {
	l, url, err := start.Listen(addr)
	if err != nil {
		return err
	}
	fmt.Printf("Open %s in a browser. Ctrl-C stops the server.\n", url)

	e := new(echo)
	srv := &http.Server{Handler: e.handler(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}

	// Shutdown accepts no more requests. It does not close sockets, so this program does.
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(srv.Shutdown(grace), e.close(grace))
}

// echo sends each message back. It has a list of its sockets, so that it can close them.
type echo struct {
	mu      sync.Mutex
	closed  bool                        // guarded by mu
	sockets map[*edgews.Socket]struct{} // guarded by mu
}

func (e *echo) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	})
	mux.Handle("GET /edgews.js", js.Handler())
	mux.HandleFunc("/ws", e.serve)
	return mux
}

func (e *echo) serve(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Protocols: []string{"echo"}})
	if err != nil {
		return // answered already
	}
	if !e.add(s) {
		s.Accept()
		s.Close(edgews.StatusServiceRestart, "server is stopping")
		return
	}
	defer e.remove(s)
	ctx := context.Background() // the request's context would be possible too: it ends with this handler
	for msg, err := range s.Messages(ctx) {
		if err != nil || s.Write(ctx, msg.Kind, msg.Data) != nil {
			return // the socket was closed with a code other than 1000 and 1001
		}
	}
}

// add adds a socket to the list. It returns false if the server is stopping.
func (e *echo) add(s *edgews.Socket) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	if e.sockets == nil {
		e.sockets = make(map[*edgews.Socket]struct{})
	}
	e.sockets[s] = struct{}{}
	return true
}

func (e *echo) remove(s *edgews.Socket) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.sockets, s)
}

// close closes all sockets with 1001 and waits for the answers.
func (e *echo) close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	var leaving []*edgews.Socket
	for s := range e.sockets {
		s.Accept() // if its handler has not received from it yet
		s.Close(edgews.StatusGoingAway, "server is stopping")
		leaving = append(leaving, s)
	}
	e.mu.Unlock()
	for _, s := range leaving {
		select {
		case <-s.Done():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
