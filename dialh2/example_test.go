package dialh2_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/dialh2"
)

// Dial over HTTP/2. Several sockets share one connection.
func ExampleTransport() {
	client := &http.Client{Transport: &dialh2.Transport{}}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, _, err := edgews.Dial(ctx, "wss://chat.example/ws", &edgews.DialOptions{HTTPClient: client})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close(edgews.StatusNormalClosure, "")
	s.Accept()
	s.Send("hello")
}
