package cluster_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// slowAccepter is an object that waits between Upgrade and AcceptWebSocket the first time.
type slowAccepter struct {
	st       *edgews.State
	calls    *atomic.Int32
	upgraded chan<- struct{}
	goOn     <-chan struct{}
}

func (o *slowAccepter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Protocols: []string{"tally"}})
	if err != nil {
		return
	}
	if o.calls.Add(1) == 1 {
		o.upgraded <- struct{}{}
		<-o.goOn
	}
	_ = o.st.AcceptWebSocket(s)
}

func (o *slowAccepter) WebSocketMessage(_ context.Context, s *edgews.Socket, m edgews.Message) error {
	return s.Send("got " + m.Text())
}

// TestHomeDiesBeforeItAccepts: a client whose home dies between Upgrade and AcceptWebSocket gets a socket at the next home, and not one that ends at
// once.
func TestHomeDiesBeforeItAccepts(t *testing.T) {
	var calls atomic.Int32
	upgraded, goOn := make(chan struct{}), make(chan struct{})
	sites := startSitesOf(t, func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return &slowAccepter{st, &calls, upgraded, goOn}, nil
	}, nil, "a", "b", "c")
	t.Cleanup(func() { close(goOn) })
	home, others := settledHomeOf(t, sites, "lobby")
	dialed := make(chan *edgews.Socket, 1)
	go func() {
		s, _, err := edgews.Dial(t.Context(), others[0].url+"/lobby?user=u", &edgews.DialOptions{Protocols: []string{"tally"}})
		assert.NoError(t, err)
		dialed <- s
	}()
	<-upgraded
	home.kill()
	s := <-dialed
	require.NotNil(t, s)
	assert.Equal(t, "got x", ask(t, s, "x"))
	assert.EqualValues(t, 2, calls.Load())
}
