package edgews_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/edgews/edgews"
)

func ExampleStatusCode() {
	fmt.Println(edgews.StatusGoingAway)
	fmt.Println(edgews.StatusCode(4408))
	fmt.Println(uint16(edgews.StatusNormalClosure))
	// Output:
	// 1001 going away
	// 4408
	// 1000
}

func ExampleReadyState() {
	client, server := edgews.NewPair()
	client.Accept()
	server.Accept()
	fmt.Println(client.ReadyState() == edgews.Open)
	client.Close(edgews.StatusNormalClosure, "")
	fmt.Println(client.ReadyState() == edgews.Open)
	// Output:
	// true
	// false
}

func ExampleMessage() {
	client, server := edgews.NewPair()
	client.Accept()
	client.Send("hello")
	client.SendBytes([]byte{1, 2, 3})
	for range 2 {
		m, err := server.Receive(context.Background())
		if err != nil {
			return
		}
		if m.Kind == edgews.Text {
			fmt.Println("text:", m.Text())
		} else {
			fmt.Println("bytes:", m.Data)
		}
	}
	// Output:
	// text: hello
	// bytes: [1 2 3]
}

// Events of one end of a pair, in their order.
func ExampleCloseEvent() {
	client, server := edgews.NewPair()
	server.OnMessage(func(e edgews.MessageEvent) { fmt.Println("message:", e.Text()) })
	server.OnError(func(e edgews.ErrorEvent) { fmt.Println("error:", e.Err) })
	server.OnClose(func(e edgews.CloseEvent) { fmt.Println("close:", uint16(e.Code), e.Reason, e.WasClean) })
	client.Accept()
	server.Accept()
	client.Send("hello")
	client.Close(edgews.StatusNormalClosure, "bye")
	<-server.Done()
	// Output:
	// message: hello
	// close: 1000 bye true
}

// Images are compressed already, and a message with a secret must not be compressed together with what others choose.
func ExampleCompression() {
	opts := &edgews.UpgradeOptions{Options: edgews.Options{Compression: &edgews.Compression{
		Threshold: 512,
		Choose:    func(kind edgews.Kind, data []byte) bool { return kind == edgews.Text },
	}}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, err := edgews.Upgrade(w, r, opts); err == nil {
			s.Accept()
		}
	}))
	defer server.Close()
	s, _, err := edgews.Dial(context.Background(), server.URL, nil)
	if err != nil {
		return
	}
	defer s.Close(edgews.StatusNormalClosure, "")
	fmt.Println(len(s.Extensions()) > 0)
	// Output: true
}

// A server for the pages of two sites, which speaks one of two subprotocols.
func ExampleUpgradeOptions() {
	opts := &edgews.UpgradeOptions{
		Protocols:      []string{"chat.v2", "chat.v1"},
		AllowedOrigins: []string{"https://example.com", "https://*.example.org"},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, err := edgews.Upgrade(w, r, opts); err == nil {
			s.Accept()
		}
	}))
	defer server.Close()
	for _, origin := range []string{"https://chat.example.org", "https://evil.example"} {
		s, resp, err := edgews.Dial(context.Background(), server.URL, &edgews.DialOptions{
			Protocols: []string{"chat.v1"}, Header: http.Header{"Origin": {origin}},
		})
		if err != nil {
			fmt.Println(resp.StatusCode)
			continue
		}
		fmt.Println(s.Protocol())
		s.Close(edgews.StatusNormalClosure, "")
	}
	// Output:
	// chat.v1
	// 403
}

// Money is exact: in billionths of a dollar.
func ExampleUSD() {
	price, err := edgews.ParseUSD("0.15")
	if err != nil {
		return
	}
	fmt.Println(3 * price)
	// Output: $0.45
}

// What a peer is told of a failure: a code for programs, and a message for people. Other errors are "internal" for it.
func ExampleCallError() {
	m := new(edgews.Mux)
	edgews.HandleCall(m, "join", func(context.Context, *edgews.Socket, struct{ Room string }) (any, error) {
		return nil, &edgews.CallError{Code: "no_room", Message: "it is full"}
	})
	client, server := edgews.NewPair()
	server.OnMessage(func(e edgews.MessageEvent) { m.Dispatch(context.Background(), server, e.Message) })
	client.Accept()
	server.Accept()
	client.Send(`{"type":"join","id":1,"room":"lobby"}`)
	reply, _ := client.Receive(context.Background())
	fmt.Println(reply.Text())
	// Output: {"type":"reply","id":1,"error":{"code":"no_room","message":"it is full"}}
}

// What a storage engine is asked to do. An engine of your own passes package storetest.
func ExampleStore() {
	ctx := context.Background()
	var id edgews.ID // of an object; a namespace makes IDs
	var store edgews.Store = edgews.NewMemoryStore()
	defer store.Close()
	var object edgews.ObjectStore
	var err error
	object, err = store.Open(ctx, edgews.ObjectKey{Namespace: "rooms", ID: id}, edgews.Fence{Epoch: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer object.Release()
	due := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	err = object.Commit(ctx, edgews.Batch{
		Puts:  []edgews.Entry{{Key: "name", Value: []byte("lobby")}, {Key: "topic", Value: []byte("news")}},
		Alarm: &edgews.AlarmChange{Time: due},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for e, err := range object.Scan(ctx, edgews.Range{Prefix: "n"}) {
		fmt.Printf("%s: %s %v\n", e.Key, e.Value, err)
	}
	if many, ok := object.(edgews.ManyGetter); ok { // an engine may be able to read several keys at once
		values, err := many.GetMany(ctx, []string{"name", "topic"})
		fmt.Println(len(values), "values", err)
	}
	var alarms []edgews.DueAlarm
	alarms, err = store.DueAlarms(ctx, "rooms", due, 10)
	fmt.Println(len(alarms), "alarm", err)
	// Output:
	// name: lobby <nil>
	// 2 values <nil>
	// 1 alarm <nil>
}
