package edgews_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// topical is an object whose sockets choose their topics.
type topical struct {
	st *edgews.State
	ns func() *edgews.Namespace
}

// ServeHTTP accepts the end of a pair, and answers with the other one; or it accepts the connection itself.
func (o *topical) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("name") == "pair" {
		client, server := edgews.NewPair()
		_ = o.st.AcceptWebSocket(server, "name:pair")
		_ = o.st.Subscribe("all", server)
		_ = edgews.Respond(w, r, client, nil)
		return
	}
	if s, err := edgews.Upgrade(w, r, nil); err == nil {
		_ = o.st.AcceptWebSocket(s)
	}
}

// WebSocketMessage: "subscribe T", "unsubscribe T", "publish T".
func (o *topical) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	what, topic, _ := strings.Cut(m.Text(), " ")
	switch what {
	case "subscribe":
		return o.st.Subscribe(topic, s)
	case "unsubscribe":
		return o.st.Unsubscribe(topic, s)
	}
	return o.ns().Publish(ctx, topic, edgews.Prepare(edgews.Text, []byte("hello")))
}

func newTopicNodes(t *testing.T) (c *twoNodes, id edgews.ID, value func() *edgews.State) {
	var last *edgews.State
	c = newTwoNodes(t, func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		last = st
		return &topical{st, func() *edgews.Namespace { return c.at().ns }}, nil
	})
	return c, c.at().ns.IDFromName("lobby"), func() *edgews.State { return last }
}

// TestClusterTopics: a connection is subscribed at its edge, which keeps that when the object moves.
func TestClusterTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, id, value := newTopicNodes(t)
		first := c.at()
		ann := first.dial(t, id, "ann")
		ann.says("subscribe a")
		ann.says("subscribe b")
		ann.says("subscribe a")
		assert.Equal(t, []string{"a", "b"}, ann.topics)
		assert.Equal(t, 1, first.ns.Subscribers("a"))
		ann.says("publish a")
		assert.Empty(t, ann.take(), "the edge sends it")
		assert.Equal(t, []string{"rooms a hello"}, c.published)
		assert.Empty(t, first.subscribed, "no other sockets have subscribed")

		second := c.move(t)
		assert.Equal(t, []string{"a", "b"}, ann.topics)
		assert.Zero(t, first.ns.Subscribers("a"))
		_, err := second.host.Restore(context.Background(), id, []edgews.ClusterRestored{ann.restored()})
		require.NoError(t, err)
		assert.Equal(t, 1, second.ns.Subscribers("a"))
		ann.says("unsubscribe a")
		assert.Equal(t, []string{"b"}, ann.topics)
		topics, err := value().Topics(second.ns.Sockets(id)[0])
		require.NoError(t, err)
		assert.Equal(t, []string{"b"}, topics)
		ann.s.Lost(nil)
		synctest.Wait()
		assert.Zero(t, second.ns.Subscribers("b"))
	})
}

// TestClusterTopicsOfPairs: a pair's end is subscribed on its home until it has a connection, and then at its edge.
func TestClusterTopicsOfPairs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, id, value := newTopicNodes(t)
		home := c.at()
		pair := home.dial(t, id, "pair")
		assert.Equal(t, []string{"all"}, pair.topics)
		assert.Equal(t, map[string]bool{"all": false}, home.subscribed)

		client, server := edgews.NewPair()
		client.Accept()
		require.NoError(t, value().AcceptWebSocket(server))
		require.NoError(t, value().Subscribe("all", server))
		assert.Equal(t, map[string]bool{"all": true}, home.subscribed)
		assert.Equal(t, 2, home.ns.Subscribers("all"))
		require.NoError(t, home.ns.Publish(context.Background(), "all", edgews.Prepare(edgews.Text, []byte("hello"))))
		m, err := client.Receive(context.Background())
		require.NoError(t, err)
		assert.Equal(t, "hello", m.Text())
		assert.Empty(t, pair.take())
		require.NoError(t, value().Unsubscribe("all", server))
		assert.Equal(t, map[string]bool{"all": false}, home.subscribed)
		assert.Equal(t, 1, home.ns.Subscribers("all"))
		client.Close(1000, "")
	})
}

// TestClusterFeedOfAPair: a pair's end that has joined before it has a connection stays a member too.
func TestClusterFeedOfAPair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFeedNodes(t, "")
		ann := n.joins("ann")
		ann.says("say 0 x")
		ann.take()
		pair := n.at().dial(t, n.id, "pair")
		ann.says("say 0 y")
		assert.Equal(t, []string{"joined pair", `message 2 "y"`}, ann.frames(t))
		assert.Equal(t, []string{"cursor 0 here: ann pair", `message 1 "x"`, `message 2 "y"`}, pair.frames(t))
		n.fail()
		n.restore(ann, pair)
		ann.says("say 0 z")
		assert.Equal(t, []string{`message 3 "z"`}, ann.frames(t))
		assert.Equal(t, []string{`message 3 "z"`}, pair.frames(t))
	})
}

// TestClusterTopicLimit: what an edge keeps is bounded.
func TestClusterTopicLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, id, value := newTopicNodes(t)
		ann := c.at().dial(t, id, "ann")
		s := value().WebSockets()[0]
		name := func(i int) string { return fmt.Sprintf("%0256d", i) }
		for i := range 64 {
			require.NoError(t, value().Subscribe(name(i), s))
		}
		require.NoError(t, value().Subscribe(name(7), s), "it has it")
		require.ErrorIs(t, value().Subscribe(name(64), s), edgews.ErrTooManyTopics)
		assert.Len(t, ann.topics, 64)
		require.NoError(t, value().Unsubscribe(name(7), s))
		require.NoError(t, value().Subscribe(name(64), s))
	})
}

// TestClusterTopicsCount: messages that the edge has sent are the object's.
func TestClusterTopicsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := edgews.NewMeter(nil)
		store := edgews.NewMemoryStore()
		c := &twoNodes{store: store}
		home := &testNode{c: c}
		c.nodes[0] = home
		home.ns = edgews.NewNamespace("rooms", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
			return &topical{st, nil}, nil
		}, &edgews.NamespaceOptions{Cluster: home, Options: edgews.Options{Meter: meter}})
		defer home.ns.Shutdown(context.Background())
		ann := home.dial(t, home.ns.IDFromName("lobby"), "ann")
		ann.s.Published(3, 100)
		ann.s.Published(0, 0)
		assert.Equal(t, int64(3), meter.Usage().MessagesOut)
		assert.Equal(t, int64(100), meter.Usage().BytesOut)
	})
}
