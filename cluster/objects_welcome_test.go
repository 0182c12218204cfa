package cluster_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// welcomer is an object that sends something in the request that opens the socket.
type welcomer struct{ st *edgews.State }

func newWelcomer(_ context.Context, st *edgews.State) (edgews.Object, error) {
	return &welcomer{st}, st.SetAutoResponse(edgews.AutoResponse{Request: "ping", Response: "pong"})
}

func (o *welcomer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	err = errors.Join(o.st.AcceptWebSocket(s), s.Send("welcome"), s.Send("at home"))
	if r.FormValue("and") == "close" {
		err = errors.Join(err, s.Close(edgews.StatusNormalClosure, "bye"))
	}
	if err != nil {
		panic(err)
	}
}

// WebSocketMessage is called for what the edge does not answer.
func (o *welcomer) WebSocketMessage(_ context.Context, s *edgews.Socket, m edgews.Message) error {
	return s.Send("not answered by the edge: " + m.Text())
}

// What an object sends in the request that opens the socket arrives, on the home itself and on another node.
func TestWelcome(t *testing.T) {
	sites := startSitesOf(t, newWelcomer, nil, "a", "b")
	for _, s := range sites {
		for n := range 50 {
			c := s.dial(t, fmt.Sprint("room", n), "ann")
			assert.Equal(t, "welcome", next(t, c))
			assert.Equal(t, "at home", next(t, c))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c, _, err := edgews.Dial(ctx, s.url+"/room?and=close", nil)
		require.NoError(t, err)
		assert.Equal(t, "welcome", next(t, c))
		assert.Equal(t, "at home", next(t, c))
		_, err = c.Receive(ctx)
		var end *edgews.CloseError
		require.ErrorAs(t, err, &end)
		assert.Equal(t, edgews.CloseError{Code: edgews.StatusNormalClosure, Reason: "bye"}, edgews.CloseError{Code: end.Code, Reason: end.Reason})
	}
}

// What a client sends together with its request is answered as what it sends later: by the edge, if the object has said so before it has
// accepted the socket. The answer may come before what the object sends afterwards.
func TestMessageWithTheRequest(t *testing.T) {
	s := startSitesOf(t, newWelcomer, nil, "a")[0]
	for n := range 50 {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "ws://"))
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.SetDeadline(time.Now().Add(time.Minute)))
		_, err = fmt.Fprintf(c, "GET /room%d HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x84\x00\x00\x00\x00ping", n)
		require.NoError(t, err)
		in := bufio.NewReader(c)
		resp, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		got := make([]byte, len("\x81\x07welcome\x81\x07at home\x81\x04pong"))
		_, err = io.ReadFull(in, got)
		require.NoError(t, err)
		require.Contains(t, string(got), "\x81\x04pong")
		require.Equal(t, "\x81\x07welcome\x81\x07at home", strings.Replace(string(got), "\x81\x04pong", "", 1))
	}
}
