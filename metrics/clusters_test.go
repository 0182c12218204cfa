package metrics_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/metrics"
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

// told is what a node of two tells.
func told() edgews.ClusterInfo {
	return edgews.ClusterInfo{
		Name: "shop", Node: "a", Waiting: 2, Retries: 5,
		Lease: edgews.ClusterLeaseInfo{Valid: true, Left: 12 * time.Second, Renewals: 8, Failures: 1, Ended: 3},
		Members: []edgews.ClusterMemberInfo{
			{ID: "a", TTL: time.Minute, BeatAge: time.Second, Shards: 2, EdgeSockets: 3, HomeSockets: 3},
			{ID: "b", TTL: time.Minute, BeatAge: 2 * time.Second, Shards: 1, EdgeSockets: 7, HomeSockets: 9, Leaving: true},
		},
		Shards: []edgews.ClusterShardInfo{
			{State: edgews.ClusterShardReady}, {State: edgews.ClusterShardReady}, {State: edgews.ClusterShardWaiting}, {State: edgews.ClusterShardRemote}, {},
		},
		Links: []edgews.ClusterLinkInfo{
			{Member: "b", Incarnation: 1, Dialed: true, Connected: true, Connections: 2, FramesIn: 10, FramesOut: 11, BytesIn: 100, BytesOut: 110, Channels: 7,
				Unacknowledged: 64, RoundTrip: time.Millisecond},
			{Member: "b", Incarnation: 1, Connections: 1, FramesIn: 20, Channels: 9},
		},
		Moves: edgews.ClusterMovesInfo{
			Claims: 9, Conflicts: 1, Gained: 7, Given: 3, Lost: 2, Removed: 1, Claiming: 4, HandingOff: 1, HandoverTime: 1500 * time.Millisecond, Ready: 6,
			ReadyTime: 3 * time.Second,
		},
	}
}

// ofClusters returns the readings of clusters.
func ofClusters(t *testing.T, r *metrics.Recorder) readings {
	all := make(readings)
	for key, value := range read(t, r) {
		if strings.HasPrefix(key, "edgews_cluster_") {
			all[strings.TrimPrefix(key, "edgews_cluster_")] = value
		}
	}
	return all
}

func TestClusters(t *testing.T) {
	r := metrics.New(&metrics.Options{Cluster: &toldCluster{info: told()}})
	assert.Equal(t, readings{
		"members{shop,alive}": "1", "members{shop,late}": "0", "members{shop,leaving}": "1", "members{shop,refused}": "0", "members{shop,absent}": "0",
		"member_shards{shop,a}": "2", "member_shards{shop,b}": "1", "member_renewal_age_seconds{shop,a}": "1", "member_renewal_age_seconds{shop,b}": "2",
		"members_removed_total{shop}": "1", "lease_seconds{shop}": "12", "renewals_total{shop,acknowledged}": "8", "renewals_total{shop,failed}": "1",
		"leases_ended_total{shop}": "3",
		"shards{shop,ready}":       "2", "shards{shop,waiting}": "1", "shards{shop,remote}": "1", "shards{shop,unowned}": "1", "shards{shop,leaving}": "0",
		"shard_changes_total{shop,gained}": "7", "shard_changes_total{shop,given}": "3", "shard_changes_total{shop,lost}": "2",
		"claims_total{shop}": "9", "conflicts_total{shop}": "1", "moves_under_way{shop,claim}": "4", "moves_under_way{shop,handover}": "1",
		"moves_total{shop,claim}": "6", "moves_total{shop,handover}": "3", "move_seconds_total{shop,claim}": "3", "move_seconds_total{shop,handover}": "1.5",
		"requests_waiting{shop}": "2", "request_retries_total{shop}": "5",
		"sockets{shop,a,edge}": "3", "sockets{shop,a,home}": "3", "sockets{shop,b,edge}": "7", "sockets{shop,b,home}": "9",
		"links_connected{shop,b,edge}": "1", "links_connected{shop,b,home}": "0", "link_connections_total{shop,b,edge}": "2", "link_connections_total{shop,b,home}": "1",
		"link_frames_total{shop,b,edge,in}": "10", "link_frames_total{shop,b,edge,out}": "11", "link_frames_total{shop,b,home,in}": "20", "link_frames_total{shop,b,home,out}": "0",
		"link_bytes_total{shop,b,edge,in}": "100", "link_bytes_total{shop,b,edge,out}": "110", "link_bytes_total{shop,b,home,in}": "0", "link_bytes_total{shop,b,home,out}": "0",
		"link_unacknowledged_bytes{shop,b,edge}": "64", "link_unacknowledged_bytes{shop,b,home}": "0",
		"link_channels{shop,b,edge}": "7", "link_channels{shop,b,home}": "9",
		"link_round_trip_seconds{shop,b,edge}": "0.001", "link_round_trip_seconds{shop,b,home}": "0",
	}, ofClusters(t, r))
}

// nothing is an object that does nothing.
type nothing struct{}

func (nothing) ServeHTTP(http.ResponseWriter, *http.Request) {}

// A Recorder learns of the cluster of a namespace, and exports the cluster once.
func TestClustersOfNamespaces(t *testing.T) {
	r := metrics.New(nil)
	c := &toldCluster{info: told()}
	var spaces []*edgews.Namespace
	for _, name := range []string{"rooms", "users"} {
		n := edgews.NewNamespace(name, func(context.Context, *edgews.State) (edgews.Object, error) { return nothing{}, nil }, &edgews.NamespaceOptions{Cluster: c})
		t.Cleanup(func() { assert.NoError(t, n.Shutdown(context.Background())) })
		spaces = append(spaces, n)
	}
	assert.Empty(t, ofClusters(t, r))
	for _, n := range spaces {
		r.ObserveObject(edgews.ObjectObservation{Namespace: n, ID: n.IDFromName("x"), Event: edgews.EventHandled})
	}
	assert.Equal(t, "2", ofClusters(t, r)["shards{shop,ready}"])
}

// Members beyond the bound share a label, and a member that has gone leaves its place to another one.
func TestClusterMembersAreBounded(t *testing.T) {
	c := &toldCluster{info: edgews.ClusterInfo{Name: "shop"}}
	for i := range 5 {
		c.info.Members = append(c.info.Members, edgews.ClusterMemberInfo{ID: fmt.Sprint("n", i), TTL: time.Minute, Shards: 10, BeatAge: time.Duration(i) * time.Second})
		c.info.Links = append(c.info.Links, edgews.ClusterLinkInfo{Member: fmt.Sprint("n", i), Incarnation: 1, FramesIn: 100})
	}
	r := metrics.New(&metrics.Options{Cluster: c, MaxMembers: 2})
	all := ofClusters(t, r)
	all.has(t, map[string]string{
		"member_shards{shop,n0}": "10", "member_shards{shop,n1}": "10", "member_shards{shop,other}": "30", "member_renewal_age_seconds{shop,other}": "4",
		"link_frames_total{shop,n0,home,in}": "100", "link_frames_total{shop,other,home,in}": "300", "member_shards{shop,n2}": "",
	})
	c.info.Members, c.info.Links = c.info.Members[1:], c.info.Links[1:]
	ofClusters(t, r).has(t, map[string]string{
		"member_shards{shop,n0}": "", "member_shards{shop,n1}": "10", "member_shards{shop,n2}": "10", "member_shards{shop,other}": "20",
		"link_frames_total{shop,other,home,in}": "300", "link_frames_total{shop,n0,home,in}": "",
	})
}

// Counters of links do not go back when a link is gone and another one has begun.
func TestClusterLinksOnlyGrow(t *testing.T) {
	c := &toldCluster{info: told()}
	r := metrics.New(&metrics.Options{Cluster: c})
	frames := func() string { return ofClusters(t, r)["link_frames_total{shop,b,edge,in}"] }
	require.Equal(t, "10", frames())
	c.info.Links[0].FramesIn = 15
	require.Equal(t, "15", frames())
	c.info.Links[0].Incarnation, c.info.Links[0].FramesIn, c.info.Links[0].Connections = 2, 4, 1
	require.Equal(t, "19", frames(), "another process with that ID")
	c.info.Links[0].FramesIn = 1
	require.Equal(t, "20", frames(), "another link to that process")
}

// Labels are words that every monitoring system takes.
func TestHostileMembers(t *testing.T) {
	c := &toldCluster{info: edgews.ClusterInfo{Name: "\xff" + strings.Repeat("x", 500), Members: []edgews.ClusterMemberInfo{
		{ID: "other", Shards: 1}, {ID: "\xffa", Shards: 2}, {ID: "\xfea", Shards: 3}, {ID: strings.Repeat("y", 500), Shards: 4},
	}}}
	r := metrics.New(&metrics.Options{Cluster: c, MaxMembers: 4})
	cluster := "\uFFFD" + strings.Repeat("x", 127)
	ofClusters(t, r).has(t, map[string]string{
		"member_shards{" + cluster + ",other}": "1", "member_shards{" + cluster + ",\uFFFDa}": "5", "member_shards{" + cluster + "," + strings.Repeat("y", 128) + "}": "4",
	})
}
