package edgews_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/edgews/edgews"
)

// A server whose hub sends each message to all sockets of the sender's room. It admits 10 000 sockets, 20 for each user, and closes those that
// say nothing for 5 minutes.
func ExampleHub() {
	hub := edgews.NewHub(&edgews.HubOptions{
		MaxSockets:  10_000,
		MaxPerKey:   20,
		Key:         func(r *http.Request) string { return r.URL.Query().Get("user") }, // in a real server: of the session
		MaxLifetime: 12 * time.Hour,
		IdleTimeout: 5 * time.Minute,
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		room := "room:" + r.URL.Path
		s, err := hub.Upgrade(w, r, nil, room)
		if err != nil {
			return // answered already
		}
		s.OnMessage(func(e edgews.MessageEvent) {
			hub.Broadcast(edgews.Prepare(e.Kind, e.Data), room)
		})
		s.Accept()
		s.Send("welcome to " + r.URL.Path)
	}))
	defer server.Close()

	ctx := context.Background()
	ann, _, _ := edgews.Dial(ctx, server.URL+"/lobby?user=ann", nil)
	bob, _, _ := edgews.Dial(ctx, server.URL+"/lobby?user=bob", nil)
	eve, _, _ := edgews.Dial(ctx, server.URL+"/garden?user=eve", nil)
	hear := func(s *edgews.Socket) {
		msg, _ := s.Receive(ctx)
		fmt.Println(msg.Text())
	}
	hear(ann)
	hear(bob)
	hear(eve)
	ann.Write(ctx, edgews.Text, []byte("hello from ann"))
	hear(ann)
	hear(bob)
	eve.Write(ctx, edgews.Text, []byte("hello from eve"))
	hear(eve)
	fmt.Println(hub.Len(), "sockets")
	// Output:
	// welcome to /lobby
	// welcome to /lobby
	// welcome to /garden
	// hello from ann
	// hello from ann
	// hello from eve
	// 3 sockets
}

// A client learns why it was refused, and when it may try again.
func ExampleHub_Upgrade_limit() {
	hub := edgews.NewHub(&edgews.HubOptions{MaxPerKey: 1}) // for each address
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := hub.Upgrade(w, r, nil)
		if err != nil {
			fmt.Println("server:", errors.Is(err, edgews.ErrConnectionLimit))
			return
		}
		s.Accept()
	}))
	defer server.Close()

	ctx := context.Background()
	edgews.Dial(ctx, server.URL, nil)
	_, resp, err := edgews.Dial(ctx, server.URL, nil)
	fmt.Println("client:", err)
	fmt.Println(resp.Status, "- again in", resp.Header.Get("Retry-After"), "s")
	// Output:
	// server: true
	// client: edgews: handshake failed: expected status 101, but received 429 Too Many Requests: connection limit exceeded: 1 open, the limit is 1
	// 429 Too Many Requests - again in 10 s
}

// The tags of a socket say what it is to get. They may change while it is open.
func ExampleHub_SetTags() {
	hub := edgews.NewHub(nil)
	client, server := edgews.NewPair()
	client.OnMessage(func(e edgews.MessageEvent) { fmt.Println(e.Text()) })
	client.Accept()
	server.Accept()
	hub.Add(server, "news")

	send := func(topic string) int {
		return hub.Broadcast(edgews.Prepare(edgews.Text, []byte("about "+topic)), topic)
	}
	fmt.Println(send("sport"), "gets it")
	hub.SetTags(server, "news", "sport")
	fmt.Println(send("sport"), "gets it")
	server.Close(edgews.StatusNormalClosure, "")
	<-client.Done()
	// Unordered output:
	// 0 gets it
	// 1 gets it
	// about sport
}

// Shutdown closes what net/http does not know of. The clients learn that the server restarts, and connect again over a second.
func ExampleHub_Shutdown() {
	hub := edgews.NewHub(nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := hub.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		for range s.Messages(context.Background()) { // until the socket ends
		}
		fmt.Println("the handler has finished")
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	server.Config.RegisterOnShutdown(func() { hub.Shutdown(ctx) })

	s, _, _ := edgews.Dial(ctx, server.URL, nil)
	closed := make(chan edgews.CloseEvent, 1)
	s.OnClose(func(e edgews.CloseEvent) { closed <- e })
	s.Accept()

	server.Config.Shutdown(ctx)
	err := hub.Shutdown(ctx) // waits for the call above
	e := <-closed
	fmt.Println(e.Code, err)
	// Output:
	// the handler has finished
	// 1012 service restart <nil>
}
