package cluster_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// orderly is an object that says which sockets it has, in their order.
type orderly struct{ st *edgews.State }

func (o *orderly) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Protocols: []string{"tally"}}); err == nil {
		_ = o.st.AcceptWebSocket(s, r.URL.RawQuery)
	}
}

func (o *orderly) WebSocketMessage(_ context.Context, s *edgews.Socket, m edgews.Message) error {
	var all []string
	for _, x := range o.st.WebSockets() {
		tags, _ := o.st.Tags(x)
		all = append(all, tags...)
	}
	return s.Send(strings.Join(all, " "))
}

// TestOrderSurvivesAMove: State.WebSockets begins with the socket that was accepted first, also on the next home, and also when the edge was slow
// to go on after its answer to the first client.
func TestOrderSurvivesAMove(t *testing.T) {
	sites := startSitesOf(t, func(_ context.Context, st *edgews.State) (edgews.Object, error) { return &orderly{st}, nil }, nil, "a", "b", "c")
	home, others := settledHomeOf(t, sites, "lobby")
	slow := &slowAnswer{answered: make(chan struct{}), goOn: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		others[0].rooms.ByName("lobby").ServeHTTP(hijackable{w, slow}, r)
	}))
	t.Cleanup(server.Close)
	first, _, err := edgews.Dial(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http")+"/?user=0", &edgews.DialOptions{Protocols: []string{"tally"}})
	require.NoError(t, err)
	t.Cleanup(func() { first.Close(1000, "") })
	<-slow.answered
	for i := range 7 {
		ask(t, others[0].dial(t, "lobby", fmt.Sprint(i+1)), "x") // the edge has begun with it then
	}
	close(slow.goOn)
	before := ask(t, first, "x")
	require.Equal(t, "user=0 user=1 user=2 user=3 user=4 user=5 user=6 user=7", before)
	require.NoError(t, home.Leave(context.Background()))
	require.Equal(t, before, ask(t, first, "x"))
}

// slowAnswer is a connection whose first Write returns some time after the client has got the bytes.
type slowAnswer struct {
	net.Conn
	once           sync.Once
	answered, goOn chan struct{}
}

func (c *slowAnswer) Write(p []byte) (n int, err error) {
	n, err = c.Conn.Write(p)
	c.once.Do(func() {
		close(c.answered)
		<-c.goOn
	})
	return n, err
}

// hijackable has a slowAnswer as its connection.
type hijackable struct {
	http.ResponseWriter
	slow *slowAnswer
}

func (w hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, buffers, err := w.ResponseWriter.(http.Hijacker).Hijack()
	w.slow.Conn = c
	return w.slow, buffers, err
}
