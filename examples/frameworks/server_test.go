package frameworks

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/edgews/edgews"
)

// socket upgrades a request and sends every message back. It is the handler of most examples.
func socket(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return // the request has been answered, and err says why
	}
	s.OnMessage(func(e edgews.MessageEvent) { s.Send("echo of " + e.Text()) })
	s.Accept()
}

// serve starts a server with a handler, for one example.
func serve(h http.Handler) (url string, stop func()) {
	server := httptest.NewServer(h)
	return server.URL, server.Close
}

// say opens a socket, sends a message and returns the answer, or what the server has said to the refused request.
func say(url, message string) string {
	ctx := context.Background()
	s, resp, err := edgews.Dial(ctx, url, nil)
	if resp != nil && err != nil { // refused
		body, _ := io.ReadAll(resp.Body)
		return fmt.Sprint(resp.StatusCode, ": ", strings.TrimSpace(string(body)))
	}
	if err != nil {
		return err.Error()
	}
	defer s.Close(edgews.StatusNormalClosure, "")
	if err := s.Write(ctx, edgews.Text, []byte(message)); err != nil {
		return err.Error()
	}
	answer, err := s.Receive(ctx)
	if err != nil {
		return err.Error()
	}
	return answer.Text()
}
