package js_test

import (
	"net/http"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/client/js"
)

// A page that is served beside the module imports it from /edgews.js.
func ExampleHandler() {
	mux := http.NewServeMux()
	mux.Handle("GET /edgews.js", js.Handler())
	mux.HandleFunc("GET /ws", func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, nil)
		if err != nil {
			return // answered already: 426 if it is the GET after a failed handshake
		}
		s.OnMessage(func(e edgews.MessageEvent) {
			if e.Text() == "ping" { // the heartbeat
				s.Send("pong")
				return
			}
			s.Send("you said " + e.Text())
		})
		s.Accept()
	})
	server := &http.Server{Addr: "localhost:8080", Handler: mux}
	_ = server // server.ListenAndServe()
}
