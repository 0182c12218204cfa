package inspect_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/inspect"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// toldCluster is a cluster of one node that tells info of itself. Nothing uses the methods that it does not have.
type toldCluster struct {
	edgews.Cluster
	info edgews.ClusterInfo
}

func (*toldCluster) Attach(*edgews.ClusterHost) (func(), error) { return func() {}, nil }
func (*toldCluster) IsHome(edgews.ObjectKey) bool               { return true }
func (*toldCluster) Store() edgews.Store                        { return edgews.NewMemoryStore() }
func (c *toldCluster) Info() edgews.ClusterInfo                 { return c.info }

// inCluster returns a namespace of a cluster.
func inCluster(t *testing.T, name string, c edgews.Cluster) *edgews.Namespace {
	n := edgews.NewNamespace(name, newRoom, &edgews.NamespaceOptions{Cluster: c, Options: edgews.Options{Logger: quiet}})
	t.Cleanup(func() { assert.NoError(t, n.Shutdown(context.Background())) })
	return n
}

const hostileID = "<img src=x>\n\u202e"

// told is what the tests have a cluster tell.
func told() edgews.ClusterInfo {
	at := time.UnixMilli(1_700_000_000_000)
	const base = 1<<60 + 7 // no number of JavaScript
	return edgews.ClusterInfo{
		Name: "shop", Node: "a", Version: 1, Waiting: 2, Retries: 5,
		Lease: edgews.ClusterLeaseInfo{Valid: true, Left: 12 * time.Second, TTL: 15 * time.Second, Renewals: 8, Failures: 1, Err: errors.New("slow\n"), ErrTime: at},
		Members: []edgews.ClusterMemberInfo{
			{ID: hostileID, Incarnation: 0xfe, Addr: "10.0.0.2:7000", TTL: 15 * time.Second, BeatAge: time.Second, Shards: 1, EdgeSockets: 3, HomeSockets: 4},
			{ID: "a", Incarnation: 1, Shards: 2, EdgeOnly: true, Versions: [2]uint16{1, 2}},
		},
		Shards: []edgews.ClusterShardInfo{
			{Owner: "a", Epoch: base + 3, State: edgews.ClusterShardReady},
			{Owner: hostileID, Epoch: base, State: edgews.ClusterShardRemote},
			{},
			{Owner: "a", Epoch: base + 1, State: edgews.ClusterShardWaiting, Missing: []string{hostileID}},
		},
		Links: []edgews.ClusterLinkInfo{
			{Member: hostileID, Dialed: true, Connected: true, Since: at, Connections: 2, FramesIn: 10, BytesOut: 11, Channels: 3, RoundTrip: time.Millisecond},
			{Member: "c", Err: errors.New("refused\x1b")},
		},
		Moves: edgews.ClusterMovesInfo{
			Claims: 9, Gained: 7, Given: 3, HandingOff: 1, HandoverTime: 8 * time.Millisecond, Ready: 5, ReadyTime: 10 * time.Millisecond, Removed: 1,
		},
		Events: []edgews.ClusterEvent{
			{At: at, Kind: "member joined", Member: hostileID}, {At: at.Add(time.Second), Kind: "shards changed", Gained: 7, Took: time.Second},
		},
	}
}

func TestCluster(t *testing.T) {
	i := inspect.New(&inspect.Options{Authorize: anyone})
	c := &toldCluster{info: told()}
	i.AddNamespaces(inCluster(t, "rooms", c), inCluster(t, "users", c), inCluster(t, "others", &toldCluster{info: edgews.ClusterInfo{Name: "more", Node: "z"}}))
	alone := edgews.NewNamespace("alone", newRoom, nil)
	defer alone.Shutdown(context.Background())
	i.AddNamespaces(alone)
	page := dial(t, i)
	assert.Equal(t, 2, call[inspect.Overview](t, page, inspect.CallOverview, nil).Clusters)
	report := call[inspect.ClusterReport](t, page, inspect.CallCluster, nil)
	require.Len(t, report.Clusters, 2)
	assert.Equal(t, []string{"more", "shop"}, []string{report.Clusters[0].Name, report.Clusters[1].Name})

	v := report.Clusters[1]
	const escaped = `<img src=x>\n\u202e`
	assert.Equal(t, []string{"rooms", "users"}, v.Namespaces)
	assert.Equal(t, []any{"a", 1, 2, int64(5)}, []any{v.Node, v.Version, v.Waiting, v.Retries})
	assert.Equal(t, inspect.ClusterLease{
		Valid: true, Left: 12_000, TTL: 15_000, Renewals: 8, Failures: 1, Error: `slow\n`, ErrorAt: 1_700_000_000_000,
	}, v.Lease)
	assert.Equal(t, inspect.ClusterNode{
		ID: escaped, Incarnation: "00000000000000fe", Addr: "10.0.0.2:7000", State: "alive", BeatAge: 1000, TTL: 15_000, Shards: 1, EdgeSockets: 3, HomeSockets: 4,
	}, v.Members[0])
	assert.Equal(t, inspect.ClusterShards{
		Count: 4, ByState: map[string]int{"ready": 1, "remote": 1, "unowned": 1, "waiting": 1}, Owners: []string{escaped, "a"}, Owner: []int{1, 0, -1, 1},
		State: []int{3, 1, 0, 2}, States: []string{"unowned", "remote", "waiting", "ready", "leaving"},
		EpochBase: "1152921504606846983", Epoch: []uint64{3, 0, 0, 1}, Waiting: []inspect.ClusterWait{{Shard: 3, Missing: []string{escaped}}},
	}, v.Shards)
	assert.Equal(t, inspect.ClusterLink{
		Member: escaped, Dialed: true, Connected: true, Since: 1_700_000_000_000, Connections: 2, FramesIn: 10, BytesOut: 11, Channels: 3, RoundTrip: 1,
	}, v.Links[0])
	assert.Equal(t, `refused\u001b`, v.Links[1].Error)
	assert.Equal(t, inspect.ClusterMoves{Claims: 9, Gained: 7, Given: 3, HandingOff: 1, Handover: 4, Ready: 5, ReadyTime: 2, Removed: 1}, v.Moves)
	assert.Equal(t, inspect.ClusterNews{At: 1_700_000_001_000, Kind: "shards changed", Gained: 7, Took: 1000}, v.Events[0])
	assert.Equal(t, escaped, v.Events[1].Member)
}

func TestNoCluster(t *testing.T) {
	i := inspect.New(&inspect.Options{Authorize: anyone})
	i.AddNamespaces(inCluster(t, "silent", struct{ edgews.Cluster }{&toldCluster{}})) // it tells nothing
	page := dial(t, i)
	assert.Zero(t, call[inspect.Overview](t, page, inspect.CallOverview, nil).Clusters)
	raw, err := page.request(t, inspect.CallCluster, nil)
	require.NoError(t, err)
	assert.Contains(t, string(raw), `"clusters":[]`)
}

// incomparable is a Cluster that is no pointer and has a slice.
type incomparable struct {
	*toldCluster
	_ []int
}

// The largest cluster fits into one reply.
func TestLargeCluster(t *testing.T) {
	info := told()
	info.Shards = nil
	for n := range 1 << 16 {
		info.Shards = append(info.Shards, edgews.ClusterShardInfo{
			Owner: strings.Repeat("n", 1+n%20), Epoch: 1<<40 + uint64(n%1000), State: edgews.ClusterShardWaiting, Missing: []string{"a", "b"},
		})
	}
	i := inspect.New(&inspect.Options{Authorize: anyone})
	i.AddNamespaces(inCluster(t, "rooms", incomparable{toldCluster: &toldCluster{info: info}}))
	raw, err := dial(t, i).request(t, inspect.CallCluster, nil)
	require.NoError(t, err)
	assert.Less(t, len(raw), 1<<20)
	var report inspect.ClusterReport
	require.NoError(t, json.Unmarshal(raw, &report))
	require.Len(t, report.Clusters, 1)
	assert.Equal(t, 1<<16, report.Clusters[0].Shards.Count)
	assert.Len(t, report.Clusters[0].Shards.Waiting, 100)
}
