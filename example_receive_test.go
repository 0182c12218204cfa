package edgews_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/edgews/edgews"
)

// A Receive that is cancelled leaves the socket usable.
func ExampleSocket_Receive() {
	client, server := edgews.NewPair()
	client.Accept()

	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err := server.Receive(ctx)
	fmt.Println(err)

	client.Send("better late than never")
	msg, err := server.Receive(context.Background())
	fmt.Println(msg.Text(), err)
	// Output:
	// context deadline exceeded
	// better late than never <nil>
}

// The loop ends silently when the peer says goodbye with 1000, 1001 or no code.
func ExampleSocket_Messages() {
	client, server := edgews.NewPair()
	client.Accept()
	client.Send("one")
	client.Send("two")
	client.Close(edgews.StatusNormalClosure, "")

	for msg, err := range server.Messages(context.Background()) {
		if err != nil {
			fmt.Println("lost:", err)
			return
		}
		fmt.Println(msg.Text())
	}
	fmt.Println("done")
	// Output:
	// one
	// two
	// done
}

// A message of unknown size is written and read piece by piece, and neither side holds all of it.
func ExampleSocket_NextWriter() {
	ctx := context.Background()
	client, server := edgews.NewPair()
	go func() {
		w, err := client.NextWriter(ctx, edgews.Text)
		if err != nil {
			return
		}
		for i := range 3 {
			fmt.Fprintf(w, "line %d\n", i)
		}
		w.Close() // ends the message
	}()

	kind, r, err := server.NextReader(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	data, err := io.ReadAll(r)
	fmt.Printf("%s %q %v\n", kind, data, err)
	// Output:
	// text "line 0\nline 1\nline 2\n" <nil>
}

// NextReader hands a message to anything that takes an io.Reader.
func ExampleSocket_NextReader() {
	client, server := edgews.NewPair()
	client.Accept()
	client.Send("3 4 5")

	_, r, err := server.NextReader(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	var a, b, c int
	fmt.Fscan(bufio.NewReader(r), &a, &b, &c)
	fmt.Println(a + b + c)
	// Output:
	// 12
}

// Ping measures a round trip. No message takes part in it.
func ExampleSocket_Ping() {
	client, server := edgews.NewPair()
	server.Accept()

	rtt, err := client.Ping(context.Background())
	fmt.Println(rtt < time.Minute, err)
	// Output:
	// true <nil>
}

// A stream protocol runs through a socket as through any net.Conn.
func ExampleNetConn() {
	client, server := edgews.NewPair()
	go func() {
		conn := edgews.NetConn(server, edgews.Binary)
		defer conn.Close()
		line, _ := bufio.NewReader(conn).ReadString('\n')
		fmt.Fprintf(conn, "%d bytes\n", len(line))
	}()

	conn := edgews.NetConn(client, edgews.Binary)
	fmt.Fprintln(conn, "hello")
	reply, err := io.ReadAll(conn)
	fmt.Printf("%q %v\n", reply, err)
	// Output:
	// "6 bytes\n" <nil>
}

// errors.As finds out how a socket has ended.
func ExampleCloseError() {
	client, server := edgews.NewPair()
	client.Accept()
	client.Close(edgews.StatusPolicyViolation, "no cheating")

	_, err := server.Receive(context.Background())
	var end *edgews.CloseError
	if errors.As(err, &end) {
		fmt.Println(end.Code == edgews.StatusPolicyViolation, end.Reason, end.WasClean)
	}
	fmt.Println(errors.Is(server.Send("but"), edgews.ErrClosed))
	// Output:
	// true no cheating true
	// true
}
