// Echo serves a page that tests a WebSocket, and the socket that it talks to.
package main

import (
	"log"
	"net/http"

	"github.com/edgews/edgews"
)

func main() {
	http.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		s.OnMessage(func(e edgews.MessageEvent) { _ = s.Send(e.Text()) })
		_ = s.Accept()
	})
	log.Fatal(http.ListenAndServe("localhost:8080", nil))
}
