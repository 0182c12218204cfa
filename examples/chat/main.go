// Chat is a server with chat rooms and a page for them.
//
//	go run ./examples/chat
//
// Then open the URL that it prints. Each room is an object, chatrooms/room.go, which hibernates when it has no messages. Messages are on disk, in
// a feed that neither loses nor doubles one when the server, a page or the network fails. Each user is an object too, chatrooms/user.go, which
// limits the user's messages. The inspector at /debug/edgews/ shows rooms, users, sockets and what they cost, to this machine only.
//
// The rooms and their page are a package of their own, because examples/cluster serves them too, on three nodes.
package main

import (
	"context"
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
	"github.com/edgews/edgews/examples/chat/chatrooms"
	"github.com/edgews/edgews/examples/internal/start"
	"github.com/edgews/edgews/inspect"
)

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
	users := chatrooms.NewUsers(edgews.NamespaceOptions{Options: watched})
	rooms := chatrooms.NewRooms(users, edgews.NamespaceOptions{Options: watched, Store: store})
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

// handler serves the chat, and the inspector to this machine.
func handler(rooms *edgews.Namespace, inspector http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/debug/edgews/", inspector)
	mux.Handle("/", chatrooms.Handler(rooms))
	return mux
}
