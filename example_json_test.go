package edgews_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/edgews/edgews"
)

type move struct {
	Type string `json:"type"`
	X, Y int
}

type chat struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

func ExampleSendJSON() {
	client, server := edgews.NewPair()
	client.Accept()
	edgews.SendJSON(client, move{"move", 3, 4})

	m, err := edgews.ReceiveJSON[move](context.Background(), server)
	fmt.Println(m.X, m.Y, err)
	// Output:
	// 3 4 <nil>
}

// A message that is not the JSON that was asked for is an error. The next call goes on with the next message.
func ExampleReceiveJSON() {
	ctx := context.Background()
	client, server := edgews.NewPair()
	client.Accept()
	client.Send(`{"X": "far"}`)
	client.Send(`{"X": 7}`)

	_, err := edgews.ReceiveJSON[move](ctx, server)
	fmt.Println(err)
	m, err := edgews.ReceiveJSON[move](ctx, server)
	fmt.Println(m.X, err)
	// Output:
	// edgews: bad message: its field "X" has the wrong type, string
	// 7 <nil>
}

// The peer is told when it sends something else: 1007.
func ExampleOnJSON() {
	client, server := edgews.NewPair()
	edgews.OnJSON(server, func(m move) error {
		fmt.Println("moved to", m.X, m.Y)
		return nil
	})
	server.Accept()

	client.Accept()
	edgews.SendJSON(client, move{"move", 1, 2})
	client.Send("what?")
	<-client.Done()
	fmt.Println(client.Err())
	// Output:
	// moved to 1 2
	// edgews: connection closed: 1007 invalid frame payload data "message is not the expected JSON"
}

// A Mux calls the handler for the type that a message names.
func ExampleMux() {
	var mux edgews.Mux
	edgews.Handle(&mux, "move", func(ctx context.Context, s *edgews.Socket, m move) error {
		fmt.Println("move to", m.X, m.Y)
		return nil
	})
	edgews.Handle(&mux, "chat", func(ctx context.Context, s *edgews.Socket, c chat) error {
		return edgews.SendJSON(s, chat{"chat", "you said " + c.Text})
	})

	ctx := context.Background()
	client, server := edgews.NewPair()
	client.Accept()
	edgews.SendJSON(client, move{"move", 1, 2})
	edgews.SendJSON(client, chat{"chat", "hi"})
	client.Send(`{"type": "dance"}`)
	for range 3 {
		msg, _ := server.Receive(ctx)
		if err := mux.Dispatch(ctx, server, msg); err != nil {
			fmt.Println(err)
		}
	}
	answer, _ := edgews.ReceiveJSON[chat](ctx, client)
	fmt.Println(answer.Text)
	// Output:
	// move to 1 2
	// edgews: no handler for this type of message: "dance"
	// you said hi
}

type addition struct{ A, B int }

// A request over a socket and its reply are one line on either side.
func ExampleHandleCall() {
	var server edgews.Mux
	edgews.HandleCall(&server, "add", func(_ context.Context, _ *edgews.Socket, req addition) (int, error) {
		if req.A < 0 || req.B < 0 {
			return 0, &edgews.CallError{Code: "negative", Message: "count upwards"}
		}
		return req.A + req.B, nil
	})

	var client edgews.Mux // it takes the replies
	ctx := context.Background()
	here, there := edgews.NewPair()
	here.OnMessage(func(e edgews.MessageEvent) { client.Dispatch(ctx, here, e.Message) })
	there.OnMessage(func(e edgews.MessageEvent) { server.Dispatch(ctx, there, e.Message) })
	here.Accept()
	there.Accept()

	sum, err := edgews.Request[addition, int](ctx, &client, here, "add", addition{1, 2})
	fmt.Println(sum, err)
	_, err = edgews.Request[addition, int](ctx, &client, here, "add", addition{-1, 2})
	fmt.Println(err, errors.Is(err, &edgews.CallError{Code: "negative"}))
	here.Close(edgews.StatusNormalClosure, "")
	// Output:
	// 3 <nil>
	// negative: count upwards true
}
