package edgews_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/edgews/edgews"
)

// A reader that is slow gets the newest price of each share. What it has not taken in time is replaced.
func ExampleSocket_SendLatest() {
	ctx := context.Background()
	client, server := edgews.NewPair()
	server.Accept()
	price := func(share string, cents int) {
		server.SendLatest(share, edgews.Text, fmt.Appendf(nil, "%s %d", share, cents))
	}
	price("ACME", 100) // on its way to the reader
	price("ACME", 101)
	price("EMCA", 700)
	price("ACME", 102)
	price("ACME", 103)
	server.Close(edgews.StatusNormalClosure, "")

	for m, err := range client.Messages(ctx) {
		if err != nil {
			fmt.Println(err)
		}
		fmt.Println(m.Text())
	}
	// Output:
	// ACME 100
	// ACME 103
	// EMCA 700
}

// A producer stops when much is queued, and goes on when most of that has left.
func ExampleSocket_OnDrain() {
	ctx := context.Background()
	client, server := edgews.NewPair()
	server.Accept()
	next := 0
	produce := func(s *edgews.Socket) {
		for ; next < 1000 && s.BufferedAmount() < 500; next++ {
			s.Send(fmt.Sprint("line ", next))
		}
		if next == 1000 {
			s.Close(edgews.StatusNormalClosure, "")
		}
	}
	produce(server)
	server.OnDrain(100, produce) // from now on, only OnDrain calls it

	count := 0
	for range client.Messages(ctx) {
		count++
	}
	fmt.Println(count, "lines")
	// Output: 1000 lines
}

// A feed whose old messages are worthless when new ones have come: a reader that is slow skips some of them, and the queue stays short.
func ExampleOverflow_dropOldest() {
	sent := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{
			Options: edgews.Options{SendBuffer: 64 << 10, Overflow: edgews.OverflowDropOldest, Compression: &edgews.Compression{Disable: true}},
		})
		if err != nil {
			return
		}
		s.Accept()
		for i := range 1000 {
			s.Send(fmt.Sprint(i, strings.Repeat(" ", 64<<10)))
		}
		close(sent)
		s.Close(edgews.StatusNormalClosure, "")
	}))
	defer srv.Close()
	client, _, err := edgews.Dial(context.Background(), srv.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	<-sent // meanwhile the client reads nothing

	count, last := 0, ""
	for m, err := range client.Messages(context.Background()) {
		if err != nil {
			fmt.Println(err)
		}
		count, last = count+1, strings.TrimSpace(m.Text())
	}
	fmt.Println("all:", count == 1000, "newest:", last)
	// Output: all: false newest: 999
}
