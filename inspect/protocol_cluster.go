package inspect

// This file is the part of the protocol that is about clusters.

// CallCluster asks for the clusters of the namespaces, as this node sees them.
const CallCluster = "cluster" // → ClusterReport

// ClusterReport is all clusters of the process: those of the namespaces that the inspector knows.
type ClusterReport struct {
	Now      int64         `json:"now"`
	Clusters []ClusterView `json:"clusters"` // by name; none: the namespaces have no cluster, or one that tells nothing
	Sampling Sampling      `json:"sampling"`
}

// ClusterView is a cluster as edgews.ClusterInfo describes it.
type ClusterView struct {
	Name       string        `json:"name"`
	Node       string        `json:"node"` // the ID of this node
	Version    int           `json:"version"`
	Namespaces []string      `json:"namespaces"` // of this process that are in the cluster
	Lease      ClusterLease  `json:"lease"`
	Members    []ClusterNode `json:"members"` // by ID; at most 500
	Shards     ClusterShards `json:"shards"`
	Links      []ClusterLink `json:"links"` // by the members' IDs; at most 500
	Moves      ClusterMoves  `json:"moves"`
	Waiting    int           `json:"waiting"` // requests and calls without a home at the moment
	Retries    int64         `json:"retries"`
	Events     []ClusterNews `json:"events"`           // the newest first
	Others     int           `json:"others,omitempty"` // members and links beyond the bounds
}

// ClusterLease is edgews.ClusterLeaseInfo.
type ClusterLease struct {
	Valid    bool    `json:"valid"`
	Left     float64 `json:"left"`
	TTL      float64 `json:"ttl"`
	Renewals int64   `json:"renewals"`
	Failures int64   `json:"failures"`
	Ended    int64   `json:"ended"`
	Error    string  `json:"error,omitempty"` // of the last renewal that has failed
	ErrorAt  int64   `json:"error_at,omitempty"`
}

// ClusterNode is a member.
type ClusterNode struct {
	ID          string  `json:"id"`
	Incarnation string  `json:"incarnation"` // 16 hexadecimal digits
	Addr        string  `json:"addr"`
	State       string  `json:"state"` // of edgews.ClusterMemberInfo.State
	Versions    [2]int  `json:"versions"`
	EdgeOnly    bool    `json:"edge_only,omitempty"`
	Leaving     bool    `json:"leaving,omitempty"`
	Beat        uint64  `json:"beat"`
	BeatAge     float64 `json:"beat_age"`
	TTL         float64 `json:"ttl"`
	Shards      int     `json:"shards"`
	EdgeSockets int     `json:"edge_sockets"` // of this node's clients with objects there
	HomeSockets int     `json:"home_sockets"` // of that node's clients with objects here
}

// ClusterShards is all shards as columns, by number.
type ClusterShards struct {
	Count     int            `json:"count"`
	ByState   map[string]int `json:"by_state"`
	Owners    []string       `json:"owners"`     // IDs, sorted
	Owner     []int          `json:"owner"`      // of each shard: an index of Owners; -1: it has no record
	State     []int          `json:"state"`      // of each shard: an index of States
	States    []string       `json:"states"`     // names
	EpochBase string         `json:"epoch_base"` // a decimal number, which may be larger than JavaScript's numbers
	Epoch     []uint64       `json:"epoch"`      // of each shard, less EpochBase
	Waiting   []ClusterWait  `json:"waiting"`    // shards that are not ready; at most 100
}

// ClusterWait says for whom a shard of this node waits.
type ClusterWait struct {
	Shard   int      `json:"shard"`
	Missing []string `json:"missing"` // IDs of members that have not announced their sockets
}

// ClusterLink is a link to another member.
type ClusterLink struct {
	Member         string  `json:"member"`
	Dialed         bool    `json:"dialed,omitempty"` // from this node
	Connected      bool    `json:"connected"`
	Since          int64   `json:"since"` // connected, or not any more
	Connections    int64   `json:"connections"`
	FramesIn       int64   `json:"frames_in"`
	FramesOut      int64   `json:"frames_out"`
	BytesIn        int64   `json:"bytes_in"`
	BytesOut       int64   `json:"bytes_out"`
	Unacknowledged int     `json:"unacknowledged"`
	Channels       int     `json:"channels"`
	RoundTrip      float64 `json:"round_trip,omitempty"`
	Error          string  `json:"error,omitempty"`
}

// ClusterMoves is edgews.ClusterMovesInfo.
type ClusterMoves struct {
	Claims       int64   `json:"claims"`
	Conflicts    int64   `json:"conflicts"`
	Gained       int64   `json:"gained"`
	Given        int64   `json:"given"`
	Lost         int64   `json:"lost"`
	Removed      int64   `json:"removed"`
	Claiming     int     `json:"claiming"`
	HandingOff   int     `json:"handing_off"`
	Handover     float64 `json:"handover"` // mean duration
	LastHandover float64 `json:"last_handover"`
	Ready        int64   `json:"ready"`
	ReadyTime    float64 `json:"ready_time"` // mean, from when a shard was gained until its objects could begin
	LastReady    float64 `json:"last_ready"`
}

// ClusterNews is edgews.ClusterEvent.
type ClusterNews struct {
	At     int64   `json:"at"`
	Kind   string  `json:"kind"`
	Member string  `json:"member,omitempty"`
	Reason string  `json:"reason,omitempty"`
	Gained int     `json:"gained,omitempty"`
	Given  int     `json:"given,omitempty"`
	Lost   int     `json:"lost,omitempty"`
	Took   float64 `json:"took,omitempty"`
}
