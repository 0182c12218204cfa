package cluster

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster/internal/link"
)

// counts are what a Cluster counts for Info, besides what its Node and its links do.
type counts struct {
	waiting atomic.Int64 // requests and calls that wait for a home
	retries atomic.Int64

	// Guarded by Cluster.mu.
	ready                int64 // shards
	readyTime, lastReady time.Duration
}

// readyLocked counts a shard whose objects can begin, so long after it was gained. Cluster.mu must be held.
func (n *counts) readyLocked(took time.Duration) {
	n.ready++
	n.readyTime += took
	n.lastReady = took
}

// wait counts a request that waits until end is called.
func (n *counts) wait() (end func()) {
	n.waiting.Add(1)
	return func() { n.waiting.Add(-1) }
}

var _ edgews.ClusterInformer = (*Cluster)(nil)

// Info implements edgews.ClusterInformer.
func (c *Cluster) Info() edgews.ClusterInfo {
	info := edgews.ClusterInfo{Name: c.opts.Name, Waiting: int(c.counts.waiting.Load()), Retries: c.counts.retries.Load()}
	c.Node.describe(&info)
	for _, l := range c.links.Links() {
		info.Links = append(info.Links, describeLink(l))
	}
	c.describeShards(&info)
	c.describeSockets(&info)
	c.mu.Lock()
	defer c.mu.Unlock()
	info.Moves.Ready, info.Moves.ReadyTime, info.Moves.LastReadyTime = c.counts.ready, c.counts.readyTime, c.counts.lastReady
	return info
}

func describeLink(l link.Info) edgews.ClusterLinkInfo {
	return edgews.ClusterLinkInfo{
		Member: l.Peer.ID, Incarnation: l.Peer.Incarnation, Dialed: l.Dialed, Connected: l.Connected, Since: l.Since, Connections: l.Connections,
		FramesIn: l.FramesIn, FramesOut: l.FramesOut, BytesIn: l.BytesIn, BytesOut: l.BytesOut, Unacknowledged: l.Unconsumed, Channels: l.Channels,
		RoundTrip: l.RoundTrip, Err: l.Err,
	}
}

// describeShards says which of this node's shards are ready, and for whom the others wait. The Node has described the rest.
func (c *Cluster) describeShards(info *edgews.ClusterInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s, h := range c.homes {
		shard := &info.Shards[s]
		switch {
		case shard.State != edgews.ClusterShardWaiting:
		case h.leaving:
			shard.State = edgews.ClusterShardLeaving
		case h.isReady():
			shard.State = edgews.ClusterShardReady
		default:
			shard.Missing = c.missingLocked(h, info.Members)
		}
	}
}

// missingLocked returns which members have not announced all of their sockets to h. mu must be held.
func (c *Cluster) missingLocked(h *homeShard, members []edgews.ClusterMemberInfo) (missing []string) {
	set := c.ends[h.Shard]
	for i := range members {
		m := &members[i]
		if !m.Absent && (set == nil || set.epoch != h.Epoch || set.from[m.ID] != m.Incarnation) {
			missing = append(missing, m.ID)
		}
	}
	return missing
}

// shardsAtOnce is for how many shards sockets are counted without interruption, so that nothing waits long for mu.
const shardsAtOnce = 64

// describeSockets counts the sockets by their edges and homes.
func (c *Cluster) describeSockets(info *edgews.ClusterInfo) {
	edges, homes := make(map[string]int), make(map[string]int)
	for first := 0; first < len(info.Shards); first += shardsAtOnce {
		c.mu.Lock()
		for s := first; s < min(first+shardsAtOnce, len(info.Shards)); s++ {
			if n := len(c.edges[Shard(s)]); n > 0 {
				edges[info.Shards[s].Owner] += n
			}
			for conn := range c.conns[Shard(s)] {
				homes[conn.from.ID]++
			}
		}
		c.mu.Unlock()
	}
	for i := range info.Members {
		m := &info.Members[i]
		m.EdgeSockets, m.HomeSockets = edges[m.ID], homes[m.ID]
	}
}

// describe says what the Node knows.
func (n *Node) describe(info *edgews.ClusterInfo) {
	info.Node, info.Version = n.self.ID, n.Version()
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.clock.now()
	info.Lease = n.leaseInfoLocked(now)
	info.Members = n.memberInfosLocked(now)
	at := make(map[string]int, len(info.Members))
	for i := range info.Members {
		at[info.Members[i].ID] = i
	}
	info.Shards = make([]edgews.ClusterShardInfo, len(n.shards))
	for s := range n.shards {
		shard := &info.Shards[s]
		*shard = n.shardInfoLocked(Shard(s))
		if i, ok := at[shard.Owner]; ok && shard.State != edgews.ClusterShardUnowned {
			info.Members[i].Shards++
		}
	}
	p := &n.past
	info.Moves = edgews.ClusterMovesInfo{
		Claims: p.claims, Conflicts: p.conflicts, Gained: n.stats.Gained, Given: n.stats.Given, Lost: n.stats.Lost, Removed: n.stats.Removed,
		Claiming: n.claims, HandingOff: n.handovers, HandoverTime: p.handoverTime, LastHandoverTime: p.lastHandover,
	}
	info.Events = slices.Clone(p.events)
}

func (n *Node) leaseInfoLocked(now time.Duration) edgews.ClusterLeaseInfo {
	p := &n.past
	i := edgews.ClusterLeaseInfo{
		TTL: n.opts.TTL, Renewals: p.renewals, Failures: p.failures, Ended: n.stats.Fenced, Err: p.failure, ErrTime: p.failedAt,
	}
	if l := n.lease.Load(); l != nil && l.valid() {
		i.Valid, i.Left = true, max(0, time.Duration(l.until.Load())-now)
	}
	return i
}

// memberInfosLocked returns the members in the order of their IDs, with this node.
func (n *Node) memberInfosLocked(now time.Duration) []edgews.ClusterMemberInfo {
	infos := make([]edgews.ClusterMemberInfo, 0, len(n.peers)+1)
	self := n.self
	self.Leaving, self.Beat = n.leaving, n.beat
	isThere := false
	for _, p := range n.peers {
		isThere = isThere || p.member.ID == self.ID
		i := memberInfo(p.member)
		i.BeatAge, i.Refused = now-p.seen, n.refused[p.member.ID] == p.member.Incarnation
		i.Absent = n.closing && p.member.is(self)
		infos = append(infos, i)
	}
	if !isThere {
		i := memberInfo(self)
		i.Absent = true
		infos = append(infos, i)
	}
	slices.SortFunc(infos, func(a, b edgews.ClusterMemberInfo) int { return cmp.Compare(a.ID, b.ID) })
	return infos
}

func memberInfo(m Member) edgews.ClusterMemberInfo {
	return edgews.ClusterMemberInfo{
		ID: m.ID, Incarnation: m.Incarnation, Addr: m.Addr, Versions: m.Versions, TTL: m.TTL, Beat: m.Beat, EdgeOnly: m.EdgeOnly, Leaving: m.Leaving,
	}
}

// shardInfoLocked describes a shard. One that this node owns is waiting: it does not know what is ready.
func (n *Node) shardInfoLocked(s Shard) edgews.ClusterShardInfo {
	sh := &n.shards[s]
	i := edgews.ClusterShardInfo{Owner: sh.record.Owner, Epoch: sh.record.Epoch}
	p := n.peers[sh.record.Owner]
	switch {
	case n.held[s].Load().valid():
		i.State = edgews.ClusterShardWaiting
	case sh.busy && sh.told.Epoch != 0 && sh.told.Epoch == sh.record.Epoch && !n.Fenced():
		i.State = edgews.ClusterShardLeaving
	case n.self.owns(sh.record):
		if !n.Fenced() {
			i.State = edgews.ClusterShardWaiting // its claim is under way
		}
	case p != nil && p.member.owns(sh.record):
		i.State = edgews.ClusterShardRemote
	}
	return i
}
