package memnet

import (
	"errors"
	"io"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
)

// TestNetwork asks a server, then stops it and starts another one at the same address.
func TestNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n Network
		for _, text := range []string{"first", "second"} {
			l, err := n.Listen("server:80")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := n.Listen("server:80"); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("a second listener: %v", err)
			}
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })}
			go server.Serve(l)
			resp, err := n.Client().Get("http://server:80/")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || string(body) != text {
				t.Errorf("got %q and %v, want %q", body, err, text)
			}
			server.Close()
			if _, err := n.Client().Get("http://server:80/"); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a server that was stopped: %v", err)
			}
		}
	})
}
