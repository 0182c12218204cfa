package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
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

// TestOrderSurvivesAMove: State.WebSockets begins with the socket that was accepted first, also on the next home.
func TestOrderSurvivesAMove(t *testing.T) {
	sites := startSitesOf(t, func(_ context.Context, st *edgews.State) (edgews.Object, error) { return &orderly{st}, nil }, nil, "a", "b", "c")
	home, others := homeOf(t, sites, "lobby")
	var first *edgews.Socket
	for i := range 8 {
		s := others[0].dial(t, "lobby", fmt.Sprint(i))
		if i == 0 {
			first = s
		}
	}
	before := ask(t, first, "x")
	require.NoError(t, home.Leave(context.Background()))
	require.Equal(t, before, ask(t, first, "x"))
}
