package edgews_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/edgews/edgews"
)

// soloCluster is a cluster of one node that tells of itself. A real one is that of the module github.com/edgews/edgews/cluster.
type soloCluster struct{}

func (soloCluster) Attach(*edgews.ClusterHost) (func(), error)                     { return func() {}, nil }
func (soloCluster) IsHome(edgews.ObjectKey) bool                                   { return true }
func (soloCluster) ServeHTTP(edgews.ObjectKey, http.ResponseWriter, *http.Request) {}
func (soloCluster) Store() edgews.Store                                            { return edgews.NewMemoryStore() }
func (soloCluster) Subscribed(string, string, bool)                                {}
func (soloCluster) Call(context.Context, edgews.ObjectKey, string, json.RawMessage) (json.RawMessage, error) {
	return nil, errors.New("there is nobody to call")
}
func (soloCluster) Publish(context.Context, edgews.ClusterPublication) error { return nil }

func (soloCluster) Info() edgews.ClusterInfo {
	return edgews.ClusterInfo{
		Name: "shop", Node: "a", Version: 1,
		Lease:   edgews.ClusterLeaseInfo{Valid: true, Left: 14 * time.Second, TTL: 15 * time.Second, Renewals: 7},
		Members: []edgews.ClusterMemberInfo{{ID: "a", TTL: 15 * time.Second, Shards: 2}, {ID: "b", TTL: 15 * time.Second, BeatAge: 16 * time.Second}},
		Shards: []edgews.ClusterShardInfo{
			{Owner: "a", Epoch: 5, State: edgews.ClusterShardReady},
			{Owner: "a", Epoch: 9, State: edgews.ClusterShardWaiting, Missing: []string{"b"}},
		},
		Links:  []edgews.ClusterLinkInfo{{Member: "b", Dialed: true, Err: errors.New("connection refused")}},
		Moves:  edgews.ClusterMovesInfo{Claims: 2, Gained: 2},
		Events: []edgews.ClusterEvent{{Kind: "shards changed", Gained: 2, Took: 3 * time.Millisecond}},
	}
}

// An operator looks at the cluster of a namespace.
func ExampleClusterInfo() {
	rooms := edgews.NewNamespace("solo", NewGardenReminder, &edgews.NamespaceOptions{Cluster: soloCluster{}})
	defer rooms.Shutdown(context.Background())

	c, ok := rooms.Cluster().(edgews.ClusterInformer)
	if !ok {
		return
	}
	var info edgews.ClusterInfo = c.Info()
	var lease edgews.ClusterLeaseInfo = info.Lease
	fmt.Println(info.Node, "may run objects for", lease.Left)
	for _, m := range info.Members {
		describeMember(m)
	}
	for n, s := range info.Shards {
		describeShard(n, s)
	}
	for _, l := range info.Links {
		describeLink(l)
	}
	describeMoves(info.Moves, info.Events)
	// Output:
	// a may run objects for 14s
	// member a is alive and owns 2 shards
	// member b is late and owns 0 shards
	// shard 1 waits for [b]
	// no link to b: connection refused
	// 2 shards gained, 0 lost
	// shards changed: 2 gained within 3ms
}

func describeMember(m edgews.ClusterMemberInfo) {
	fmt.Printf("member %s is %s and owns %d shards\n", m.ID, m.State(), m.Shards)
}

func describeShard(number int, s edgews.ClusterShardInfo) {
	var state edgews.ClusterShardState = s.State
	if state == edgews.ClusterShardWaiting {
		fmt.Printf("shard %d waits for %v\n", number, s.Missing)
	}
}

func describeLink(l edgews.ClusterLinkInfo) {
	if !l.Connected {
		fmt.Printf("no link to %s: %v\n", l.Member, l.Err)
	}
}

func describeMoves(m edgews.ClusterMovesInfo, events []edgews.ClusterEvent) {
	fmt.Println(m.Gained, "shards gained,", m.Lost, "lost")
	for _, e := range events {
		fmt.Printf("%s: %d gained within %v\n", e.Kind, e.Gained, e.Took)
	}
}
