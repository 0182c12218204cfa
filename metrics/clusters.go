package metrics

import (
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/edgews/edgews"
)

// clusters turns what clusters tell of themselves into metrics.
type clusters struct {
	given edgews.Cluster // Options.Cluster, or nil
	most  int            // members with a label of their own, of each cluster

	mu sync.Mutex // held while clusters are read, so that counters never go back

	// Guarded by mu.
	known map[string]*clusterSeries // by label
	names words
}

// clusterSeries is what is kept of a cluster from one reading to the next.
type clusterSeries struct {
	members map[string]bool          // IDs that have a label of their own
	links   map[linkKey]linkCounts   // as they were at the last reading
	sums    map[linkLabel]linkCounts // of all links that have had the label, also those that are gone
}

type linkKey struct {
	member      string
	incarnation uint64
	dialed      bool
}

// linkLabel are the labels member and side.
type linkLabel [2]string

// linkCounts are the counters of a link.
type linkCounts struct{ connections, framesIn, framesOut, bytesIn, bytesOut int64 }

// less returns how much each counter has grown since before. A link that has begun anew has grown by all that it has.
func (c linkCounts) less(before linkCounts) linkCounts {
	d := linkCounts{
		connections: c.connections - before.connections, framesIn: c.framesIn - before.framesIn, framesOut: c.framesOut - before.framesOut,
		bytesIn: c.bytesIn - before.bytesIn, bytesOut: c.bytesOut - before.bytesOut,
	}
	if min(d.connections, d.framesIn, d.framesOut, d.bytesIn, d.bytesOut) < 0 {
		return c
	}
	return d
}

func (c linkCounts) plus(more linkCounts) linkCounts {
	return linkCounts{
		connections: c.connections + more.connections, framesIn: c.framesIn + more.framesIn, framesOut: c.framesOut + more.framesOut,
		bytesIn: c.bytesIn + more.bytesIn, bytesOut: c.bytesOut + more.bytesOut,
	}
}

// read adds the samples of the clusters of namespaces, and of the given one. Of those with the same label, only the first is read.
func (c *clusters) read(add adder, objects []namespacesOf) {
	list := informers(c.given, objects)
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := make(map[string]bool)
	for _, informer := range list {
		info := informer.Info()
		label := c.names.label(info.Name)
		if seen[label] {
			continue
		}
		seen[label] = true
		s := c.known[label]
		if s == nil {
			if c.known == nil {
				c.known = make(map[string]*clusterSeries)
			}
			s = &clusterSeries{members: make(map[string]bool), links: make(map[linkKey]linkCounts), sums: make(map[linkLabel]linkCounts)}
			c.known[label] = s
		}
		readCluster(add, label, &info)
		labelOf := s.label(&info, c.most)
		readMembers(add, label, &info, labelOf)
		s.readLinks(add, label, info.Links, labelOf)
	}
}

// informers returns the clusters that tell of themselves, each once.
func informers(given edgews.Cluster, objects []namespacesOf) (list []edgews.ClusterInformer) {
	note := func(c edgews.Cluster) {
		informer, ok := c.(edgews.ClusterInformer)
		if ok && reflect.TypeOf(c).Comparable() && !slices.Contains(list, informer) {
			list = append(list, informer)
		}
	}
	note(given)
	for _, o := range objects {
		for _, n := range o.namespaces {
			note(n.Cluster())
		}
	}
	return list
}

// label returns the function that returns the label of a member. Members that have a label of their own keep it for as long as they are there.
func (s *clusterSeries) label(info *edgews.ClusterInfo, most int) func(id string) string {
	present := make(map[string]bool)
	for i := range info.Members {
		present[info.Members[i].ID] = true
	}
	for i := range info.Links {
		present[info.Links[i].Member] = true
	}
	for id := range s.members {
		if !present[id] {
			delete(s.members, id)
		}
	}
	for i := range info.Members { // in the order of their IDs
		if id := info.Members[i].ID; len(s.members) < most {
			s.members[id] = true
		}
	}
	return func(id string) string {
		if !s.members[id] {
			return other
		}
		return validLabel(id)
	}
}

// memberStates, shardStates are the values of the label state.
var (
	memberStates = []string{"alive", "late", "leaving", "refused", "absent"}
	shardStates  = []edgews.ClusterShardState{
		edgews.ClusterShardUnowned, edgews.ClusterShardRemote, edgews.ClusterShardWaiting, edgews.ClusterShardReady, edgews.ClusterShardLeaving,
	}
)

// readCluster adds what concerns the node and all shards.
func readCluster(add adder, cluster string, info *edgews.ClusterInfo) {
	l, m := &info.Lease, &info.Moves
	add.number(clusterLease, l.Left.Seconds(), cluster)
	add.number(clusterRenewals, float64(l.Renewals), cluster, "acknowledged")
	add.number(clusterRenewals, float64(l.Failures), cluster, "failed")
	add.number(clusterLeasesEnded, float64(l.Ended), cluster)
	add.number(clusterRemoved, float64(m.Removed), cluster)
	byState := make(map[edgews.ClusterShardState]int)
	for i := range info.Shards {
		byState[info.Shards[i].State]++
	}
	for _, state := range shardStates {
		add.number(clusterShards, float64(byState[state]), cluster, state.String())
	}
	add.number(clusterChanges, float64(m.Gained), cluster, "gained")
	add.number(clusterChanges, float64(m.Given), cluster, "given")
	add.number(clusterChanges, float64(m.Lost), cluster, "lost")
	add.number(clusterClaims, float64(m.Claims), cluster)
	add.number(clusterConflicts, float64(m.Conflicts), cluster)
	for _, step := range []struct {
		name  string
		now   int
		count int64
		time  time.Duration
	}{{"handover", m.HandingOff, m.Given, m.HandoverTime}, {"claim", m.Claiming, m.Ready, m.ReadyTime}} {
		add.number(clusterMoving, float64(step.now), cluster, step.name)
		add.number(clusterMoves, float64(step.count), cluster, step.name)
		add.number(clusterMoveTime, step.time.Seconds(), cluster, step.name)
	}
	add.number(clusterWaiting, float64(info.Waiting), cluster)
	add.number(clusterRetries, float64(info.Retries), cluster)
}

// The values of the label side.
const (
	atEdge = "edge" // this node has the clients, the other one the objects
	atHome = "home" // the opposite
)

// readMembers adds what there is of each member.
func readMembers(add adder, cluster string, info *edgews.ClusterInfo, labelOf func(string) string) {
	byState := make(map[string]int)
	type sums struct {
		shards, edge, home int
		age                time.Duration
	}
	byLabel := make(map[string]sums)
	for i := range info.Members {
		m := &info.Members[i]
		byState[m.State()]++
		s := byLabel[labelOf(m.ID)]
		s.shards, s.edge, s.home, s.age = s.shards+m.Shards, s.edge+m.EdgeSockets, s.home+m.HomeSockets, max(s.age, m.BeatAge)
		byLabel[labelOf(m.ID)] = s
	}
	for _, state := range memberStates {
		add.number(clusterMembers, float64(byState[state]), cluster, state)
	}
	for label, s := range byLabel {
		add.number(clusterMemberShards, float64(s.shards), cluster, label)
		add.number(clusterBeatAge, s.age.Seconds(), cluster, label)
		add.number(clusterSockets, float64(s.edge), cluster, label, atEdge)
		add.number(clusterSockets, float64(s.home), cluster, label, atHome)
	}
}

// readLinks adds what there is of the links with each label.
func (s *clusterSeries) readLinks(add adder, cluster string, links []edgews.ClusterLinkInfo, labelOf func(string) string) {
	type gauges struct {
		connected, channels, unacknowledged int
		roundTrip                           time.Duration
	}
	now := make(map[linkKey]linkCounts, len(links))
	byLabel := make(map[linkLabel]gauges)
	for i := range links {
		l := &links[i]
		label, key := linkLabel{labelOf(l.Member), atHome}, linkKey{l.Member, l.Incarnation, l.Dialed}
		if l.Dialed {
			label[1] = atEdge
		}
		now[key] = linkCounts{l.Connections, l.FramesIn, l.FramesOut, l.BytesIn, l.BytesOut}
		s.sums[label] = s.sums[label].plus(now[key].less(s.links[key]))
		g := byLabel[label]
		if l.Connected {
			g.connected++
		}
		g.channels, g.unacknowledged, g.roundTrip = g.channels+l.Channels, g.unacknowledged+l.Unacknowledged, max(g.roundTrip, l.RoundTrip)
		byLabel[label] = g
	}
	s.links = now
	for label := range s.sums {
		if _, isThere := byLabel[label]; !isThere && label[0] != other {
			delete(s.sums, label)
		}
	}
	for label, g := range byLabel {
		add.number(clusterLinks, float64(g.connected), cluster, label[0], label[1])
		add.number(clusterLinkChannels, float64(g.channels), cluster, label[0], label[1])
		add.number(clusterLinkUnacknowledged, float64(g.unacknowledged), cluster, label[0], label[1])
		add.number(clusterLinkRoundTrip, g.roundTrip.Seconds(), cluster, label[0], label[1])
	}
	for label, sum := range s.sums {
		add.number(clusterLinkConnections, float64(sum.connections), cluster, label[0], label[1])
		add.number(clusterLinkFrames, float64(sum.framesIn), cluster, label[0], label[1], "in")
		add.number(clusterLinkFrames, float64(sum.framesOut), cluster, label[0], label[1], "out")
		add.number(clusterLinkBytes, float64(sum.bytesIn), cluster, label[0], label[1], "in")
		add.number(clusterLinkBytes, float64(sum.bytesOut), cluster, label[0], label[1], "out")
	}
}
