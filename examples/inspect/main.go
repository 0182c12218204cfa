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
	"strings"
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
	fmt.Printf("Open %sdebug/edgews/ in a browser. Ctrl-C stops the server.\n", url)
	return serve(ctx, l, url, actions)
}

// serve answers what l accepts, and has members talk to the server at url, until ctx ends.
func serve(ctx context.Context, l net.Listener, url string, actions bool) error {
	meter := edgews.NewMeter(nil)
	inspector := inspect.New(&inspect.Options{Meter: meter, AllowActions: actions, Redact: maskTokens})
	rooms := newRooms(inspector, meter)
	inspector.AddNamespaces(rooms)
	server := &http.Server{Handler: handler(inspector, rooms), ReadHeaderTimeout: 10 * time.Second, ConnContext: smallWriteBuffer}

	var members sync.WaitGroup
	talking, silence := context.WithCancel(ctx)
	talk(talking, &members, "ws"+url[len("http"):])
	context.AfterFunc(ctx, func() { server.Close() }) // it does not close the sockets
	err := server.Serve(l)
	silence()
	members.Wait()
	if !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(inspector.Shutdown(grace), rooms.Shutdown(grace))
}

func handler(inspector *inspect.Inspector, rooms *edgews.Namespace) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/debug/edgews/", inspector.Handler())
	mux.Handle("GET /{$}", http.RedirectHandler("/debug/edgews/", http.StatusSeeOther))
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

// talk connects the members of all rooms to the server at url, until ctx ends. In the first half of the rooms they talk all the time; the others
// have time to hibernate.
func talk(ctx context.Context, running *sync.WaitGroup, url string) {
	join := func(room, user string, stay func(context.Context, *edgews.Socket), opts *edgews.DialOptions) {
		running.Go(func() { stayIn(ctx, fmt.Sprintf("%sroom/%s?user=%s", url, room, user), stay, opts) })
	}
	for room := range roomCount {
		every, text := time.Duration(200*(room+1))*time.Millisecond, "hello, is anybody here?"
		switch {
		case room == 0:
			text = strings.Repeat(text+" ", 40) // much for those who do not read
		case room >= roomCount/2:
			every *= 10
		}
		for n := range membersOfEach {
			pause := every + time.Duration(77*n)*time.Millisecond
			join(fmt.Sprintf("room-%d", room+1), fmt.Sprintf("user-%d-%d", room+1, n+1), speaking(pause, text), nil)
		}
	}
	join("room-1", "does-not-read", silent, withSmallBuffers())
	join(neverSleeps, "owner", speaking(10*time.Second, "I am still here"), nil)
}

// stayIn connects to url until ctx ends, again and again if need be, and calls stay with the connection.
func stayIn(ctx context.Context, url string, stay func(context.Context, *edgews.Socket), opts *edgews.DialOptions) {
	for ctx.Err() == nil {
		if s, _, err := edgews.Dial(ctx, url, opts); err == nil {
			stay(ctx, s)
			s.Close(edgews.StatusGoingAway, "")
			<-s.Done()
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// speaking returns what a member does that says a text every so often, and reads what the others say.
func speaking(every time.Duration, text string) func(context.Context, *edgews.Socket) {
	return func(ctx context.Context, s *edgews.Socket) {
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
				s.Send(fmt.Sprintf(`{"n":%d,"text":%q}`, n, text))
			}
		}
	}
}

// silent reads nothing for a while, so what the member is sent waits in the server. In the end it reads what it has missed, since the closing
// handshake comes behind that.
func silent(ctx context.Context, s *edgews.Socket) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Minute):
	}
	s.OnMessage(func(edgews.MessageEvent) {})
	s.Accept()
}

// withSmallBuffers returns options for a connection that takes little while nothing is read: the kernel's buffer is small, and nothing is
// compressed.
func withSmallBuffers() *edgews.DialOptions {
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetReadBuffer(4 << 10)
		}
		return c, err
	}}
	return &edgews.DialOptions{
		Options:    edgews.Options{Compression: &edgews.Compression{Disable: true}},
		HTTPClient: &http.Client{Transport: transport},
	}
}

// smallWriteBuffer gives the kernel of the server a small buffer too, for the same purpose.
func smallWriteBuffer(ctx context.Context, c net.Conn) context.Context {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetWriteBuffer(16 << 10)
	}
	return ctx
}
