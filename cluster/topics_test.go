package cluster_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/memory"
)

// subscriber is an object whose clients choose their topics: "sub T" and "unsub T", which are answered with "ok".
type subscriber struct{ st *edgews.State }

func newSubscriber(_ context.Context, st *edgews.State) (edgews.Object, error) {
	return &subscriber{st}, nil
}

func (o *subscriber) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	options := &edgews.UpgradeOptions{Protocols: []string{"tally"}, Options: edgews.Options{SendBuffer: 8 << 20}}
	if s, err := edgews.Upgrade(w, r, options); err == nil {
		_ = o.st.AcceptWebSocket(s)
	}
}

func (o *subscriber) WebSocketMessage(_ context.Context, s *edgews.Socket, m edgews.Message) error {
	what, topic, _ := strings.Cut(m.Text(), " ")
	change := o.st.Subscribe
	if what == "unsub" {
		change = o.st.Unsubscribe
	}
	if err := change(topic, s); err != nil {
		return err
	}
	return s.Send("ok")
}

// subscribe subscribes a client to a topic at its edge.
func subscribe(t *testing.T, s *edgews.Socket, topic string) {
	t.Helper()
	require.Equal(t, "ok", ask(t, s, "sub "+topic))
}

// awaits waits until a condition holds.
func awaits(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			require.FailNow(t, what)
		}
	}
}

func publish(t *testing.T, s *site, topic, text string) {
	t.Helper()
	require.NoError(t, s.rooms.Publish(t.Context(), topic, edgews.Prepare(edgews.Text, []byte(text))))
}

func sentBy(s *site) uint64 {
	sent, _ := s.TopicCounts()
	return sent
}

// TestTopicsReachAllNodes: each subscriber gets each message once and in the order of its publisher, and each node with subscribers gets one.
func TestTopicsReachAllNodes(t *testing.T) {
	const messages = 50
	sites := startSitesOf(t, newSubscriber, nil, "a", "b", "c")
	a, b, c := sites[0], sites[1], sites[2]
	clients := []*edgews.Socket{a.dial(t, "x", "1"), b.dial(t, "x", "2"), b.dial(t, "y", "3"), b.dial(t, "y", "4")}
	for _, s := range clients {
		subscribe(t, s, "news")
	}
	other := c.dial(t, "x", "5")
	subscribe(t, other, "other")
	awaits(t, "a and b are wanted", func() bool {
		return a.Wanting("rooms", "news") == 1 && b.Wanting("rooms", "news") == 1 && c.Wanting("rooms", "news") == 2
	})
	var wg sync.WaitGroup
	for _, s := range sites {
		wg.Go(func() {
			for i := range messages {
				publish(t, s, "news", fmt.Sprint(s.Self().ID, i))
			}
		})
	}
	wg.Wait()
	publish(t, a, "nobody", "x")
	for _, s := range clients {
		got := make(map[byte]int)
		for range 3 * messages {
			text := next(t, s)
			require.Equal(t, fmt.Sprintf("%c%d", text[0], got[text[0]]), text)
			got[text[0]]++
		}
	}
	assert.Equal(t, []uint64{messages, messages, 2 * messages}, []uint64{sentBy(a), sentBy(b), sentBy(c)}, "b has three subscribers and gets one message")

	big := strings.Repeat("x", 300<<10)
	publish(t, c, "news", big)
	for _, s := range clients {
		assert.Equal(t, big, next(t, s), "it is sent in parts")
	}
	publish(t, b, "other", "only this")
	assert.Equal(t, "only this", next(t, other))
	err := a.rooms.Publish(t.Context(), "news", edgews.Prepare(edgews.Binary, make([]byte, 33<<20)))
	require.ErrorIs(t, err, cluster.ErrPublicationTooLarge)
}

// TestTopicsAreForgotten: a node whose last subscriber has gone gets nothing any more.
func TestTopicsAreForgotten(t *testing.T) {
	sites := startSitesOf(t, newSubscriber, nil, "a", "b")
	a, b := sites[0], sites[1]
	first, second := b.dial(t, "x", "1"), b.dial(t, "x", "2")
	subscribe(t, first, "news")
	subscribe(t, second, "news")
	awaits(t, "b is wanted", func() bool { return a.Wanting("rooms", "news") == 1 })
	require.Equal(t, "ok", ask(t, first, "unsub news"))
	publish(t, a, "news", "1")
	assert.Equal(t, "1", next(t, second))
	assert.Equal(t, "ok", ask(t, first, "unsub news"), "it has not got the message")
	require.NoError(t, second.Close(1000, ""))
	awaits(t, "nobody is wanted", func() bool { return a.Wanting("rooms", "news") == 0 })
	publish(t, a, "news", "2")
	assert.Equal(t, uint64(1), sentBy(a))
	assert.Zero(t, b.LocalTopics())
}

// TestTopicsMove and TestTopicsSurviveDeath: while the home of the object leaves, or dies, subscribers at other nodes get everything once and in
// order.
func TestTopicsMove(t *testing.T) {
	testTopics(t, func(home *site) { assert.NoError(t, home.Leave(context.Background())) })
}

func TestTopicsSurviveDeath(t *testing.T) { testTopics(t, (*site).kill) }

func testTopics(t *testing.T, end func(*site)) {
	sites := startSitesOf(t, newSubscriber, nil, "a", "b", "c")
	home, others := settledHomeOf(t, sites, "lobby")
	var clients []*edgews.Socket
	for i := range 4 {
		s := others[i%2].dial(t, "lobby", fmt.Sprint(i))
		subscribe(t, s, "news")
		clients = append(clients, s)
	}
	awaits(t, "the other one is wanted", func() bool { return others[0].Wanting("rooms", "news") == 1 })
	var stop sync.WaitGroup
	ended, published := make(chan struct{}), 0
	stop.Go(func() {
		for isOver := false; !isOver; published++ {
			select {
			case <-ended:
				isOver = true
			default:
			}
			publish(t, others[0], "news", fmt.Sprint(published))
			time.Sleep(time.Millisecond)
		}
	})
	end(home)
	awaits(t, "there is another home", func() bool {
		now, _ := homeOf(t, others, "lobby")
		return now.rooms.Subscribers("news") == 4
	})
	close(ended)
	stop.Wait()
	for _, s := range clients {
		for i := range published {
			require.Equal(t, fmt.Sprint(i), next(t, s))
		}
		require.Equal(t, "ok", ask(t, s, "unsub news"), "nothing else has come, and the new home knows it")
	}
	awaits(t, "nobody is wanted", func() bool { return others[0].Wanting("rooms", "news") == 0 })
}

// TestTopicsAreCounted: the home counts what the edge has sent.
func TestTopicsAreCounted(t *testing.T) {
	meter := edgews.NewMeter(nil)
	sites := startSitesOf(t, newSubscriber, func(o *edgews.NamespaceOptions) { o.Meter = meter }, "a", "b")
	home, others := settledHomeOf(t, sites, "lobby")
	s := others[0].dial(t, "lobby", "1")
	subscribe(t, s, "news")
	awaits(t, "it is wanted", func() bool { return home.Wanting("rooms", "news") == 1 })
	before := meter.Usage()
	for range 5 {
		publish(t, home, "news", "hello")
	}
	awaits(t, "it is counted", func() bool {
		now := meter.Usage()
		return now.MessagesOut-before.MessagesOut == 5 && now.BytesOut-before.BytesOut == 25
	})
}

// stuckDialer makes connections whose writes block while it is stuck.
type stuckDialer struct {
	addr string // of the member to which that applies
	mu   sync.Mutex
	stop chan struct{} // not nil: stuck until it is closed
}

func (d *stuckDialer) dial(ctx context.Context, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil || addr != d.addr {
		return c, err
	}
	return &stuckConn{c, d, make(chan struct{}), sync.Once{}}, nil
}

type stuckConn struct {
	net.Conn
	d      *stuckDialer
	closed chan struct{}
	once   sync.Once
}

func (c *stuckConn) Write(p []byte) (int, error) {
	c.d.mu.Lock()
	stop := c.d.stop
	c.d.mu.Unlock()
	if stop != nil {
		select {
		case <-stop:
		case <-c.closed:
			return 0, net.ErrClosed
		}
	}
	return c.Conn.Write(p)
}

func (c *stuckConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// TestTopicsOfAStuckMember: what waits for a member is bounded. It holds up a publisher for a time only, and the other members not at all.
func TestTopicsOfAStuckMember(t *testing.T) {
	m := memory.New()
	t.Cleanup(func() { m.Close() })
	b, c := startSiteOf(t, m, "b", newSubscriber, nil), startSiteOf(t, m, "c", newSubscriber, nil)
	d := &stuckDialer{addr: b.Self().Addr}
	links, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	a, err := cluster.Join(t.Context(), cluster.JoinOptions{
		Options: cluster.Options{
			Engine: m.Connect(), Self: cluster.Member{ID: "a", EdgeOnly: true}, Config: cluster.Config{Shards: shards}, Logger: logger,
		},
		Listener: links, Dial: d.dial,
	})
	require.NoError(t, err)
	defer a.Close()
	rooms := edgews.NewNamespace("rooms", newSubscriber, &edgews.NamespaceOptions{Cluster: a, Options: edgews.Options{Logger: logger}})
	defer rooms.Shutdown(context.Background())
	atB, atC := b.dial(t, "x", "1"), c.dial(t, "x", "2")
	subscribe(t, atB, "news")
	subscribe(t, atC, "news")
	awaits(t, "both are wanted", func() bool { return a.Wanting("rooms", "news") == 2 })

	d.mu.Lock()
	d.stop = make(chan struct{})
	d.mu.Unlock()
	published := 0
	one := func(ctx context.Context) error {
		text := fmt.Sprintf("%d %s", published, strings.Repeat("x", 30<<10))
		err := rooms.Publish(ctx, "news", edgews.Prepare(edgews.Text, []byte(text)))
		if err == nil {
			published++
			require.Equal(t, text, next(t, atC), "c gets all, and nothing that was refused")
		}
		return err
	}
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := one(ctx)
		cancel()
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		if err != nil && published*30<<10 > cluster.MaxTopicQueue-64<<10 { // otherwise this process has been slow
			break
		}
		require.Less(t, published*30<<10, cluster.MaxTopicQueue+256<<10, "what waits is bounded")
	}
	a.SetPublishPatience(300 * time.Millisecond)
	for range 10 {
		require.NoError(t, one(t.Context()))
	}
	_, dropped := a.TopicCounts()
	assert.Equal(t, uint64(10), dropped)
	d.mu.Lock()
	close(d.stop)
	d.stop = nil
	d.mu.Unlock()
	for i := range published - 10 {
		text := next(t, atB)
		require.True(t, strings.HasPrefix(text, fmt.Sprint(i, " ")), "%.10s", text)
	}
	require.NoError(t, one(t.Context()), "it has caught up")
	assert.True(t, strings.HasPrefix(next(t, atB), fmt.Sprint(published-1, " ")))
}

// TestTopicsDoAnything subscribes, unsubscribes, closes and publishes at random, and compares with a model.
func TestTopicsDoAnything(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	sites := startSitesOf(t, newSubscriber, nil, "a", "b", "c")
	names := []string{"x", "y", "z"}
	type client struct {
		*edgews.Socket
		at     int
		topics map[string]bool
	}
	var clients []*client
	sent := make([]uint64, len(sites)) // by each, as the model says
	// others returns at how many other nodes a topic has subscribers.
	others := func(than int, topic string) int {
		at := make(map[int]bool)
		for _, c := range clients {
			if c.topics[topic] && c.at != than {
				at[c.at] = true
			}
		}
		return len(at)
	}
	for step := range 150 {
		topic := names[r.IntN(len(names))]
		switch what := r.IntN(10); {
		case what < 1 || len(clients) < 3:
			at := r.IntN(len(sites))
			s := sites[at].dial(t, fmt.Sprint(r.IntN(3)), "1")
			require.Equal(t, "ok", ask(t, s, "unsub x"))
			clients = append(clients, &client{s, at, make(map[string]bool)})
		case what < 2:
			i := r.IntN(len(clients))
			require.NoError(t, clients[i].Close(1000, ""))
			clients = slices.Delete(clients, i, i+1)
		case what < 5:
			c := clients[r.IntN(len(clients))]
			subscribe(t, c.Socket, topic)
			c.topics[topic] = true
		case what < 6:
			c := clients[r.IntN(len(clients))]
			require.Equal(t, "ok", ask(t, c.Socket, "unsub "+topic))
			delete(c.topics, topic)
		default:
			at := r.IntN(len(sites))
			want := others(at, topic)
			awaits(t, "the publisher knows who wants it", func() bool { return sites[at].Wanting("rooms", topic) == want })
			text := fmt.Sprint(topic, step)
			publish(t, sites[at], topic, text)
			sent[at] += uint64(want)
			for _, c := range clients {
				if c.topics[topic] {
					require.Equal(t, text, next(t, c.Socket), "step %d", step)
				}
			}
		}
	}
	for i, s := range sites {
		assert.Equal(t, sent[i], sentBy(s))
	}
	for _, c := range clients {
		assert.Equal(t, "ok", ask(t, c.Socket, "unsub x"), "nothing else has come")
	}
}
