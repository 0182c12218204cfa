// The code of docs/sockets.md.
package sockets_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
)

// serve starts a server for an example.
func serve(handler http.HandlerFunc) *httptest.Server { return httptest.NewServer(handler) }

// ask sends a message and prints the answer.
func ask(s *edgews.Socket, text string) {
	ctx := context.Background()
	s.Write(ctx, edgews.Text, []byte(text))
	m, err := s.Receive(ctx)
	fmt.Println(m.Text(), err)
}

// The same server with listeners.
func echo(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return // answered already
	}
	s.OnMessage(func(e edgews.MessageEvent) { s.Send(e.Text()) })
	s.OnClose(func(e edgews.CloseEvent) { fmt.Println("closed:", e.Code) })
	s.Accept() // from here on the listeners are called
}

// The same server with a loop.
func echoLoop(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	for m, err := range s.Messages(r.Context()) { // ends without an error when the peer closes with 1000, 1001 or no code
		if err != nil {
			fmt.Println("failed:", err)
			return
		}
		if err := s.Write(r.Context(), m.Kind, m.Data); err != nil {
			return
		}
	}
}

func Example_styles() {
	for _, handler := range []http.HandlerFunc{echo, echoLoop} {
		server := serve(handler)
		s, _, _ := edgews.Dial(context.Background(), server.URL, nil)
		ask(s, "hello")
		s.Close(edgews.StatusNormalClosure, "")
		s.Receive(context.Background())
		server.Close()
	}
	// Unordered output:
	// hello <nil>
	// closed: 1000 normal closure
	// hello <nil>
}

// sum is a request; its answer is a number.
type sum struct{ A, B int }

type greeting struct {
	Name string `json:"name"`
}

// newMux returns a mux that knows two types of messages.
func newMux() *edgews.Mux {
	var mux edgews.Mux
	edgews.Handle(&mux, "hello", func(_ context.Context, s *edgews.Socket, m greeting) error {
		return edgews.SendJSON(s, map[string]string{"type": "welcome", "name": m.Name})
	})
	edgews.HandleCall(&mux, "sum", func(_ context.Context, s *edgews.Socket, req sum) (int, error) {
		return req.A + req.B, nil
	})
	return &mux
}

func Example_mux() {
	mux := newMux()
	server := serve(func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		for m, err := range s.Messages(r.Context()) {
			if err != nil {
				return
			}
			if err := mux.Dispatch(r.Context(), s, m); err != nil {
				s.Close(edgews.StatusUnsupportedData, "")
			}
		}
	})
	defer server.Close()
	ctx := context.Background()
	s, _, _ := edgews.Dial(ctx, server.URL, nil)
	defer s.Close(edgews.StatusNormalClosure, "")

	ask(s, `{"type": "hello", "name": "Ann"}`)
	var calls edgews.Mux
	go func() { // gives the replies to calls
		for m, err := range s.Messages(ctx) {
			if err != nil {
				return
			}
			calls.Dispatch(ctx, s, m)
		}
	}()
	three, err := edgews.Request[sum, int](ctx, &calls, s, "sum", sum{A: 1, B: 2})
	fmt.Println(three, err)
	// Output:
	// {"name":"Ann","type":"welcome"} <nil>
	// 3 <nil>
}

// upload copies a file of any size to the peer.
func upload(ctx context.Context, s *edgews.Socket, file io.Reader) error {
	message, err := s.NextWriter(ctx, edgews.Binary)
	if err != nil {
		return err
	}
	if _, err := io.Copy(message, file); err != nil {
		return err
	}
	return message.Close()
}

// download copies one message of any size to w.
func download(ctx context.Context, s *edgews.Socket, w io.Writer) error {
	_, message, err := s.NextReader(ctx)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, message)
	return err
}

func Example_stream() {
	client, server := edgews.NewPair()
	ctx := context.Background()
	go upload(ctx, client, strings.NewReader(strings.Repeat("x", 1<<20)))
	var got strings.Builder
	fmt.Println(download(ctx, server, &got), got.Len())
	// Output: <nil> 1048576
}

func Example_netConn() {
	client, server := edgews.NewPair()
	go func() {
		conn := edgews.NetConn(server, edgews.Binary)
		defer conn.Close()
		fmt.Fprintln(conn, "one line")
	}()
	conn := edgews.NetConn(client, edgews.Binary)
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		fmt.Println(lines.Text())
	}
	fmt.Println(lines.Err())
	// Output:
	// one line
	// <nil>
}

// The bytes of a message are valid until the next message is received.
func Example_clone() {
	client, server := edgews.NewPair()
	client.Accept()
	client.Send("first")
	client.Send("second")
	ctx := context.Background()

	first, _ := server.Receive(ctx)
	kept, text := first.Clone(), first.Text() // two copies
	server.Receive(ctx)                       // from here on first.Data holds other bytes
	fmt.Println(string(kept.Data), text)
	// Output: first first
}

// publish sends an event to everyone. A socket whose queue is full does not get it, and is closed.
func publish(hub *edgews.Hub, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	hub.Broadcast(edgews.Prepare(edgews.Text, text)) // encoded and compressed once, for all
	return nil
}

func Example_hub() {
	hub := edgews.NewHub(&edgews.HubOptions{
		Options:    edgews.Options{Overflow: edgews.OverflowClose},
		MaxSockets: 10_000,
		MaxPerKey:  20, // for each address
	})
	server := serve(func(w http.ResponseWriter, r *http.Request) {
		s, err := hub.Upgrade(w, r, nil, "news")
		if err != nil {
			return
		}
		s.Accept()
		s.Send("welcome")
	})
	defer server.Close()
	ctx := context.Background()
	s, _, _ := edgews.Dial(ctx, server.URL, nil)
	defer s.Close(edgews.StatusNormalClosure, "")
	m, _ := s.Receive(ctx)
	fmt.Println(m.Text())
	publish(hub, map[string]int{"price": 42})
	m, _ = s.Receive(ctx)
	fmt.Println(m.Text())
	// Output:
	// welcome
	// {"price":42}
}

// feed sends rows for as long as there is room, and goes on when the peer has read.
func feed(s *edgews.Socket, next func() (row string, more bool)) {
	row, more := next()
	var mu sync.Mutex // OnDrain may call while the first call runs
	send := func(*edgews.Socket) {
		mu.Lock()
		defer mu.Unlock()
		for more {
			if err := s.Send(row); errors.Is(err, edgews.ErrBufferFull) {
				return // OnDrain calls again
			} else if err != nil {
				more = false
				return
			}
			row, more = next()
		}
	}
	s.OnDrain(64<<10, send)
	s.Accept()
	send(s)
}

func Example_drain() {
	client, server := edgews.NewPair()
	const rows = 5000
	n := 0
	feed(server, func() (string, bool) {
		n++
		return strings.Repeat("x", 1000), n <= rows
	})
	got := 0
	for range client.Messages(context.Background()) {
		if got++; got == rows {
			break
		}
	}
	fmt.Println(got, "rows")
	// Output: 5000 rows
}

func Example_latest() {
	client, server := edgews.NewPair()
	server.Accept()
	for price := range 1000 {
		server.SendLatest("EUR", edgews.Text, fmt.Append(nil, price)) // replaces the price that still waits
	}
	server.Close(edgews.StatusNormalClosure, "")
	last, count := "", 0
	for m, err := range client.Messages(context.Background()) {
		if err != nil {
			break
		}
		last, count = m.Text(), count+1
	}
	fmt.Println("the last is", last, "of fewer than ten:", count < 10)
	// Output: the last is 999 of fewer than ten: true
}

// how says how a socket has ended, from the error of Receive or Messages.
func how(err error) string {
	var closed *edgews.CloseError
	var broken *edgews.ProtocolError
	switch {
	case errors.Is(err, edgews.ErrNoPong):
		return "the peer is gone: it has not answered a ping"
	case errors.Is(err, edgews.ErrWriteTimeout):
		return "the peer has read nothing for 10 seconds"
	case errors.As(err, &broken):
		return "the peer has broken " + broken.Section
	case errors.As(err, &closed) && closed.WasClean:
		return fmt.Sprintf("closed with %v, %q", closed.Code, closed.Reason)
	}
	return "the connection is lost"
}

func TestHow(t *testing.T) {
	end := func(name, want string, opts *edgews.DialOptions, fn func(p *edgewstest.Peer)) {
		synctest.Test(t, func(t *testing.T) {
			fake := edgewstest.NewFakeServer(t)
			if opts == nil {
				opts = new(edgews.DialOptions)
			}
			opts.HTTPClient = fake.Client()
			s, _, err := edgews.Dial(t.Context(), fake.URL, opts)
			if err != nil {
				t.Fatal(err)
			}
			peer := fake.Accept()
			fn(peer)
			_, err = s.Receive(t.Context())
			if got := how(err); !strings.Contains(got, want) {
				t.Errorf("%s: %s", name, got)
			}
			peer.Close()
		})
	}
	end("silence", "not answered a ping", nil, func(p *edgewstest.Peer) { p.Discard() })
	end("violation", "RFC 6455", nil, func(p *edgewstest.Peer) { p.Write(edgewstest.WrongMaskFrame()) })
	end("close", `closed with 1000 normal closure, "bye"`, nil, func(p *edgewstest.Peer) { p.Write(edgewstest.CloseFrame(1000, "bye")) })
	end("loss", "lost", nil, func(p *edgewstest.Peer) { p.Close() })
}

func TestSlowPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := edgewstest.NewFakeServer(t)
		s, _, err := edgews.Dial(t.Context(), fake.URL, &edgews.DialOptions{HTTPClient: fake.Client()})
		if err != nil {
			t.Fatal(err)
		}
		s.Accept()
		peer := fake.Accept()
		for s.SendBytes(make([]byte, 64<<10)) == nil {
		}
		_, err = s.Receive(t.Context())
		if got := how(err); !strings.Contains(got, "10 seconds") {
			t.Error(got)
		}
		peer.Close()
	})
}

func Example_keepAlive() {
	opts := &edgews.UpgradeOptions{Options: edgews.Options{
		KeepAlive:        10 * time.Second, // of silence, before a ping
		KeepAliveTimeout: 5 * time.Second,  // for the answer
	}}
	server := serve(func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, opts)
		if err != nil {
			return
		}
		s.Accept()
		go func() {
			rtt, err := s.Ping(s.Context())
			fmt.Println(rtt > 0, err)
			s.Close(edgews.StatusGoingAway, "")
		}()
	})
	defer server.Close()
	s, _, _ := edgews.Dial(context.Background(), server.URL, nil)
	_, err := s.Receive(context.Background())
	fmt.Println(err)
	// Output:
	// true <nil>
	// edgews: connection closed: 1001 going away
}

// After AcceptHalfOpen the peer's Close is not answered until the program does.
func Example_halfOpen() {
	client, server := edgews.NewPair()
	server.OnClose(func(e edgews.CloseEvent) {
		server.Send("one more thing")
		server.Close(e.Code, "")
	})
	server.AcceptHalfOpen()
	client.Accept()
	client.Close(edgews.StatusNormalClosure, "bye")
	ctx := context.Background()
	m, _ := client.Receive(ctx)
	fmt.Println(m.Text())
	_, err := client.Receive(ctx)
	fmt.Println(err)
	// Output:
	// one more thing
	// edgews: connection closed: 1000 normal closure
}

// follow listens to a service for as long as ctx lasts, over as many connections as that takes.
func follow(ctx context.Context, url string, handle func(edgews.Message)) error {
	for s, err := range edgews.Reconnect(ctx, url, nil) {
		if err != nil {
			return err // it makes no sense to try again
		}
		for m, err := range s.Messages(ctx) {
			if err != nil {
				break // Reconnect waits, and dials again
			}
			handle(m)
		}
	}
	return nil
}

func Example_reconnect() {
	n := 0
	server := serve(func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		n++
		s.Accept()
		s.Send(fmt.Sprint("connection ", n))
		if n == 2 {
			s.Close(edgews.StatusPolicyViolation, "enough") // a client must not come back after 1008
			return
		}
		s.Close(edgews.StatusNormalClosure, "")
	})
	defer server.Close()
	err := follow(context.Background(), server.URL, func(m edgews.Message) { fmt.Println(m.Text()) })
	fmt.Println(err)
	// Output:
	// connection 1
	// connection 2
	// edgews: connection closed: 1008 policy violation "enough"
}

// run serves until ctx ends, and then closes the sockets of the hub.
func run(ctx context.Context, server *http.Server, hub *edgews.Hub, serve func() error) error {
	context.AfterFunc(ctx, func() { server.Close() }) // it does not know the sockets
	if err := serve(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return hub.Shutdown(grace)
}

func Example_shutdown() {
	hub := edgews.NewHub(nil)
	server := serve(func(w http.ResponseWriter, r *http.Request) {
		if s, err := hub.Upgrade(w, r, nil); err == nil {
			s.Accept()
		}
	})
	s, _, _ := edgews.Dial(context.Background(), server.URL, nil)
	s.Accept()
	ctx, stop := context.WithCancel(context.Background())
	stop()
	fmt.Println(run(ctx, server.Config, hub, func() error { return http.ErrServerClosed }))
	<-s.Done()
	fmt.Println(s.Err())
	// Output:
	// <nil>
	// edgews: connection closed: 1012 service restart "service restart"
}
