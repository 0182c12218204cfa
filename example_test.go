package edgews_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/edgews/edgews"
)

func Example() {
	ctx := context.Background()
	client, server := edgews.NewPair()
	server.OnMessage(func(e edgews.MessageEvent) {
		server.Send("you said " + e.Text())
	})
	server.Accept()

	client.Write(ctx, edgews.Text, []byte("hello"))
	msg, err := client.Receive(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(msg.Text())
	client.Close(edgews.StatusNormalClosure, "bye")
	<-server.Done()
	fmt.Println(server.Err())
	// Output:
	// you said hello
	// edgews: connection closed: 1000 normal closure "bye"
}

// What is sent to an end that is not accepted yet waits for it.
func ExampleNewPair() {
	client, server := edgews.NewPair()
	client.Accept()
	client.Send("first")
	client.SendBytes([]byte{1, 2, 3})
	fmt.Println(client.BufferedAmount(), "bytes wait")

	ctx := context.Background()
	for range 2 {
		msg, err := server.Receive(ctx) // accepts
		fmt.Println(msg.Kind, len(msg.Data), err)
	}
	// Output:
	// 8 bytes wait
	// text 5 <nil>
	// binary 3 <nil>
}

// Listeners run in the order in which they were added, one event at a time.
func ExampleSocket_OnMessage() {
	client, server := edgews.NewPair()
	remove := server.OnMessage(func(e edgews.MessageEvent) {
		fmt.Println("first:", e.Text())
	})
	server.OnMessage(func(e edgews.MessageEvent) {
		fmt.Println("second:", e.Text())
		remove()
	})
	server.OnClose(func(e edgews.CloseEvent) {
		fmt.Println("close:", e.Code, e.Reason, e.WasClean)
	})
	server.Accept()

	client.Accept()
	client.Send("one")
	client.Send("two")
	client.Close(edgews.StatusGoingAway, "lunch")
	<-server.Done()
	// Output:
	// first: one
	// second: one
	// second: two
	// close: 1001 going away lunch true
}

// A Close follows everything that was sent before it, and is answered by the other end with the same code.
func ExampleSocket_Close() {
	client, server := edgews.NewPair()
	client.Accept()
	server.Accept()
	fmt.Println(client.ReadyState())

	client.Close(4001, "moved")
	fmt.Println(client.Send("too late"))
	<-server.Done()
	<-client.Done()
	fmt.Println(client.ReadyState(), server.ReadyState())
	fmt.Println(client.Err())
	// Output:
	// OPEN
	// edgews: socket is closed
	// CLOSED CLOSED
	// edgews: connection closed: 4001 "moved"
}

// A half-open socket goes on sending after its peer has said Close.
func ExampleSocket_AcceptHalfOpen() {
	client, server := edgews.NewPair()
	server.OnClose(func(e edgews.CloseEvent) {
		fmt.Println("server is", server.ReadyState())
		server.Send("the last word")
		server.Close(edgews.StatusNormalClosure, "")
	})
	server.AcceptHalfOpen()

	client.OnMessage(func(e edgews.MessageEvent) { fmt.Println(e.Text()) })
	client.Accept()
	client.Close(edgews.StatusNormalClosure, "")
	<-client.Done()
	fmt.Println("client is", client.ReadyState())
	// Output:
	// server is CLOSING
	// the last word
	// client is CLOSED
}

// A broadcast encodes the message once. A receiver that does not keep up gets ErrBufferFull and does not hold the
// others up.
func ExamplePrepare() {
	clients, members := make([]*edgews.Socket, 3), make([]*edgews.Socket, 3)
	for i := range members {
		clients[i], members[i] = edgews.NewPair()
		members[i].Accept()
	}

	news := edgews.Prepare(edgews.Text, []byte("it is noon"))
	for _, member := range members {
		if err := member.SendPrepared(news); err != nil {
			fmt.Println(err)
		}
	}

	for i, client := range clients {
		msg, _ := client.Receive(context.Background())
		fmt.Println(i, msg.Text())
	}
	// Output:
	// 0 it is noon
	// 1 it is noon
	// 2 it is noon
}

// BufferedAmount and ErrBufferFull show a peer that does not keep up; Write waits for it.
func ExampleSocket_Write() {
	client, server := edgews.NewPair()
	server.Accept()
	server.Send(strings.Repeat("x", 1<<20)) // as much as may wait
	fmt.Println(server.Send("more"))

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	fmt.Println(server.Write(ctx, edgews.Text, []byte("more")))

	go client.Receive(context.Background()) // makes room
	fmt.Println(server.Write(context.Background(), edgews.Text, []byte("more")))
	// Output:
	// edgews: send buffer is full: 1048624 bytes wait, the message has 4, the limit is 1048576 (see Options.SendBuffer and Overflow, or use Write)
	// context canceled
	// <nil>
}
