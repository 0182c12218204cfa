// Inspect is a server with something to see in the inspector: rooms whose members talk, one member that does not read, one room that never
// sleeps, alarms and a meter.
//
//	go run ./examples/inspect
//
// Then open the URL that it prints. With -actions the page may close sockets, send messages, hibernate objects and run alarms.
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
	"sync"
	"syscall"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/examples/internal/start"
	"github.com/edgews/edgews/inspect"
)

func main() {
	log.SetFlags(0)
	addr := flag.String("addr", "localhost:8080", "the address to listen on")
	actions := flag.Bool("actions", false, "let the page close sockets, send messages, hibernate objects and run alarms")
	start.ParseFlags()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *actions); err != nil {
		log.Fatal("inspect: ", err)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, addr string, actions bool) error {
	l, url, err := start.Listen(addr)
	if err != nil {
		return err
	}
	meter := edgews.NewMeter(nil)
	inspector := inspect.New(&inspect.Options{Meter: meter, AllowActions: actions, Redact: maskTokens})
	rooms := newRooms(inspector, meter)
	inspector.AddNamespaces(rooms)
	server := &http.Server{Handler: handler(inspector, rooms), ReadHeaderTimeout: 10 * time.Second}
	fmt.Printf("Open %sdebug/edgews/ in a browser. Ctrl-C stops the server.\n", url)

	var members sync.WaitGroup
	talking, silence := context.WithCancel(ctx)
	talk(talking, &members, "ws"+url[len("http"):])
	context.AfterFunc(ctx, func() { server.Close() }) // it does not close the sockets
	err = server.Serve(l)
	silence()
	members.Wait()
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return errors.Join(inspector.Shutdown(grace), rooms.Shutdown(grace))
}

func handler(inspector *inspect.Inspector, rooms *edgews.Namespace) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/debug/edgews/", inspector.Handler())
	mux.HandleFunc("GET /room/{name}", func(w http.ResponseWriter, r *http.Request) {
		rooms.Get(rooms.IDFromName(r.PathValue("name"))).ServeHTTP(w, r)
	})
	return mux
}

// maskTokens hides the stored value "token" from the page.
func maskTokens(_ string, _ edgews.ID, key string, value []byte) []byte {
	if key == "token" {
		return []byte("********")
	}
	return value
}

// roomCount is how many rooms there are, and membersOfEach how many members each has.
const roomCount, membersOfEach = 12, 5

// talk connects the members of all rooms to the server at url, until ctx ends.
func talk(ctx context.Context, running *sync.WaitGroup, url string) {
	for room := range roomCount {
		for n := range membersOfEach {
			target := fmt.Sprintf("%sroom/room-%d?user=user-%d-%d", url, room+1, room+1, n+1)
			running.Go(func() { member(ctx, target, time.Duration(200*(room+1)+77*n)*time.Millisecond) })
		}
	}
	running.Go(func() { silentMember(ctx, url+"room/room-1?user=does-not-read") })
	running.Go(func() { member(ctx, url+"room/never-sleeps?user=owner", 10*time.Second) })
}

// member says something every so often, and reads what the others say.
func member(ctx context.Context, url string, every time.Duration) {
	s, _, err := edgews.Dial(ctx, url, nil)
	if err != nil {
		return
	}
	defer s.Close(edgews.StatusGoingAway, "")
	s.OnMessage(func(edgews.MessageEvent) {})
	s.Accept()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-s.Done():
			return
		case <-ticker.C:
			s.Send(fmt.Sprintf(`{"n":%d,"text":"hello, is anybody here?"}`, n))
		}
	}
}

// silentMember reads nothing, so what it is sent waits in the server.
func silentMember(ctx context.Context, url string) {
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetReadBuffer(4 << 10)
		}
		return c, err
	}}
	s, _, err := edgews.Dial(ctx, url, &edgews.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		return
	}
	<-ctx.Done()
	s.Close(edgews.StatusGoingAway, "")
}
