package edgews_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// twoNodes are the nodes of a cluster whose objects all have one home at a time. Its edges are edgeConns.
type twoNodes struct {
	store edgews.Store
	nodes [2]*testNode
	mu    sync.Mutex
	home  int         // the index of the node that is every object's home
	asked func() bool // in place of home, what IsHome returns; nil: none. Guarded by mu

	published []string                                    // namespace, topic and data; guarded by mu
	wrap      func(edgews.ObjectStore) edgews.ObjectStore // of what a node opens; nil: none
}

// testNode is a Cluster.
type testNode struct {
	c    *twoNodes
	i    int
	host *edgews.ClusterHost
	ns   *edgews.Namespace

	mu         sync.Mutex
	subscribed map[string]bool
}

func newTwoNodes(t *testing.T, construct func(context.Context, *edgews.State) (edgews.Object, error)) *twoNodes {
	c := &twoNodes{store: edgews.NewMemoryStore()}
	for i := range c.nodes {
		n := &testNode{c: c, i: i}
		c.nodes[i] = n
		n.ns = edgews.NewNamespace("rooms", construct, &edgews.NamespaceOptions{Cluster: n})
		t.Cleanup(func() { n.ns.Shutdown(context.Background()) })
	}
	return c
}

func (n *testNode) Attach(host *edgews.ClusterHost) (func(), error) {
	n.host = host
	return func() {}, nil
}

func (n *testNode) IsHome(edgews.ObjectKey) bool {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if n.c.asked != nil {
		return n.c.asked()
	}
	return n.c.home == n.i
}

func (n *testNode) ServeHTTP(key edgews.ObjectKey, w http.ResponseWriter, r *http.Request) {
	home := n.c.at()
	id, _ := home.ns.ParseID(key.ID.String())
	_ = home.host.ServeHTTP(id, w, r, nil)
}

func (n *testNode) Call(ctx context.Context, key edgews.ObjectKey, method string, req json.RawMessage) (json.RawMessage, error) {
	home := n.c.at()
	id, _ := home.ns.ParseID(key.ID.String())
	return home.host.Call(ctx, id, method, req)
}

// Publish delivers at both nodes, also to connections at edges.
func (n *testNode) Publish(_ context.Context, p edgews.ClusterPublication) error {
	for _, node := range n.c.nodes {
		node.mu.Lock()
		wanted := node.subscribed[p.Topic]
		node.mu.Unlock()
		if wanted {
			node.host.Deliver(p.Topic, p.Message)
		}
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.c.published = append(n.c.published, p.Namespace+" "+p.Topic+" "+string(p.Data))
	return nil
}

func (n *testNode) Subscribed(_, topic string, subscribed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.subscribed == nil {
		n.subscribed = make(map[string]bool)
	}
	n.subscribed[topic] = subscribed
}

func (n *testNode) Store() edgews.Store { return fencedStore{n.c.store, n} }

// at returns the home.
func (c *twoNodes) at() *testNode {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[c.home]
}

// move makes the other node the home, after the objects have left the first one.
func (c *twoNodes) move(t *testing.T) *testNode {
	require.NoError(t, c.at().host.Leave(context.Background(), func(edgews.ID) bool { return true }))
	return c.fail()
}

// fail makes the other node the home, and tells nobody.
func (c *twoNodes) fail() *testNode {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.home++
	return c.nodes[c.home%2]
}

// fencedStore opens storage with the number of the home as its epoch.
type fencedStore struct {
	edgews.Store
	n *testNode
}

func (s fencedStore) Open(ctx context.Context, key edgews.ObjectKey, _ edgews.Fence) (edgews.ObjectStore, error) {
	o, err := s.Store.Open(ctx, key, edgews.Fence{Epoch: uint64(s.n.i) + 1})
	if wrap := s.n.c.wrap; wrap != nil && err == nil {
		o = wrap(o)
	}
	return o, err
}

func (s fencedStore) Close() error { return nil }

// edgeConn is the edge's side of a socket: it notes what it gets.
type edgeConn struct {
	key    string
	answer edgews.ClusterUpgrade

	mu      sync.Mutex
	got     []string
	kept    edgews.ClusterKept
	auto    []edgews.AutoResponse
	handled int
	s       *edgews.ClusterSocket

	positions edgews.ClusterPositions
	next      []edgews.ClusterPosition // of the message that is sent next
	deaf      bool                     // messages to the client are lost
	topics    []string
	moved     bool // a laterConn has taken its place
}

func (c *edgeConn) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, fmt.Sprintf(format, args...))
}

// take returns what the edge has got since the last call.
func (c *edgeConn) take() []string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.got
	c.got = nil
	return got
}

func (c *edgeConn) Key() string                  { return c.key }
func (c *edgeConn) Bind(s *edgews.ClusterSocket) { c.s = s }
func (c *edgeConn) Send(kind edgews.Kind, first, last bool, data []byte, _ *edgews.Prepared) bool {
	return c.isMoved() || c.send(kind, first, last, data)
}

func (c *edgeConn) send(kind edgews.Kind, first, last bool, data []byte) bool {
	c.mu.Lock()
	isLost := c.deaf
	for _, p := range c.next {
		if !isLost {
			c.positions.Note(p)
		}
	}
	c.next = nil
	c.mu.Unlock()
	if !isLost {
		c.note("%v %t %t %s", kind, first, last, data)
	}
	return false
}
func (c *edgeConn) Close(code edgews.StatusCode, reason string) {
	c.note("close %d %s", uint16(code), reason)
}
func (c *edgeConn) Ping(id uint64) { c.note("ping %d", id) }
func (c *edgeConn) Cut()           { c.note("cut") }
func (c *edgeConn) Position(p edgews.ClusterPosition) {
	if !c.isMoved() {
		c.position(p)
	}
}

func (c *edgeConn) position(p edgews.ClusterPosition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = append(c.next, p)
}

func (c *edgeConn) Describe(kept edgews.ClusterKept) {
	if !c.isMoved() {
		c.describe(kept)
	}
}

func (c *edgeConn) describe(kept edgews.ClusterKept) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = kept
	c.positions.Keep(kept.Feeds)
}

func (c *edgeConn) Subscribe(topic string, subscribed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.topics = slices.DeleteFunc(c.topics, func(t string) bool { return t == topic }); subscribed {
		c.topics = append(c.topics, topic)
	}
}

// isMoved reports whether a later home has the connection, as a laterConn.
func (c *edgeConn) isMoved() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.moved }

func (c *edgeConn) AutoRespond(p []edgews.AutoResponse) { c.mu.Lock(); defer c.mu.Unlock(); c.auto = p }
func (c *edgeConn) Handled(n int)                       { c.mu.Lock(); defer c.mu.Unlock(); c.handled += n }
func (c *edgeConn) Addrs() (local, remote net.Addr) {
	return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 80}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4000}
}

func (c *edgeConn) handledNow() int {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.handled
}

// dial has the object upgrade a request from an edge.
func (n *testNode) dial(t *testing.T, id edgews.ID, key string) *edgeConn {
	t.Helper()
	conn := &edgeConn{key: key}
	r := httptest.NewRequest(http.MethodGet, "/room?name="+key, nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	w := httptest.NewRecorder()
	err := n.host.ServeHTTP(id, w, r, func(u edgews.ClusterUpgrade) (edgews.ClusterConn, error) {
		conn.answer = u
		return conn, nil
	})
	require.NoError(t, err)
	require.NotNil(t, conn.s, "%d %s", w.Code, w.Body)
	return conn
}

// restored is conn as another home gets it.
func (c *edgeConn) restored() edgews.ClusterRestored {
	return edgews.ClusterRestored{
		Conn: c, Kept: c.kept, Host: "example.com", Path: "/room", Handled: uint64(c.handled), Positions: c.positions, Topics: slices.Clone(c.topics),
	}
}

// counting is an object that stores how often it got a message, answers with that, and says how sockets end.
type counting struct {
	st     *edgews.State
	events *[]string
	block  chan struct{} // a message "block" waits for it
}

func (c *counting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, &edgews.UpgradeOptions{Header: http.Header{"X-Room": {"1"}}})
	if err != nil {
		return
	}
	name := r.URL.Query().Get("name")
	if name == "plain" {
		s.OnMessage(func(e edgews.MessageEvent) { s.Send("plain " + e.Text()) })
		s.Accept()
		return
	}
	_ = c.st.AcceptWebSocket(s, "name:"+name)
	_ = s.SetAttachment(name)
	_ = s.Send("welcome " + name)
}

func (c *counting) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	text := m.Text()
	switch text {
	case "block":
		<-c.block
	case "all":
		c.st.Broadcast(edgews.Prepare(edgews.Text, []byte("to all")))
		return nil
	case "bye":
		return s.Close(4000, "bye")
	}
	var count int
	err := c.st.Storage().Update(ctx, func(tx *edgews.Tx) error {
		v, err := tx.Get(text)
		if err != nil && !errors.Is(err, edgews.ErrKeyNotFound) {
			return err
		}
		_, _ = fmt.Sscan(string(v), &count)
		count++
		return tx.Put(text, fmt.Append(nil, count))
	})
	if err != nil {
		return err
	}
	return s.Send(fmt.Sprintf("%s %d", text, count))
}

func (c *counting) WebSocketClose(ctx context.Context, s *edgews.Socket, e edgews.CloseEvent) error {
	var name string
	_ = s.Attachment(&name)
	*c.events = append(*c.events, fmt.Sprintf("%s %d %s %t", name, uint16(e.Code), e.Reason, e.WasClean))
	if e.Reason == "store" {
		return c.st.Storage().Put(ctx, "left", []byte(name))
	}
	return nil
}

func (c *counting) Call(_ context.Context, method string, req json.RawMessage) (any, error) {
	return method + string(req), nil
}

func newCounting(t *testing.T) (*twoNodes, *[]string, chan struct{}) {
	events, block := new([]string), make(chan struct{})
	return newTwoNodes(t, func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return &counting{st, events, block}, nil
	}), events, block
}

// TestClusterSocket uses a socket whose connection is at an edge.
func TestClusterSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, events, _ := newCounting(t)
		id := c.at().ns.IDFromName("lobby")
		ann := c.at().dial(t, id, "ann")
		assert.Equal(t, "1", ann.answer.Header.Get("X-Room"))
		assert.Empty(t, ann.answer.Header.Get("Sec-WebSocket-Accept"), "the edge has its own handshake")
		assert.Equal(t, []string{"text true true welcome ann"}, ann.take())
		assert.Equal(t, []string{"name:ann"}, ann.kept.Tags)
		bob := c.at().dial(t, id, "bob")
		bob.take()

		ann.s.Deliver(edgews.Text, []byte("x"))
		ann.s.Deliver(edgews.Text, []byte("x"))
		assert.Equal(t, []string{"text true true x 1", "text true true x 2"}, ann.take())
		assert.Equal(t, 2, ann.handledNow())
		ann.s.Deliver(edgews.Text, []byte("all"))
		assert.Equal(t, []string{"text true true to all"}, ann.take())
		assert.Equal(t, []string{"text true true to all"}, bob.take())

		time.Sleep(time.Minute) // the object hibernates
		info, ok := c.at().ns.Info(id)
		require.True(t, ok)
		require.Equal(t, edgews.ObjectHibernated, info.State)
		ann.s.Deliver(edgews.Text, []byte("x"))
		assert.Equal(t, []string{"text true true x 3"}, ann.take())
		sockets := c.at().ns.Sockets(id)
		require.Len(t, sockets, 2)
		assert.Equal(t, "192.0.2.1:4000", sockets[0].RemoteAddr().String())

		ann.s.Closed(1000, "done")
		assert.Equal(t, []string{"close 1000 done"}, ann.take())
		bob.s.Lost(nil)
		assert.Empty(t, bob.take())
		assert.Equal(t, []string{"ann 1000 done true", "bob 1006 WebSocket disconnected without sending Close frame. false"}, *events)
		assert.Empty(t, c.at().ns.Sockets(id))
		ann.s.Deliver(edgews.Text, []byte("late"))
		ann.s.Lost(nil)
		assert.Empty(t, ann.take())
	})
}

// TestClusterClose: the object begins the closing handshake.
func TestClusterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, events, _ := newCounting(t)
		ann := c.at().dial(t, c.at().ns.IDFromName("lobby"), "ann")
		ann.take()
		ann.s.Deliver(edgews.Text, []byte("bye"))
		assert.Equal(t, []string{"close 4000 bye"}, ann.take())
		assert.Empty(t, *events)
		ann.s.Closed(4000, "bye")
		assert.Empty(t, ann.take())
		assert.Equal(t, []string{"ann 4000 bye true"}, *events)
	})
}

// TestClusterPlainSocket: a socket with listeners, which ends with its home.
func TestClusterPlainSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, _ := newCounting(t)
		plain := c.at().dial(t, c.at().ns.IDFromName("lobby"), "plain")
		plain.s.Deliver(edgews.Text, []byte("hello"))
		assert.Equal(t, []string{"text true true plain hello"}, plain.take())
		assert.Equal(t, 1, plain.handledNow())
		assert.False(t, plain.kept.Accepted)
		c.move(t)
		assert.Equal(t, []string{"close 1012 object has moved", "cut"}, plain.take())
	})
}

// TestClusterMove gives an object another home: sockets stay open, with their tags, attachments and messages.
func TestClusterMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, events, block := newCounting(t)
		first := c.at()
		id := first.ns.IDFromName("lobby")
		ann, bob := first.dial(t, id, "ann"), first.dial(t, id, "bob")
		ann.take()
		bob.take()
		ann.s.Deliver(edgews.Text, []byte("block"))
		bob.s.Deliver(edgews.Text, []byte("x")) // waits in the queue of the object
		assert.Zero(t, ann.handledNow())
		go func() {
			time.Sleep(time.Second)
			bob.s.Deliver(edgews.Text, []byte("too late")) // behind the end of the object
			close(block)
		}()
		second := c.move(t)
		assert.Equal(t, []string{"text true true block 1"}, ann.take(), "no Close: the socket stays open")
		assert.Equal(t, []string{"text true true x 1"}, bob.take())
		assert.Empty(t, slices.Collect(first.ns.Objects()))

		old := ann.s
		handled, err := second.host.Restore(context.Background(), id, []edgews.ClusterRestored{ann.restored(), bob.restored()})
		require.NoError(t, err)
		assert.Equal(t, []uint64{1, 1}, handled)
		require.NotSame(t, old, ann.s)
		old.Deliver(edgews.Text, []byte("of the old home"))
		old.Lost(nil)
		ann.s.Deliver(edgews.Text, []byte("x"))
		assert.Equal(t, []string{"text true true x 2"}, ann.take())
		bob.s.Closed(1001, "")
		bob.take()
		assert.Equal(t, []string{"bob 1001  true"}, *events)
		sockets := second.ns.Sockets(id)
		require.Len(t, sockets, 1)
		assert.Equal(t, []string{"name:ann"}, sockets[0].Info().Tags)
		assert.Equal(t, "/room", sockets[0].Info().Path)
	})
}

// TestClusterFailover: the first home stops without notice. What it has stored is not done again, although it has not said so; what it writes
// later is refused, and its sockets are silent.
func TestClusterFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, events, block := newCounting(t)
		first := c.at()
		id := first.ns.IDFromName("lobby")
		ann, bob := first.dial(t, id, "ann"), first.dial(t, id, "bob")
		ann.take()
		bob.take()
		ann.s.Deliver(edgews.Text, []byte("x"))
		assert.Equal(t, []string{"text true true x 1"}, ann.take())
		ann.handled = 0 // the edge has not heard of it
		bob.s.Deliver(edgews.Text, []byte("block"))
		synctest.Wait()

		lost := ann.s
		second := c.fail()
		handled, err := second.host.Restore(context.Background(), id, []edgews.ClusterRestored{ann.restored(), bob.restored()})
		require.NoError(t, err)
		assert.Equal(t, []uint64{1, 0}, handled, "the message of ann was stored, that of bob was not")
		bob.s.Deliver(edgews.Text, []byte("y"))
		assert.Equal(t, []string{"text true true y 1"}, bob.take())

		close(block) // the handler on the first home goes on
		assert.Empty(t, bob.take())
		lost.Deliver(edgews.Text, []byte("x")) // there, no event begins any more
		assert.Empty(t, ann.take())
		assert.Empty(t, *events)
		assert.Len(t, second.ns.Sockets(id), 2)
	})
}

// TestClusterEndIsNotRepeated: a home dies after its object has stored something in the close events of connections, and before their edge
// knows. The next home does not take these connections.
func TestClusterEndIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, events, _ := newCounting(t)
		first := c.at()
		id := first.ns.IDFromName("lobby")
		ann, bob := first.dial(t, id, "ann"), first.dial(t, id, "bob")
		ann.s.Deliver(edgews.Text, []byte("x"))
		ann.s.Closed(1000, "store")
		bob.s.Closed(1000, "does not store")
		synctest.Wait()
		require.Len(t, *events, 2)
		second := c.fail()
		handled, err := second.host.Restore(context.Background(), id, []edgews.ClusterRestored{ann.restored(), bob.restored()})
		require.NoError(t, err)
		assert.Equal(t, []uint64{edgews.ClusterEnded, 0}, handled)
		assert.Len(t, second.ns.Sockets(id), 1)
		bob.s.Closed(1000, "again")
		synctest.Wait()
		assert.ElementsMatch(t, []string{"ann 1000 store true", "bob 1000 does not store true", "bob 1000 again true"}, *events)
		assert.Contains(t, c.keys(t, id), "\x00seen\x00ann", "a third home must not take it either")
	})
}

// TestClusterMarksAreDeleted: the number of the last message goes when its connection does.
func TestClusterMarksAreDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, _ := newCounting(t)
		home := c.at()
		id := home.ns.IDFromName("lobby")
		ann, bob := home.dial(t, id, "ann"), home.dial(t, id, "bob")
		for _, conn := range []*edgeConn{ann, bob} {
			conn.s.Deliver(edgews.Text, []byte("x"))
		}
		synctest.Wait()
		assert.Equal(t, []string{"\x00name", "\x00seen\x00ann", "\x00seen\x00bob", "x"}, c.keys(t, id))
		ann.s.Lost(nil)
		synctest.Wait()
		bob.s.Deliver(edgews.Text, []byte("x"))
		synctest.Wait()
		assert.Contains(t, c.keys(t, id), "\x00seen\x00ann", "another home may still get it")
		ann.s.Forgotten()
		bob.s.Deliver(edgews.Text, []byte("x"))
		synctest.Wait()
		assert.Equal(t, []string{"\x00name", "\x00seen\x00bob", "x"}, c.keys(t, id))
		second := c.move(t)
		_, err := second.host.Restore(context.Background(), id, nil) // the edge of bob cannot be reached
		require.NoError(t, err)
		carl := second.dial(t, id, "carl")
		carl.s.Deliver(edgews.Text, []byte("x"))
		synctest.Wait()
		assert.Equal(t, []string{"\x00name", "\x00seen\x00bob", "\x00seen\x00carl", "x"}, c.keys(t, id), "the edge may come back")
		again := bob.restored()
		again.Handled = 0 // it has not heard of what was handled
		handled, err := second.host.Restore(context.Background(), id, []edgews.ClusterRestored{carl.restored(), again})
		require.NoError(t, err)
		assert.Equal(t, []uint64{1, 3}, handled)
		for range 15 {
			_, err := second.host.Restore(context.Background(), id, []edgews.ClusterRestored{carl.restored()})
			require.NoError(t, err)
			carl.s.Deliver(edgews.Text, []byte("x"))
			synctest.Wait()
		}
		assert.Contains(t, c.keys(t, id), "\x00seen\x00bob")
		_, err = second.host.Restore(context.Background(), id, []edgews.ClusterRestored{carl.restored()})
		require.NoError(t, err)
		carl.s.Deliver(edgews.Text, []byte("x"))
		synctest.Wait()
		assert.Equal(t, []string{"\x00name", "\x00seen\x00carl", "x"}, c.keys(t, id))
	})
}

// TestClusterCloseIsHandledOnce: a close event that has been stored is not repeated by the next home, although its edge has not heard of it.
// One that has not been stored is.
func TestClusterCloseIsHandledOnce(t *testing.T) {
	for _, stores := range []bool{true, false} {
		t.Run(fmt.Sprintf("stores=%v", stores), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				closes := &closeCounter{stores: stores}
				c := newTwoNodes(t, func(_ context.Context, st *edgews.State) (edgews.Object, error) {
					return &closeCountingRoom{closes, st}, nil
				})
				id := c.at().ns.IDFromName("lobby")
				ann, bob := c.at().dial(t, id, "ann"), c.at().dial(t, id, "bob")
				ann.s.Deliver(edgews.Text, []byte("x"))
				ann.s.Closed(1001, "")
				synctest.Wait()
				assert.Equal(t, 1, closes.n)
				bob.s.Deliver(edgews.Text, []byte("x")) // another commit
				synctest.Wait()

				second := c.fail()
				handled, err := second.host.Restore(context.Background(), id, []edgews.ClusterRestored{ann.restored(), bob.restored()})
				require.NoError(t, err)
				if stores {
					assert.Equal(t, []uint64{math.MaxUint64, 1}, handled)
					assert.Len(t, second.ns.Sockets(id), 1)
				} else {
					assert.Equal(t, []uint64{1, 1}, handled)
					assert.Len(t, second.ns.Sockets(id), 2)
				}
				if !stores {
					ann.s.Closed(1001, "")
					synctest.Wait()
					assert.Equal(t, 2, closes.n)
					ann.s.Forgotten()
				} else { // the edge knows now, and does not announce it again
					require.NoError(t, second.host.Leave(context.Background(), func(edgews.ID) bool { return true }))
					_, err := second.host.Restore(context.Background(), id, []edgews.ClusterRestored{bob.restored()})
					require.NoError(t, err)
				}
				bob.s.Deliver(edgews.Text, []byte("x"))
				synctest.Wait()
				assert.NotContains(t, c.keys(t, id), "\x00seen\x00ann")
			})
		})
	}
}

type closeCounter struct {
	stores bool
	n      int
}

// closeCountingRoom counts its close events, and stores that it does.
type closeCountingRoom struct {
	*closeCounter
	st *edgews.State
}

func (r *closeCountingRoom) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if s, err := edgews.Upgrade(w, req, nil); err == nil {
		_ = r.st.AcceptWebSocket(s)
	}
}

func (r *closeCountingRoom) WebSocketMessage(ctx context.Context, _ *edgews.Socket, m edgews.Message) error {
	return r.st.Storage().Put(ctx, "last", m.Data)
}

func (r *closeCountingRoom) WebSocketClose(ctx context.Context, _ *edgews.Socket, _ edgews.CloseEvent) error {
	r.n++
	if !r.stores {
		return nil
	}
	return r.st.Storage().Put(ctx, "closed", []byte("yes"))
}

// keys returns all keys of an object's storage.
func (c *twoNodes) keys(t *testing.T, id edgews.ID) (keys []string) {
	home := c.at()
	require.NoError(t, home.ns.Hibernate(context.Background(), id))
	synctest.Wait()
	store, err := c.store.Open(context.Background(), edgews.ObjectKey{Namespace: "rooms", ID: id}, edgews.Fence{Epoch: uint64(home.i) + 1})
	require.NoError(t, err)
	defer store.Release()
	for e, err := range store.Scan(context.Background(), edgews.Range{}) {
		require.NoError(t, err)
		keys = append(keys, e.Key)
	}
	return keys
}

// TestClusterElsewhere uses an object through the node that is not its home.
func TestClusterElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, _ := newCounting(t)
		edge := c.nodes[1]
		stub := edge.ns.ByName("lobby")
		answer, err := edgews.Call[string, string](context.Background(), stub, "echo", "x")
		require.NoError(t, err)
		assert.Equal(t, `echo"x"`, answer)
		err = stub.Do(context.Background(), func(context.Context, edgews.Object) error { return nil })
		require.ErrorIs(t, err, edgews.ErrNotHome)
		require.Empty(t, slices.Collect(edge.ns.Objects()))
		w := httptest.NewRecorder()
		stub.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		assert.Equal(t, http.StatusUpgradeRequired, w.Code)
	})
}

// TestClusterSendBuffer: what the edge has not acknowledged counts.
func TestClusterSendBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, _ := newCounting(t)
		id := c.at().ns.IDFromName("lobby")
		ann := c.at().dial(t, id, "ann")
		s := c.at().ns.Sockets(id)[0]
		ann.s.Acknowledge(1, len("welcome ann"))
		require.Zero(t, s.BufferedAmount())
		big := make([]byte, 1<<20)
		require.NoError(t, s.SendBytes(big), "an empty queue takes one message of any size")
		require.ErrorIs(t, s.SendBytes(big[:1]), edgews.ErrBufferFull)
		wrote := make(chan error, 1)
		go func() { wrote <- s.Write(context.Background(), edgews.Binary, big[:1]) }()
		synctest.Wait()
		require.Empty(t, wrote)
		ann.s.Acknowledge(1, len(big))
		require.NoError(t, <-wrote)
		require.Equal(t, 1, s.BufferedAmount())
	})
}

// TestClusterKept: the edge learns what it has to keep.
func TestClusterKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var state *edgews.State
		c := newTwoNodes(t, func(_ context.Context, st *edgews.State) (edgews.Object, error) {
			state = st
			return &counting{st, new([]string), nil}, nil
		})
		id := c.at().ns.IDFromName("lobby")
		ann := c.at().dial(t, id, "ann")
		s := state.WebSockets()[0]
		require.NoError(t, state.SetTags(s, "a", "b"))
		require.NoError(t, s.SetAttachment([]byte{1, 2}))
		require.NoError(t, state.SetAutoResponse(edgews.AutoResponse{Request: "ping", Response: "pong"}))
		assert.Equal(t, edgews.ClusterKept{Accepted: true, Tags: []string{"a", "b"}, Attachment: []byte{1, 2}}, ann.kept)
		assert.Equal(t, []edgews.AutoResponse{{Request: "ping", Response: "pong"}}, ann.auto)
		at := time.Now().Add(time.Second)
		ann.s.AutoResponded(4, at)
		got, ok := state.AutoResponseTimestamp(s)
		assert.True(t, ok)
		assert.True(t, at.Equal(got))
	})
}

// loses says whether what is sent to the client is lost from now on.
func (c *edgeConn) loses(on bool) { c.mu.Lock(); defer c.mu.Unlock(); c.deaf = on }
