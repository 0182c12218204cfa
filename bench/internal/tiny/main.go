// Tiny is the smallest echo server with edgews, a program of its own. It is started to measure how long a program takes from its start to its
// first message, and what the packages that it imports do before main.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/edgews/edgews"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		fmt.Println("listening", l.Addr())
		err = http.Serve(l, http.HandlerFunc(echo))
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func echo(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	s.OnMessage(func(e edgews.MessageEvent) { _ = e.Target.Write(context.Background(), e.Kind, e.Data) })
	_ = s.Accept()
}
