package edgews_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// feedObject is an object whose sockets join its feeds, and publish what they say.
type feedObject struct {
	st    *edgews.State
	feeds []*edgews.Feed
}

// feedNodes are two nodes with one such object.
type feedNodes struct {
	*twoNodes
	t     *testing.T
	id    edgews.ID
	names []string // of the feeds
	mu    sync.Mutex
	value *feedObject // that was constructed last
	made  int         // how many were
}

func newFeedNodes(t *testing.T, names ...string) *feedNodes {
	n := &feedNodes{t: t, names: names}
	n.twoNodes = newTwoNodes(t, func(ctx context.Context, st *edgews.State) (edgews.Object, error) {
		o := &feedObject{st: st}
		for _, name := range names {
			f, err := edgews.NewFeed(ctx, st, &edgews.FeedOptions{Name: name})
			if err != nil {
				return nil, err
			}
			o.feeds = append(o.feeds, f)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		n.value = o
		n.made++
		return o, nil
	})
	n.id = n.at().ns.IDFromName("lobby")
	return n
}

func (o *feedObject) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("name") == "pair" {
		client, server := edgews.NewPair()
		_ = o.st.AcceptWebSocket(server)
		_ = o.feeds[0].Join(r.Context(), server, "pair", 0)
		_ = edgews.Respond(w, r, client, nil)
		return
	}
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil || o.st.AcceptWebSocket(s) != nil {
		return
	}
	_ = s.SetAttachment(r.URL.Query().Get("name"))
}

// WebSocketMessage: "join N" joins the feed N with the name that is the attachment, "leave N" leaves it, "replay N" replays it, and "say N …"
// publishes.
func (o *feedObject) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	var i int
	what, text, _ := strings.Cut(m.Text(), " ")
	number, text, _ := strings.Cut(text, " ")
	if _, err := fmt.Sscan(number, &i); err != nil {
		return err
	}
	f := o.feeds[i]
	switch what {
	case "join":
		var who string
		_ = s.Attachment(&who)
		who, _, _ = strings.Cut(who, "-") // ann-2 is another socket of ann
		return f.Join(ctx, s, who, 0)
	case "leave":
		return f.Leave(s)
	case "replay":
		return f.Replay(ctx, s, 0)
	}
	_, err := f.Publish(ctx, "", text)
	return err
}

// joins opens a socket and has it join the first feed.
func (n *feedNodes) joins(name string) *edgeConn {
	n.t.Helper()
	c := n.at().dial(n.t, n.id, name)
	c.says("join 0")
	return c
}

func (c *edgeConn) says(text string) {
	c.s.Deliver(edgews.Text, []byte(text))
	synctest.Wait()
}

// frames returns what the client has got since the last call.
func (c *edgeConn) frames(t *testing.T) (all []string) {
	t.Helper()
	for _, f := range c.feedFrames(t) {
		all = append(all, brief(f))
	}
	return all
}

func (c *edgeConn) feedFrames(t *testing.T) (all []edgews.FeedFrame) {
	t.Helper()
	for _, got := range c.take() {
		var f edgews.FeedFrame
		require.NoError(t, json.Unmarshal([]byte(strings.TrimPrefix(got, "text true true ")), &f), got)
		all = append(all, f)
	}
	return all
}

// restore gives the present home the sockets.
func (n *feedNodes) restore(conns ...*edgeConn) {
	n.t.Helper()
	var list []edgews.ClusterRestored
	for _, c := range conns {
		c.loses(false)
		r := c.restored()
		r.Conn, r.Positions = laterConn{c}, slices.Clone(r.Positions)
		c.mu.Lock()
		c.moved = true
		c.mu.Unlock()
		list = append(list, r)
	}
	home := n.at()
	_, err := home.host.Restore(context.Background(), n.id, list)
	require.NoError(n.t, err)
	home.host.AlarmsChanged()
	synctest.Wait()
}

// laterConn is what the second home has of an edgeConn. What the first home sends is ignored from then on.
type laterConn struct{ *edgeConn }

func (c laterConn) Send(kind edgews.Kind, first, last bool, data []byte, _ *edgews.Prepared) bool {
	return c.send(kind, first, last, data)
}

func (c laterConn) Position(p edgews.ClusterPosition) { c.position(p) }

func (c laterConn) Describe(kept edgews.ClusterKept) { c.describe(kept) }

// TestClusterFeedMoves: after a move members are members, and nobody notices.
func TestClusterFeedMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFeedNodes(t, "")
		ann, bob := n.joins("ann"), n.joins("bob")
		assert.Equal(t, []string{"cursor 0 here: ann", "joined bob"}, ann.frames(t))
		assert.Equal(t, []string{"cursor 0 here: ann bob"}, bob.frames(t))
		ann.says("say 0 x")
		assert.Equal(t, []string{`message 1 "x"`}, ann.frames(t))
		assert.Equal(t, []string{`message 1 "x"`}, bob.frames(t))
		here := n.value.feeds[0].Here()

		time.Sleep(time.Second)
		n.move(t)
		made := n.made
		n.restore(ann, bob)
		assert.Empty(t, ann.take())
		assert.Empty(t, bob.take())
		assert.Equal(t, made, n.made, "there is nothing to wake the object for")

		bob.says("say 0 y")
		assert.Equal(t, []string{`message 2 "y"`}, ann.frames(t))
		assert.Equal(t, []string{`message 2 "y"`}, bob.frames(t))
		assert.Equal(t, here, n.value.feeds[0].Here(), "also since when")
		carl := n.joins("carl")
		assert.Equal(t, []string{"cursor 0 here: ann bob carl", `message 1 "x"`, `message 2 "y"`}, carl.frames(t))
		assert.Equal(t, []string{"joined carl"}, ann.frames(t))
		ann.s.Lost(nil)
		assert.Equal(t, []string{"joined carl"}, bob.frames(t))
		time.Sleep(5 * time.Second)
		assert.Equal(t, []string{"left ann"}, bob.frames(t))
		bob.says("leave 0")
		assert.Empty(t, bob.frames(t))
		assert.Empty(t, bob.kept.Feeds)
		assert.Empty(t, bob.positions)
	})
}

// TestClusterFeedFailover: the home dies before it has sent a message, or the first frame, to some of its members.
func TestClusterFeedFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFeedNodes(t, "")
		ann, bob := n.joins("ann"), n.joins("bob")
		ann.says("say 0 x")
		ann.take()
		bob.take()
		bob.loses(true)
		carl := n.at().dial(t, n.id, "carl")
		carl.loses(true)
		carl.says("join 0")
		ann.says("say 0 y")
		assert.Equal(t, []string{"joined carl", `message 2 "y"`}, ann.frames(t))
		n.fail()
		n.restore(ann, bob, carl)
		assert.Empty(t, ann.take())
		assert.Equal(t, []string{`message 2 "y"`, "here here: ann bob carl"}, bob.frames(t))
		assert.Equal(t, []string{"cursor 0 here: ann bob carl", `message 1 "x"`, `message 2 "y"`}, carl.frames(t))
		carl.says("say 0 z")
		for _, c := range []*edgeConn{ann, bob, carl} {
			assert.Equal(t, []string{`message 3 "z"`}, c.frames(t))
		}
	})
}

// TestClusterFeedLosesSockets: with the home its clients are gone. The others are told who is there.
func TestClusterFeedLosesSockets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFeedNodes(t, "")
		ann, bob, bob2, carl := n.joins("ann"), n.joins("bob"), n.joins("bob-2"), n.joins("carl")
		ann.take()
		bob.take()
		n.fail()
		n.restore(ann, bob) // bob has lost one socket of two
		assert.Equal(t, []string{"here here: ann bob"}, ann.frames(t))
		assert.Equal(t, []string{"here here: ann bob"}, bob.frames(t))
		assert.Equal(t, 1, n.value.feeds[0].Here()[1].Sockets)
		bob2.take()
		carl.take()
	})
}

// TestClusterFeedReplayMoves: a replay to a socket that is no member goes on.
func TestClusterFeedReplayMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFeedNodes(t, "")
		ann := n.joins("ann")
		ann.says("say 0 x")
		ann.says("say 0 y")
		ann.take()
		bob := n.at().dial(t, n.id, "bob")
		bob.loses(true)
		s := n.at().ns.Sockets(n.id)[1]
		require.NoError(t, s.SendBytes(make([]byte, 1<<20))) // the replay waits for room
		bob.says("replay 0")
		require.Len(t, bob.kept.Feeds, 1)
		n.fail()
		n.restore(ann, bob)
		assert.Equal(t, []string{"cursor 0 here: ann", `message 1 "x"`, `message 2 "y"`}, bob.frames(t))
		assert.Empty(t, bob.kept.Feeds, "it is over")
		ann.says("say 0 z")
		assert.Empty(t, bob.take())
	})
}

// TestClusterFeedNumbersGoOn: as on one node when the storage is emptied.
func TestClusterFeedNumbersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFeedNodes(t, "")
		ann := n.joins("ann")
		ann.says("say 0 x")
		require.NoError(t, n.value.st.Storage().DeleteAll(context.Background()))
		ann.take()
		n.move(t)
		n.restore(ann)
		ann.says("say 0 y")
		assert.Equal(t, []string{`message 2 "y"`}, ann.frames(t))
	})
}

// TestClusterFeedLimit: what an edge keeps is bounded.
func TestClusterFeedLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range 17 {
			names = append(names, fmt.Sprint("feed", i))
		}
		n := newFeedNodes(t, names...)
		ann := n.at().dial(t, n.id, "ann")
		for i := range 17 {
			ann.says(fmt.Sprint("join ", i))
		}
		assert.Len(t, ann.kept.Feeds, 16)
		s := n.value.st.WebSockets()[0]
		require.ErrorIs(t, n.value.feeds[16].Join(context.Background(), s, "ann", 0), edgews.ErrTooManyFeeds)
		require.NoError(t, n.value.feeds[3].Join(context.Background(), s, "ann", 0), "it has joined it before")
		require.NoError(t, n.value.feeds[3].Leave(s))
		require.NoError(t, n.value.feeds[16].Join(context.Background(), s, "ann", 0))
	})
}

// TestClusterFeedsDoAnything joins, leaves, publishes, loses sockets and messages and moves the object at random. Each client gets each message
// once and in order, and knows who is there.
func TestClusterFeedsDoAnything(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) { clusterFeedRun(t, seed) })
	}
}

// feedClient is a client that checks what it gets.
type feedClient struct {
	*edgeConn
	joined bool
	next   uint64 // the number of the next message
	here   map[string]bool
}

func (c *feedClient) check(t *testing.T, at string) {
	t.Helper()
	for _, f := range c.feedFrames(t) {
		switch f.Type {
		case "feed.cursor":
			require.False(t, f.Gone, at)
			c.next = *f.Seq + 1
			fallthrough
		case "feed.here":
			c.here = make(map[string]bool)
			for _, p := range f.Here {
				c.here[p.Who] = true
			}
		case "feed.message":
			require.Equal(t, c.next, *f.Seq, at)
			c.next++
		case "feed.joined":
			require.False(t, c.here[f.Who], "%s: %s has joined before", at, f.Who)
			c.here[f.Who] = true
		case "feed.left":
			require.True(t, c.here[f.Who], "%s: %s was not there", at, f.Who)
			delete(c.here, f.Who)
		}
	}
}

func clusterFeedRun(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	n := newFeedNodes(t, "")
	var clients []*feedClient
	last := uint64(0)
	for i := range 60 {
		at := fmt.Sprintf("seed %d, step %d", seed, i)
		one := func() *feedClient { return clients[r.IntN(len(clients))] }
		switch what := r.IntN(10); {
		case what == 0 || len(clients) < 2:
			c := &feedClient{edgeConn: n.at().dial(t, n.id, fmt.Sprintf("%c-%d", 'a'+r.IntN(4), i))}
			clients = append(clients, c)
			c.says("join 0")
			c.joined = true
		case what == 1:
			c := one()
			c.says([]string{"leave 0", "join 0"}[r.IntN(2)])
			c.joined = len(c.kept.Feeds) > 0
		case what == 2:
			c := r.IntN(len(clients))
			clients[c].s.Lost(nil)
			clients = slices.Delete(clients, c, c+1)
		case what == 3:
			one().loses(n.home == 0)
		case what == 4 && n.home == 0: // a second failure would need a third node
			if r.IntN(2) == 0 {
				n.move(t)
			} else {
				n.fail()
			}
			var conns []*edgeConn
			for _, c := range clients {
				conns = append(conns, c.edgeConn)
			}
			n.restore(conns...)
		case what == 5:
			time.Sleep(time.Duration(r.IntN(20)) * time.Second)
		default:
			one().says("say 0 x")
			last++
		}
		synctest.Wait()
		for _, c := range clients {
			c.check(t, at)
		}
	}
	for _, c := range clients {
		c.loses(false)
	}
	if n.home == 0 {
		n.move(t)
		var conns []*edgeConn
		for _, c := range clients {
			conns = append(conns, c.edgeConn)
		}
		n.restore(conns...)
	}
	time.Sleep(10 * time.Second)
	one := n.at().dial(t, n.id, "z")
	one.says("say 0 last")
	last++
	here := make(map[string]bool)
	for _, p := range n.value.feeds[0].Here() {
		here[p.Who] = true
	}
	for i, c := range clients {
		at := fmt.Sprintf("seed %d, client %d", seed, i)
		c.check(t, at)
		if c.joined {
			assert.Equal(t, last+1, c.next, at)
			assert.Equal(t, here, c.here, at)
		}
	}
}

// failingScan is storage in which the last message of a feed cannot be found while failing is set.
type failingScan struct {
	edgews.ObjectStore
	failing *atomic.Bool
}

var errScan = errors.New("the engine does not answer")

func (s failingScan) Scan(ctx context.Context, r edgews.Range) iter.Seq2[edgews.Entry, error] {
	if s.failing.Load() && r.KeysOnly {
		return func(yield func(edgews.Entry, error) bool) { yield(edgews.Entry{}, errScan) }
	}
	return s.ObjectStore.Scan(ctx, r)
}

// TestClusterFeedRestoredAgain: the new home cannot read a feed at first. It is given the sockets again then, and has each once.
func TestClusterFeedRestoredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFeedNodes(t, "")
		var failing atomic.Bool
		n.wrap = func(s edgews.ObjectStore) edgews.ObjectStore { return failingScan{s, &failing} }
		ann := n.at().dial(t, n.id, "ann")
		ann.says("join 0")
		second := n.move(t)
		list := []edgews.ClusterRestored{ann.restored()}
		failing.Store(true)
		_, err := second.host.Restore(t.Context(), n.id, list)
		require.ErrorIs(t, err, errScan)
		failing.Store(false)
		_, err = second.host.Restore(t.Context(), n.id, list)
		require.NoError(t, err)
		ann.says("say 0 hello")
		assert.Len(t, n.value.st.WebSockets(), 1)
	})
}
