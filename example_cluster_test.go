package edgews_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/edgews/edgews"
)

// oneNode is a Cluster of one node, whose only client is in memory. The module github.com/edgews/edgews/cluster has one for programs.
type oneNode struct {
	host   *edgews.ClusterHost
	store  edgews.Store
	client *inMemory
}

func (n *oneNode) Attach(host *edgews.ClusterHost) (detach func(), err error) {
	n.host = host
	return func() {}, nil
}

func (n *oneNode) IsHome(edgews.ObjectKey) bool { return true }

func (n *oneNode) ServeHTTP(key edgews.ObjectKey, w http.ResponseWriter, r *http.Request) {
	err := n.host.ServeHTTP(key.ID, w, r, func(u edgews.ClusterUpgrade) (edgews.ClusterConn, error) {
		fmt.Println("the client speaks", u.Protocol)
		n.client = &inMemory{got: make(chan string, 10)}
		return n.client, nil
	})
	if err != nil {
		fmt.Println(err)
	}
}

func (n *oneNode) Call(ctx context.Context, key edgews.ObjectKey, method string, req json.RawMessage) (json.RawMessage, error) {
	return n.host.Call(ctx, key.ID, method, req)
}

func (n *oneNode) Publish(_ context.Context, p edgews.ClusterPublication) error {
	if n.client.topic == p.Topic {
		n.client.got <- string(p.Data)
	}
	n.host.Deliver(p.Topic, p.Message)
	return nil
}

func (n *oneNode) Subscribed(namespace, topic string, subscribed bool) {}

func (n *oneNode) Store() edgews.Store { return n.store }

// inMemory is a ClusterConn, with a client that keeps what a new home would need.
type inMemory struct {
	socket    *edgews.ClusterSocket
	got       chan string
	kept      edgews.ClusterKept
	positions edgews.ClusterPositions
	next      []edgews.ClusterPosition // of the message that is sent next
	topic     string
	handled   int
}

func (c *inMemory) Key() string                  { return "1" }
func (c *inMemory) Bind(s *edgews.ClusterSocket) { c.socket = s }

func (c *inMemory) Send(_ edgews.Kind, _, _ bool, data []byte, _ *edgews.Prepared) (sent bool) {
	for _, p := range c.next {
		c.positions.Note(p)
	}
	c.next = nil
	c.got <- string(data)
	return true
}

func (c *inMemory) Close(code edgews.StatusCode, reason string) {}
func (c *inMemory) Ping(id uint64)                              { go c.socket.Pong(id) }
func (c *inMemory) Position(p edgews.ClusterPosition)           { c.next = append(c.next, p) }
func (c *inMemory) AutoRespond([]edgews.AutoResponse)           {}
func (c *inMemory) Handled(messages int)                        { c.handled += messages }
func (c *inMemory) Cut()                                        {}
func (c *inMemory) Addrs() (local, remote net.Addr)             { return &net.TCPAddr{}, &net.TCPAddr{} }

func (c *inMemory) Describe(kept edgews.ClusterKept) {
	c.kept = kept
	c.positions.Keep(kept.Feeds)
}

func (c *inMemory) Subscribe(topic string, subscribed bool) {
	if c.topic = ""; subscribed {
		c.topic = topic
	}
}

// greeter is an object with a feed, whose sockets are subscribed to the topic "news".
type greeter struct {
	st   *edgews.State
	feed *edgews.Feed
}

func newGreeter(ctx context.Context, st *edgews.State) (edgews.Object, error) {
	feed, err := edgews.NewFeed(ctx, st, nil)
	return &greeter{st, feed}, err
}

func (o *greeter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Protocols: []string{"chat"}})
	if err != nil || o.st.AcceptWebSocket(s, "user:ann") != nil {
		return
	}
	_ = o.st.Subscribe("news", s)
	_ = o.feed.Join(r.Context(), s, "", 0)
}

func (o *greeter) WebSocketMessage(_ context.Context, s *edgews.Socket, m edgews.Message) error {
	return s.Send(m.Text() + ", " + fmt.Sprint(o.st.Tags(s)))
}

// What a Cluster has to do: here with one node, and one client whose object moves from that node to itself.
func ExampleCluster() {
	ctx := context.Background()
	node := &oneNode{store: edgews.NewMemoryStore()}
	rooms := edgews.NewNamespace("rooms", newGreeter, &edgews.NamespaceOptions{Cluster: node})
	id := rooms.IDFromName("lobby")

	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
		"Sec-Websocket-Protocol": {"chat"},
	}
	rooms.Get(id).ServeHTTP(httptest.NewRecorder(), r)
	client := node.client
	fmt.Println(<-client.got)
	client.socket.Deliver(edgews.Text, []byte("hello"))
	fmt.Println(<-client.got)

	if err := node.host.Leave(ctx, func(moving edgews.ID) bool { return moving == id }); err != nil {
		fmt.Println(err)
	}
	var feeds []edgews.ClusterFeed = client.kept.Feeds
	fmt.Println("the edge keeps the tags", client.kept.Tags, "and", len(feeds), "feed")
	_, err := node.host.Restore(ctx, id, []edgews.ClusterRestored{{
		Conn: client, Kept: client.kept, Positions: client.positions, Topics: []string{client.topic}, Handled: uint64(client.handled),
	}})
	if err != nil {
		fmt.Println(err)
	}
	client.socket.Deliver(edgews.Text, []byte("hello again"))
	fmt.Println(<-client.got)
	if err := rooms.Publish(ctx, "news", edgews.Prepare(edgews.Text, []byte("it rains"))); err != nil {
		fmt.Println(err)
	}
	fmt.Println(<-client.got)
	client.socket.Lost(nil)
	if err := rooms.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// the client speaks chat
	// {"type":"feed.cursor","seq":0,"here":[]}
	// hello, [user:ann] <nil>
	// the edge keeps the tags [user:ann] and 1 feed
	// hello again, [user:ann] <nil>
	// it rains
}
