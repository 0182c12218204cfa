// Cluster is a chat room on three nodes, of which you may kill any while you talk.
//
//	go run ./examples/cluster
//
// Then open the URL that it prints. The page connects to one node, the edge of your socket. The room itself is an object, whose home may be
// another node: the page shows both. It sends a tick five times a second, which the room counts in its storage.
//
//   - Kill the room's home: the process is dead at once, as with kill -9. Another node becomes the home, with the next epoch, goes on with
//     what is stored, and answers over the same socket. The page shows how long the answer took.
//   - Kill the edge: its sockets end with it, so the page connects to another node, and repeats what was not confirmed.
//   - Have a node leave: it gives its objects away first. Start it again: it gets some back.
//
// With -app chat the page shows the rooms of examples/chat instead, on the same nodes and with the same code.
//
// The program is five processes of one executable. This one, the supervisor, starts the others and serves the page, supervisor.go. Three
// are nodes, node.go: an HTTP server, a cluster.Cluster and namespaces with NamespaceOptions.Cluster, which is all that distinguishes them
// from a server that runs alone. The object of the room, room.go, knows nothing of nodes, except that it says on which one it runs. One process
// has three NATS servers, servers.go, which keep what the nodes share; it ends with the supervisor and removes its files.
package main

import (
	"context"
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

	"github.com/edgews/edgews/examples/internal/start"
)

func main() {
	log.SetFlags(0)
	if isChild(os.Args) {
		beChild(os.Args)
		return
	}
	addr := flag.String("addr", "localhost:8080", "the address of the page; the nodes listen on other ports of the same host")
	app := flag.String("app", "room", "what the page shows: room, or chat, the rooms of examples/chat")
	start.ParseFlags()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *app); err != nil {
		log.Fatal("cluster: ", err)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, addr, app string) error {
	if app != "room" && app != "chat" {
		return fmt.Errorf("there is no app %q: -app is room or chat", app)
	}
	l, url, err := start.Listen(addr)
	if err != nil {
		return err
	}
	defer l.Close()
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	fmt.Println("Starting three NATS servers and three nodes.")
	s, err := startSupervisor(ctx, host)
	if err != nil {
		if ctx.Err() != nil {
			return nil // interrupted
		}
		return err
	}
	defer s.stop()
	server := &http.Server{Handler: s.handler(app), ReadHeaderTimeout: 10 * time.Second}
	fmt.Printf("Open %s in a browser. Ctrl-C stops everything, and what was said is forgotten.\n", url)
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
