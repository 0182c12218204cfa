package edgews_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/edgews/edgews"
)

// The module github.com/edgews/edgews/cluster has the Cluster, and examples that run.
func ExampleNamespaceOptions_cluster() {
	serve := func(c edgews.Cluster) *edgews.Namespace {
		rooms := edgews.NewNamespace("rooms", NewRoom, &edgews.NamespaceOptions{Cluster: c}) // c, of cluster.Join, is this machine's membership
		return rooms
	}
	_ = serve
}

// onlyMember is a Cluster of one member, the home of all objects. It has no edges: it answers calls, and no requests.
type onlyMember struct {
	edgews.Cluster // the methods that are not needed here
	host           *edgews.ClusterHost
	store          edgews.Store
}

func (c *onlyMember) Attach(host *edgews.ClusterHost) (detach func(), err error) {
	c.host = host
	return func() {}, nil
}

func (c *onlyMember) IsHome(edgews.ObjectKey) bool { return true }
func (c *onlyMember) Store() edgews.Store          { return c.store }

func (c *onlyMember) Call(ctx context.Context, key edgews.ObjectKey, method string, req json.RawMessage) (json.RawMessage, error) {
	return c.host.Call(ctx, key.ID, method, req)
}

// upgrade is what a Cluster does for a request whose connection is at an edge: send tells the edge what it has to do.
func (c *onlyMember) upgrade(id edgews.ID, w http.ResponseWriter, r *http.Request, send func(any)) error {
	return c.host.ServeHTTP(id, w, r, func(u edgews.ClusterUpgrade) (edgews.ClusterConn, error) {
		send(u)
		return &toEdge{key: "a connection that has never been", send: send}, nil
	})
}

// move is what a Cluster does for an object that comes to this node, with the connections that its edges keep.
func (c *onlyMember) move(ctx context.Context, id edgews.ID, sockets []edgews.ClusterRestored) error {
	handled, err := c.host.Restore(ctx, id, sockets)
	fmt.Println("the edges need not send again:", handled)
	return err
}

// toEdge is what the home has of a connection.
type toEdge struct {
	edgews.ClusterConn // the methods that are left out here
	key                string
	send               func(any)
	socket             *edgews.ClusterSocket // whose Deliver gets the messages of the client
}

func (c *toEdge) Key() string                      { return c.key }
func (c *toEdge) Bind(s *edgews.ClusterSocket)     { c.socket = s }
func (c *toEdge) Describe(kept edgews.ClusterKept) { c.send(kept) }

// greeter answers calls.
type greeter struct{}

func (greeter) ServeHTTP(http.ResponseWriter, *http.Request) {}

func (greeter) Call(_ context.Context, _ string, req json.RawMessage) (any, error) {
	return "hello " + string(req), nil
}

func ExampleCluster() {
	ctx := context.Background()
	c := &onlyMember{store: edgews.NewMemoryStore()}
	greeters := edgews.NewNamespace("greeters", func(context.Context, *edgews.State) (edgews.Object, error) { return greeter{}, nil },
		&edgews.NamespaceOptions{Cluster: c})
	defer greeters.Shutdown(ctx)

	answer, err := edgews.Call[int, string](ctx, greeters.ByName("lobby"), "greet", 7)
	fmt.Println(answer, err)

	_, _ = (*onlyMember).upgrade, (*onlyMember).move // for sockets
	// Output: hello 7 <nil>
}
