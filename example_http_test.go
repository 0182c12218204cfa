package edgews_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/edgews/edgews"
)

// echo answers every message with the same one.
func echo(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return // answered already
	}
	for msg, err := range s.Messages(r.Context()) {
		if err != nil || s.Write(r.Context(), msg.Kind, msg.Data) != nil {
			return
		}
	}
}

func ExampleUpgrade() {
	srv := httptest.NewServer(http.HandlerFunc(echo))
	defer srv.Close()

	ctx := context.Background()
	s, _, err := edgews.Dial(ctx, srv.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Write(ctx, edgews.Text, []byte("hello"))
	msg, err := s.Receive(ctx)
	fmt.Println(msg.Text(), err)
	s.Close(edgews.StatusNormalClosure, "")
	<-s.Done()
	// Output:
	// hello <nil>
}

// A client that reconnects until the server refuses it.
func ExampleReconnect() {
	var connections atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := connections.Add(1)
		if n > 2 {
			http.Error(w, "the room is gone", http.StatusGone)
			return
		}
		s, err := edgews.Upgrade(w, r, nil)
		if err != nil {
			return // answered already
		}
		s.Write(r.Context(), edgews.Text, fmt.Appendf(nil, "connection %d", n))
		s.Close(edgews.StatusGoingAway, "")
	}))
	defer srv.Close()

	ctx := context.Background()
	opts := &edgews.ReconnectOptions{MinDelay: time.Millisecond}
	opts.OnWait = func(err error, d time.Duration) { fmt.Println("ended:", err) }
	for s, err := range edgews.Reconnect(ctx, srv.URL, opts) {
		if err != nil {
			fmt.Println("given up:", err)
			break
		}
		for msg, err := range s.Messages(ctx) {
			if err == nil {
				fmt.Println(msg.Text())
			}
		}
	}
	// Output:
	// connection 1
	// ended: edgews: connection closed: 1001 going away
	// connection 2
	// ended: edgews: connection closed: 1001 going away
	// given up: edgews: handshake failed: expected status 101, but received 410 Gone: the room is gone
}

// A server that forwards the messages of each client to a socket of its own at another server, and back.
func ExampleRelay() {
	upstream := httptest.NewServer(http.HandlerFunc(echo))
	defer upstream.Close()
	ended := make(chan error, 1)
	relay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up, _, err := edgews.Dial(r.Context(), upstream.URL, nil)
		if err != nil {
			http.Error(w, "the other server cannot be reached", http.StatusBadGateway)
			return
		}
		down, err := edgews.Upgrade(w, r, nil)
		if err != nil { // answered already
			up.Accept()
			up.Close(edgews.StatusGoingAway, "")
			return
		}
		ended <- edgews.Relay(r.Context(), down, up)
	}))
	defer relay.Close()

	ctx := context.Background()
	s, _, err := edgews.Dial(ctx, relay.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Write(ctx, edgews.Text, []byte("hello"))
	msg, err := s.Receive(ctx)
	fmt.Println(msg.Text(), err)
	s.Close(edgews.StatusNormalClosure, "bye")
	err = <-ended
	var end *edgews.RelayError
	fmt.Println(err)
	fmt.Println(errors.As(err, &end) && end.Ended != nil)
	// Output:
	// hello <nil>
	// edgews: relay: one side ended: edgews: connection closed: 1000 normal closure "bye"
	// true
}

// Respond puts the network in the place of one end of a pair. The code that holds the other end does not notice.
func ExampleRespond() {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client, server := edgews.NewPair()
		server.OnMessage(func(e edgews.MessageEvent) { server.Send("you said " + e.Text()) })
		server.Accept()
		server.Send("welcome")
		edgews.Respond(w, r, client, nil)
	}))
	defer srv.Close()

	ctx := context.Background()
	s, _, err := edgews.Dial(ctx, srv.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Write(ctx, edgews.Text, []byte("hello"))
	for range 2 {
		msg, _ := s.Receive(ctx)
		fmt.Println(msg.Text())
	}
	s.Close(edgews.StatusNormalClosure, "")
	<-s.Done()
	// Output:
	// welcome
	// you said hello
}

// greet sends a message and prints the answer.
func greet(ctx context.Context, url string) error {
	s, _, err := edgews.Dial(ctx, url, nil)
	if err != nil {
		return err
	}
	defer s.Close(edgews.StatusNormalClosure, "")
	if err := s.Write(ctx, edgews.Text, []byte("hello")); err != nil {
		return err
	}
	msg, err := s.Receive(ctx)
	if err != nil {
		return err
	}
	fmt.Println(msg.Text())
	return nil
}

func ExampleDial_client() {
	srv := httptest.NewServer(http.HandlerFunc(echo))
	defer srv.Close()
	if err := greet(context.Background(), srv.URL); err != nil {
		fmt.Println(err)
	}
	// Output:
	// hello
}

// Dial says what the server agreed to, and what it answered.
func ExampleDial() {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Protocols: []string{"chat.v2", "chat.v1"}})
		if err == nil {
			s.Accept()
		}
	}))
	defer srv.Close()

	opts := &edgews.DialOptions{
		Protocols: []string{"chat.v1", "chat.v2"},
		Header:    http.Header{"Authorization": {"Bearer 123"}},
	}
	s, resp, err := edgews.Dial(context.Background(), srv.URL, opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(resp.StatusCode, s.Protocol(), s.ReadyState())
	s.Accept()
	s.Close(edgews.StatusNormalClosure, "")
	<-s.Done()
	// Output:
	// 101 chat.v2 OPEN
}

// A handshake that fails says why, on both sides.
func ExampleHandshakeError() {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "unknown token", http.StatusUnauthorized)
	}))
	defer srv.Close()

	opts := &edgews.DialOptions{Header: http.Header{"Authorization": {"Bearer ann"}}}
	_, resp, err := edgews.Dial(context.Background(), srv.URL, opts)
	fmt.Println(resp.Status)
	fmt.Println(err)
	// Output:
	// 401 Unauthorized
	// edgews: handshake failed: expected status 101, but received 401 Unauthorized: unknown token
}

// UpgradeConn serves WebSockets on connections that net/http has never seen.
func ExampleUpgradeConn() {
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listener.Close()
	go func() { // a server
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		in := bufio.NewReader(conn)
		r, err := http.ReadRequest(in) // or any other parser
		if err != nil {
			conn.Close()
			return
		}
		behind, _ := in.Peek(in.Buffered())
		s, err := edgews.UpgradeConn(conn, behind, r, nil)
		if err != nil {
			return // answered already
		}
		s.OnMessage(func(e edgews.MessageEvent) { s.Send(r.URL.Path + ": " + e.Text()) })
		s.Accept()
	}()

	ctx := context.Background()
	s, _, err := edgews.Dial(ctx, "ws://"+listener.Addr().String()+"/lobby", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close(edgews.StatusNormalClosure, "")
	s.Write(ctx, edgews.Text, []byte("hello"))
	msg, err := s.Receive(ctx)
	fmt.Println(msg.Text(), err)
	// Output: /lobby: hello <nil>
}

// RemoteAddr still says who it was when the socket has ended.
func ExampleSocket_RemoteAddr() {
	gone := make(chan netip.Addr, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		s.OnClose(func(edgews.CloseEvent) {
			if tcp, ok := s.RemoteAddr().(*net.TCPAddr); ok {
				gone <- tcp.AddrPort().Addr().Unmap()
			}
		})
		s.Accept()
	}))
	defer srv.Close()

	s, _, err := edgews.Dial(context.Background(), srv.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Accept()
	s.Close(edgews.StatusNormalClosure, "")
	fmt.Println(<-gone, "has left")
	// Output: 127.0.0.1 has left
}

// NewWebSocket returns at once and connects in the background.
func ExampleNewWebSocket() {
	srv := httptest.NewServer(http.HandlerFunc(echo))
	defer srv.Close()

	s, err := edgews.NewWebSocket("ws://" + srv.Listener.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	s.OnOpen(func(e edgews.OpenEvent) { e.Target.Send("hello") })
	s.OnMessage(func(e edgews.MessageEvent) {
		fmt.Println(e.Text())
		s.Close(edgews.StatusNormalClosure, "")
	})
	<-s.Done()
	fmt.Println(s.Err())
	// Output:
	// hello
	// edgews: connection closed: 1000 normal closure
}

// The options of a socket bound what its peer can cost.
func ExampleOptions() {
	opts := &edgews.UpgradeOptions{Options: edgews.Options{
		MaxMessageSize: 1 << 10,
		SendBuffer:     64 << 10,
		Overflow:       edgews.OverflowClose,
		KeepAlive:      10 * time.Second,
		RateLimit:      edgews.RateLimit{Messages: 100},
		Compression:    &edgews.Compression{Disable: true},
	}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, err := edgews.Upgrade(w, r, opts); err == nil {
			s.Accept()
		}
	}))
	defer srv.Close()

	s, _, err := edgews.Dial(context.Background(), srv.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Accept()
	s.SendBytes(make([]byte, 2<<10))
	<-s.Done()
	fmt.Println(s.Err())
	// Output:
	// edgews: connection closed: 1009 message too big "message is too large: 2048 > 1024 bytes"
}

// A proxy that passes everything under /chat on to another server.
func ExampleProxy() {
	upstream := httptest.NewServer(http.HandlerFunc(echo))
	defer upstream.Close()
	mux := http.NewServeMux()
	mux.Handle("/chat/", http.StripPrefix("/chat", edgews.Proxy(upstream.URL, &edgews.ProxyOptions{IdleTimeout: time.Hour})))
	front := httptest.NewServer(mux)
	defer front.Close()

	ctx := context.Background()
	s, _, err := edgews.Dial(ctx, front.URL+"/chat/room", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Write(ctx, edgews.Text, []byte("hello"))
	msg, err := s.Receive(ctx)
	fmt.Println(msg.Text(), err)
	s.Close(edgews.StatusNormalClosure, "")
	// Output: hello <nil>
}

// A handler that chooses the server for a client, and passes the connection through.
func ExampleRespond_passThrough() {
	upstream := httptest.NewServer(http.HandlerFunc(echo))
	defer upstream.Close()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _, err := edgews.Dial(r.Context(), upstream.URL, nil)
		if err != nil {
			http.Error(w, "the other server cannot be reached", http.StatusBadGateway)
			return
		}
		edgews.Respond(w, r, s, nil) // s is not used any more
	}))
	defer front.Close()

	ctx := context.Background()
	s, _, err := edgews.Dial(ctx, front.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Write(ctx, edgews.Text, []byte("hello"))
	msg, err := s.Receive(ctx)
	fmt.Println(msg.Text(), err)
	s.Close(edgews.StatusNormalClosure, "")
	// Output: hello <nil>
}
