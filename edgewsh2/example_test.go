package edgewsh2_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewsh2"
)

// The handler of the whole server is wrapped. Requests that are no WebSocket over HTTP/2 are not changed.
func ExampleHandler() {
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		s, err := edgews.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		s.OnMessage(func(e edgews.MessageEvent) { s.Send("you said " + e.Text()) })
		s.Accept()
	})
	server := httptest.NewUnstartedServer(edgewsh2.Handler(mux))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	resp, err := server.Client().Get(server.URL + "/ws")
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println(resp.Proto, resp.StatusCode)
	// Output: HTTP/2.0 505
}
