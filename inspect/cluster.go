package inspect

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/edgews/edgews"
)

// maxWaits is how many shards that wait are told for whom.
const maxWaits = 100

// clusterSample is what the clusters tell at one moment.
type clusterSample struct{ clusters []ClusterView }

// namedCluster is a cluster with its namespaces of this process.
type namedCluster struct {
	edgews.ClusterInformer
	namespaces []string
}

// clusters returns the clusters of the namespaces.
func (i *Inspector) clusters() (list []namedCluster) {
	for _, n := range *i.namespaces.Load() {
		c, ok := n.Cluster().(edgews.ClusterInformer)
		if !ok {
			continue
		}
		at := slices.IndexFunc(list, func(known namedCluster) bool { return isSame(known.ClusterInformer, c) })
		if at < 0 {
			list = append(list, namedCluster{ClusterInformer: c})
			at = len(list) - 1
		}
		list[at].namespaces = append(list[at].namespaces, escape(n.Name(), maxName))
	}
	return list
}

// isSame reports whether a and b are one cluster. Two that cannot be compared are not.
func isSame(a, b edgews.ClusterInformer) bool {
	return reflect.TypeOf(a).Comparable() && reflect.TypeOf(b).Comparable() && a == b
}

func (i *Inspector) sampleClusters(time.Time) *clusterSample {
	s := &clusterSample{clusters: []ClusterView{}}
	for _, c := range i.clusters() {
		info := c.Info()
		v := viewOf(&info)
		v.Namespaces = c.namespaces
		s.clusters = append(s.clusters, v)
	}
	slices.SortStableFunc(s.clusters, func(a, b ClusterView) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Node, b.Node)) })
	return s
}

// cluster answers CallCluster.
func (i *Inspector) cluster() ClusterReport {
	s, sampling := i.clusterSamples.get()
	return ClusterReport{Now: time.Now().UnixMilli(), Clusters: s.clusters, Sampling: sampling}
}

// viewOf returns info for the protocol.
func viewOf(info *edgews.ClusterInfo) ClusterView {
	v := ClusterView{
		Name: escape(info.Name, maxName), Node: escape(info.Node, maxName), Version: int(info.Version), Lease: leaseOf(&info.Lease),
		Members: []ClusterNode{}, Shards: shardsOf(info.Shards), Links: []ClusterLink{}, Moves: movesOf(&info.Moves), Waiting: info.Waiting, Retries: info.Retries,
		Events: []ClusterNews{}, Others: max(0, len(info.Members)-maxRows) + max(0, len(info.Links)-maxRows),
	}
	for k := range info.Members[:min(len(info.Members), maxRows)] {
		v.Members = append(v.Members, nodeOf(&info.Members[k]))
	}
	for k := range info.Links[:min(len(info.Links), maxRows)] {
		v.Links = append(v.Links, linkOf(&info.Links[k]))
	}
	for _, e := range slices.Backward(info.Events) {
		v.Events = append(v.Events, ClusterNews{
			At: e.At.UnixMilli(), Kind: escape(e.Kind, maxName), Member: escape(e.Member, maxName), Reason: escape(e.Reason, maxLogText),
			Gained: e.Gained, Given: e.Given, Lost: e.Lost, Took: millis(e.Took),
		})
	}
	return v
}

func leaseOf(l *edgews.ClusterLeaseInfo) ClusterLease {
	return ClusterLease{
		Valid: l.Valid, Left: millis(l.Left), TTL: millis(l.TTL), Renewals: l.Renewals, Failures: l.Failures, Ended: l.Ended,
		Error: errorText(l.Err), ErrorAt: unixMillis(l.ErrTime),
	}
}

// errorText returns the text of err, or "" for nil.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return escape(err.Error(), maxLogText)
}

func nodeOf(m *edgews.ClusterMemberInfo) ClusterNode {
	return ClusterNode{
		ID: escape(m.ID, maxName), Incarnation: fmt.Sprintf("%016x", m.Incarnation), Addr: escape(m.Addr, maxName), State: m.State(),
		Versions: [2]int{int(m.Versions[0]), int(m.Versions[1])}, EdgeOnly: m.EdgeOnly, Leaving: m.Leaving, Beat: m.Beat, BeatAge: millis(m.BeatAge),
		TTL: millis(m.TTL), Shards: m.Shards, EdgeSockets: m.EdgeSockets, HomeSockets: m.HomeSockets,
	}
}

func linkOf(l *edgews.ClusterLinkInfo) ClusterLink {
	return ClusterLink{
		Member: escape(l.Member, maxName), Dialed: l.Dialed, Connected: l.Connected, Since: unixMillis(l.Since), Connections: l.Connections,
		FramesIn: l.FramesIn, FramesOut: l.FramesOut, BytesIn: l.BytesIn, BytesOut: l.BytesOut, Unacknowledged: l.Unacknowledged, Channels: l.Channels,
		RoundTrip: millis(l.RoundTrip), Error: errorText(l.Err),
	}
}

func movesOf(m *edgews.ClusterMovesInfo) ClusterMoves {
	return ClusterMoves{
		Claims: m.Claims, Conflicts: m.Conflicts, Gained: m.Gained, Given: m.Given, Lost: m.Lost, Removed: m.Removed, Claiming: m.Claiming,
		HandingOff: m.HandingOff, Handover: millis(mean(m.HandoverTime, m.Given-int64(m.HandingOff))), LastHandover: millis(m.LastHandoverTime), Ready: m.Ready,
		ReadyTime: millis(mean(m.ReadyTime, m.Ready)), LastReady: millis(m.LastReadyTime),
	}
}

// mean returns a part of sum, or 0 if there are no parts.
func mean(sum time.Duration, parts int64) time.Duration { return sum / time.Duration(max(parts, 1)) }

// shardStates are the values of edgews.ClusterShardState.
var shardStates = []edgews.ClusterShardState{
	edgews.ClusterShardUnowned, edgews.ClusterShardRemote, edgews.ClusterShardWaiting, edgews.ClusterShardReady, edgews.ClusterShardLeaving,
}

// shardsOf returns all shards as columns.
func shardsOf(list []edgews.ClusterShardInfo) ClusterShards {
	s := ClusterShards{
		Count: len(list), ByState: make(map[string]int), Owners: ownersOf(list), Owner: make([]int, len(list)), State: make([]int, len(list)),
		Epoch: make([]uint64, len(list)), Waiting: []ClusterWait{},
	}
	for _, state := range shardStates {
		s.States = append(s.States, state.String())
	}
	var base uint64 // the least epoch
	for k := range list {
		if e := list[k].Epoch; e != 0 && (base == 0 || e < base) {
			base = e
		}
	}
	s.EpochBase = strconv.FormatUint(base, 10)
	for k := range list {
		x := &list[k]
		s.Owner[k] = -1
		if at, found := slices.BinarySearch(s.Owners, x.Owner); found && x.Owner != "" {
			s.Owner[k] = at
		}
		s.State[k] = min(int(x.State), len(shardStates)-1)
		s.ByState[x.State.String()]++
		if x.Epoch != 0 {
			s.Epoch[k] = x.Epoch - base
		}
		if len(x.Missing) > 0 && len(s.Waiting) < maxWaits {
			s.Waiting = append(s.Waiting, ClusterWait{k, escapeAllOf(x.Missing[:min(len(x.Missing), maxRows)])})
		}
	}
	s.Owners = escapeAllOf(s.Owners) // only now, since the order of the texts may be another one
	return s
}

// ownersOf returns the IDs of the owners, sorted.
func ownersOf(list []edgews.ClusterShardInfo) []string {
	owners := []string{}
	for k := range list {
		if o := list[k].Owner; o != "" {
			if at, found := slices.BinarySearch(owners, o); !found {
				owners = slices.Insert(owners, at, o)
			}
		}
	}
	return owners
}

func escapeAllOf(texts []string) []string {
	all := make([]string, len(texts))
	for k, text := range texts {
		all[k] = escape(text, maxName)
	}
	return all
}
