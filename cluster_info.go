package edgews

import "time"

// ClusterInformer is a Cluster that tells what it knows of itself, as the one of the module cluster does. Packages inspect and metrics ask it:
//
//	if c, ok := rooms.Cluster().(edgews.ClusterInformer); ok {
//		info := c.Info()
//	}
//
// Info may be called at any time by any goroutine, also after the end. It waits for no other node and for no storage. It costs about as much as
// looking at each shard, and at each socket whose object is on this node.
type ClusterInformer interface {
	Cluster
	Info() ClusterInfo
}

// Cluster returns NamespaceOptions.Cluster; nil: all objects of n are on this node.
func (n *Namespace) Cluster() Cluster { return n.opts.Cluster }

// ClusterInfo describes a cluster at one moment, as this node sees it. Other nodes may see it otherwise for a while. It is the caller's. Counts
// are sums since the node has begun; they never decrease.
type ClusterInfo struct {
	Name    string // of the cluster: members of others are refused
	Node    string // ID of this node
	Version uint16 // of the protocol between nodes: the highest that all members speak

	Lease   ClusterLeaseInfo
	Members []ClusterMemberInfo // in order of IDs; this node is among them, also while it is no member
	Shards  []ClusterShardInfo  // all, by number
	Links   []ClusterLinkInfo   // in order of the members' IDs
	Moves   ClusterMovesInfo
	Events  []ClusterEvent // the last 100, the oldest first

	// Waiting is how many requests and calls of this node wait at the moment until their object has a home. Retries is how often one was sent
	// again, because the node that was asked was not the home of the object, or was lost before it had begun.
	Waiting int
	Retries int64
}

// ClusterLeaseInfo is about the lease of a node: the time for which it may run objects. It renews it again and again.
type ClusterLeaseInfo struct {
	Valid    bool          // false: the node is fenced, and runs no objects of the cluster
	Left     time.Duration // how long it is still valid if no renewal is acknowledged
	TTL      time.Duration // what a renewal adds, from when it was sent
	Renewals int64         // that were acknowledged
	Failures int64         // renewals that were not acknowledged
	Ended    int64         // leases that have ended other than by leaving: how often the node was fenced
	Err      error         // of the last renewal that has failed, also if later ones were acknowledged; nil: none has
	ErrTime  time.Time     // when it has failed
}

// ClusterMemberInfo is a node of the cluster, as the node that is asked sees it.
type ClusterMemberInfo struct {
	ID          string
	Incarnation uint64 // of the process: another process with this ID has another one
	Addr        string // where other nodes reach it
	Versions    [2]uint16
	TTL         time.Duration
	Beat        uint64        // the number of its last renewal that was seen
	BeatAge     time.Duration // how long ago that was seen
	EdgeOnly    bool          // it runs no objects
	Leaving     bool          // it gives its shards away
	Refused     bool          // its address refuses connections: its process is dead, very probably
	Absent      bool          // this node has no record of it: it has not joined, has left or was removed

	Shards int // that it owns

	// EdgeSockets are open sockets of clients of the node that is asked whose objects are on this member. HomeSockets are those of this
	// member's clients whose objects are on the node that is asked.
	EdgeSockets, HomeSockets int
}

// State returns what matters most of the state of m: "absent", "refused", "late", if it was not renewed for its TTL, "leaving" or "alive".
func (m *ClusterMemberInfo) State() string {
	switch {
	case m.Absent:
		return "absent"
	case m.Refused:
		return "refused"
	case m.BeatAge > m.TTL:
		return "late"
	case m.Leaving:
		return "leaving"
	}
	return "alive"
}

// ClusterShardState says what a node does with the objects of a shard.
type ClusterShardState uint8

const (
	ClusterShardUnowned ClusterShardState = iota // no live member owns it: requests to its objects wait
	ClusterShardRemote                           // another member owns it
	ClusterShardWaiting                          // this node is about to own it: its objects begin when all members have announced their sockets
	ClusterShardReady                            // this node runs its objects
	ClusterShardLeaving                          // this node is giving it away
)

// String returns "unowned", "remote", "waiting", "ready" or "leaving".
func (s ClusterShardState) String() string {
	return [...]string{"unowned", "remote", "waiting", "ready", "leaving"}[min(s, ClusterShardLeaving)]
}

// ClusterShardInfo is a part of all objects, which has one owner at a time.
type ClusterShardInfo struct {
	Owner   string // ID of the member that the record of the shard names; "": it has no record yet
	Epoch   uint64 // of the record: it grows with each change of the owner
	State   ClusterShardState
	Missing []string // with ClusterShardWaiting: IDs of the members whose announcements are missing
}

// ClusterLinkInfo is a link to another member, or to this node itself, over which messages of sockets and requests go. Between two nodes there is one
// in each direction. It outlives its connections.
type ClusterLinkInfo struct {
	Member            string // ID
	Incarnation       uint64
	Dialed            bool      // from this node: it carries this node's clients. Otherwise those of the other one
	Connected         bool      // at the moment
	Since             time.Time // when the connection began, or the last one ended; zero: there was none
	Connections       int64     // that have begun: more than 1 means that the link has been lost and found again
	FramesIn          int64
	FramesOut         int64
	BytesIn, BytesOut int64         // on all connections, after TLS
	Unacknowledged    int           // bytes that were sent and that the other end has not consumed, beyond 4 KiB of each channel
	Channels          int           // open sockets, requests and calls
	RoundTrip         time.Duration // of the last ping, which an idle link sends; 0: not known
	Err               error         // why the last attempt to connect has failed, or the last connection has ended; nil: neither has happened
}

// ClusterMovesInfo counts changes of the owners of shards, as far as this node had a part in them.
type ClusterMovesInfo struct {
	Claims    int64 // that were tried
	Conflicts int64 // claims and hand-overs in which another member was faster
	Gained    int64 // shards that this node has become the owner of
	Given     int64 // shards that it has given to others
	Lost      int64 // shards that it has lost with its lease, or to others
	Removed   int64 // members that it has removed because they were dead

	Claiming   int // claims under way at the moment, until the objects of the shard may begin
	HandingOff int // shards that are being given away at the moment

	HandoverTime     time.Duration // that giving shards away took, from when their objects were stopped until the record named the next owner; the sum
	LastHandoverTime time.Duration // that of the last one
	ReadyTime        time.Duration // that passed from when shards were gained until their objects could begin; the sum
	Ready            int64         // shards that ReadyTime is about
	LastReadyTime    time.Duration
}

// ClusterEvent is something that has happened to the members or to the shards of this node.
type ClusterEvent struct {
	At     time.Time
	Kind   string // one of ClusterEventKinds
	Member string // ID of the member that it is about; "": this node, or the shards
	Reason string // why, if that is known

	// Of "shards changed": how many this node has gained, given to others and lost since the event of this kind before, and how long that took.
	Gained, Given, Lost int
	Took                time.Duration
}

// ClusterEventKinds are the values of ClusterEvent.Kind.
var ClusterEventKinds = []string{
	"lease begun", "lease ended", "member joined", "member left", "member removed", "member refused", "member connected", "member leaving", "shards changed",
}
