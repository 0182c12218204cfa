package edgews_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/edgews/edgews"
)

// journal is an Observer that writes lines about sockets, objects and refusals to a channel.
type journal struct {
	edgews.NopObserver
	lines chan string
}

func (j journal) ObserveSocket(e edgews.SocketObservation) {
	if isTrouble(e.Event, e.Cause) {
		j.lines <- fmt.Sprintf("socket %v: %v", e.Event, e.Cause)
	}
}

// isTrouble tells what an operator wants to know from what happens all day. Both types have few values, so they suit labels of metrics.
func isTrouble(event edgews.SocketEvent, cause edgews.CloseCause) bool {
	switch event {
	case edgews.SocketSlow:
		return true
	case edgews.SocketClosed:
		return cause != edgews.ClosedByPeer && cause != edgews.ClosedLocally && cause != edgews.ClosedByShutdown
	}
	return false
}

func (j journal) ObserveObject(e edgews.ObjectObservation) { j.lines <- line(e.Event, e.Trigger) }

// line says what has happened to an object.
func line(event edgews.ObjectEvent, by edgews.Trigger) string {
	switch event {
	case edgews.EventConstructed:
		return "woken by " + by.String()
	case edgews.EventHandled:
		return by.String() + " handled"
	}
	return event.String()
}

func (j journal) ObserveRefusal(e edgews.RefusalObservation) {
	j.lines <- fmt.Sprintf("%s refused with %d: %s", e.Request.URL.Path, e.Status, advice(e.Cause))
}

// advice says what to do about a refusal.
func advice(cause edgews.RefusalCause) string {
	switch cause {
	case edgews.RefusedOrigin:
		return "is the page of a site that AllowedOrigins lacks?"
	case edgews.RefusedLimit:
		return "who has all the sockets?"
	}
	return cause.String()
}

// Sockets that close as agreed are no trouble; a message that is too large is.
func ExampleSocketObservation() {
	j := journal{lines: make(chan string, 10)}
	options := &edgews.UpgradeOptions{Options: edgews.Options{Observer: j, MaxMessageSize: 10}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, err := edgews.Upgrade(w, r, options); err == nil {
			s.OnMessage(func(edgews.MessageEvent) {})
			s.Accept()
		}
	}))
	defer server.Close()
	ctx := context.Background()
	client, _, err := edgews.Dial(ctx, server.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	client.Write(ctx, edgews.Text, []byte("more than ten bytes"))
	client.Receive(ctx) // the end
	fmt.Println(<-j.lines)
	// Output: socket closed: limit
}

// What an object does: it wakes for a request, and hibernates.
func ExampleObjectObservation() {
	j := journal{lines: make(chan string, 10)}
	rooms := edgews.NewNamespace("clocks", NewRoom, &edgews.NamespaceOptions{Options: edgews.Options{Observer: j}})
	ctx := context.Background()
	lobby := rooms.ByName("lobby")
	lobby.Do(ctx, func(context.Context, edgews.Object) error { return nil })
	rooms.Hibernate(ctx, lobby.ID())
	for range 3 {
		fmt.Println(<-j.lines)
	}
	rooms.Shutdown(ctx)
	// Output:
	// woken by do
	// do handled
	// hibernated
}

// A page of another site asks for a socket.
func ExampleRefusalObservation() {
	j := journal{lines: make(chan string, 10)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: edgews.Options{Observer: j}})
	}))
	defer server.Close()
	edgews.Dial(context.Background(), server.URL+"/chat", &edgews.DialOptions{Header: http.Header{"Origin": {"https://evil.example"}}})
	fmt.Println(<-j.lines)
	// Output: /chat refused with 403: is the page of a site that AllowedOrigins lacks?
}
