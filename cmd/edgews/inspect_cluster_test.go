package main

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/inspect"
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

// TestInspectCluster prints the cluster of a namespace.
func TestInspectCluster(t *testing.T) {
	now := time.Now()
	c := &toldCluster{info: edgews.ClusterInfo{
		Name: "shop", Node: "a", Version: 1, Waiting: 2, Retries: 5,
		Lease: edgews.ClusterLeaseInfo{Valid: true, Left: 12 * time.Second, TTL: 15 * time.Second, Renewals: 8, Failures: 1, Err: errors.New("slow"), ErrTime: now.Add(-time.Hour)},
		Members: []edgews.ClusterMemberInfo{
			{ID: "a", Incarnation: 255, Addr: "10.0.0.1:7000", TTL: 15 * time.Second, BeatAge: time.Second, Versions: [2]uint16{1, 2}, Shards: 2},
			{ID: "b", EdgeOnly: true, HomeSockets: 17, TTL: 15 * time.Second},
		},
		Shards: []edgews.ClusterShardInfo{
			{Owner: "a", Epoch: 5, State: edgews.ClusterShardReady}, {Owner: "a", Epoch: 6, State: edgews.ClusterShardWaiting, Missing: []string{"b"}}, {},
		},
		Links: []edgews.ClusterLinkInfo{
			{Member: "b", Dialed: true, Since: now.Add(-time.Minute), Connections: 3, Err: errors.New("connection refused")},
			{Member: "b", Connected: true, Channels: 17, BytesIn: 4096},
		},
		Moves:  edgews.ClusterMovesInfo{Gained: 2, Given: 1, HandoverTime: 3 * time.Millisecond},
		Events: []edgews.ClusterEvent{{At: now, Kind: "member joined", Member: "b"}, {At: now, Kind: "shards changed", Gained: 2, Took: time.Second}},
	}}
	inspector := inspect.New(nil)
	rooms := edgews.NewNamespace("rooms", newCell, &edgews.NamespaceOptions{Cluster: c})
	inspector.AddNamespaces(rooms)
	server := httptest.NewServer(inspector.Handler())
	t.Cleanup(func() {
		server.Close()
		_ = inspector.Shutdown(t.Context())
		_ = rooms.Shutdown(context.Background())
	})
	r := runs(t, "", "inspect", server.URL, "cluster")
	for _, want := range []string{
		"cluster shop, seen by node a; protocol 1; namespaces rooms\n", "12s of 15s left; renewals 8, failed 1, fenced before 0\n", "ago: slow\n",
		"3; ready here 1, waiting here 1, leaving 0, elsewhere 0, without owner 1\n", "shard 1 waits for the sockets of b\n",
		"gained 2, given 1, lost 0, claiming 0, handing over 0, conflicts 0\n", "hand-over 3ms, last –; until ready –, last –\n", "waiting 2, sent again 5\n",
		"NODE  STATE ", "a     alive, this node       2 ", "1–2  00000000000000ff  10.0.0.1:7000\n", "b     alive, edge only ", " 17 ",
		"LINK  FOR          STATE ", "b     our clients  disconnected", "connection refused\n", "b     its clients  connected ", " 4 KiB ",
		"member joined   b\n", "gained 2, given 0, lost 0; took 1s\n",
	} {
		r.wants(t, exitSuccess, want, "")
	}
	if joined, changed := strings.Index(r.out, "member joined"), strings.Index(r.out, "shards changed"); joined > changed {
		t.Error("the newest change is not the last")
	}
	if report := reads[inspect.ClusterReport](t, server.URL, "cluster"); len(report.Clusters) != 1 || report.Clusters[0].Shards.Epoch[1] != 1 {
		t.Errorf("as JSON: %+v", report)
	}
	runs(t, "", "inspect", newInspected(t).url, "cluster").wants(t, exitSuccess, "the namespaces of this server have no cluster\n", "")
}
