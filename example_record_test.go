package edgews_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/edgews/edgews"
)

// A program that does its own accounting gets each fact that counts once. Its own sum is then the meter's usage.
func ExampleRecord() {
	ctx := context.Background()
	var sum edgews.Usage
	facts := make(map[edgews.Fact]int)
	meter := edgews.NewMeter(&edgews.MeterOptions{Record: func(r edgews.Record) { // one call at a time
		sum.MessagesIn += r.Usage.MessagesIn
		facts[r.Fact]++
	}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Options: edgews.Options{Meter: meter}})
		if err != nil {
			return
		}
		s.OnMessage(func(e edgews.MessageEvent) { s.Send("thanks") })
		s.Accept()
	}))
	defer server.Close()
	s, _, err := edgews.Dial(ctx, server.URL, nil)
	if err != nil {
		return
	}
	for range 3 {
		s.Write(ctx, edgews.Text, []byte("hello"))
		s.Receive(ctx)
	}
	s.Close(edgews.StatusNormalClosure, "")
	s.Receive(ctx) // the end
	if err := meter.Flush(ctx); err != nil {
		fmt.Println(err)
	}
	fmt.Println(sum.MessagesIn, "messages,", facts[edgews.FactOpened], "socket opened")
	// Output: 3 messages, 1 socket opened
}
