package metrics

// Labels of clusters, of their members, and of links to members.
var (
	ofClusters = []string{"cluster"}
	ofMembers  = []string{"cluster", "member"}
	ofLinks    = []string{"cluster", "member", "side"}
)

// The metrics of the members of clusters.
var (
	clusterMembers = &Metric{
		Name: "edgews_cluster_members", OTel: "edgews.cluster.members", Type: UpDownCounter, Unit: "{node}", Labels: labels(ofClusters, "state"),
		Help: "Nodes of the cluster as this one sees them",
	}
	clusterMemberShards = &Metric{
		Name: "edgews_cluster_member_shards", OTel: "edgews.cluster.member.shards", Type: UpDownCounter, Unit: "{shard}", Labels: ofMembers,
		Help: "Shards that a node owns, as this one sees it",
	}
	clusterBeatAge = &Metric{
		Name: "edgews_cluster_member_renewal_age_seconds", OTel: "edgews.cluster.member.renewal.age", Type: Gauge, Unit: "s", Labels: ofMembers,
		Help: "How long ago this node has seen a node renew its lease",
	}
	clusterRemoved = &Metric{
		Name: "edgews_cluster_members_removed_total", OTel: "edgews.cluster.removals", Type: Counter, Unit: "{node}", Labels: ofClusters,
		Help: "Nodes that this one has removed because they were dead",
	}
	clusterLease = &Metric{
		Name: "edgews_cluster_lease_seconds", OTel: "edgews.cluster.lease.remaining", Type: Gauge, Unit: "s", Labels: ofClusters,
		Help: "How long this node may run objects if no renewal of its lease is acknowledged; 0: it is fenced",
	}
	clusterRenewals = &Metric{
		Name: "edgews_cluster_renewals_total", OTel: "edgews.cluster.lease.renewals", Type: Counter, Unit: "{renewal}", Labels: labels(ofClusters, "result"),
		Help: "Renewals of the lease that this node has tried",
	}
	clusterLeasesEnded = &Metric{
		Name: "edgews_cluster_leases_ended_total", OTel: "edgews.cluster.lease.ended", Type: Counter, Unit: "{lease}", Labels: ofClusters,
		Help: "How often this node was fenced: its lease has ended though it did not leave",
	}
)

// The metrics of shards and requests.
var (
	clusterShards = &Metric{
		Name: "edgews_cluster_shards", OTel: "edgews.cluster.shards", Type: UpDownCounter, Unit: "{shard}", Labels: labels(ofClusters, "state"),
		Help: "Shards by what this node does with them",
	}
	clusterChanges = &Metric{
		Name: "edgews_cluster_shard_changes_total", OTel: "edgews.cluster.shard.changes", Type: Counter, Unit: "{shard}", Labels: labels(ofClusters, "change"),
		Help: "Shards that this node has gained, given to others and lost",
	}
	clusterClaims = &Metric{
		Name: "edgews_cluster_claims_total", OTel: "edgews.cluster.shard.claims", Type: Counter, Unit: "{claim}", Labels: ofClusters,
		Help: "Claims of shards that this node has tried",
	}
	clusterConflicts = &Metric{
		Name: "edgews_cluster_conflicts_total", OTel: "edgews.cluster.shard.conflicts", Type: Counter, Unit: "{claim}", Labels: ofClusters,
		Help: "Claims and hand-overs in which another node was faster",
	}
	clusterMoving = &Metric{
		Name: "edgews_cluster_moves_under_way", OTel: "edgews.cluster.move.count", Type: UpDownCounter, Unit: "{shard}", Labels: labels(ofClusters, "step"),
		Help: "Shards that are being moved now",
	}
	clusterMoves = &Metric{
		Name: "edgews_cluster_moves_total", OTel: "edgews.cluster.moves", Type: Counter, Unit: "{shard}", Labels: labels(ofClusters, "step"),
		Help: "Shards that were moved",
	}
	clusterMoveTime = &Metric{
		Name: "edgews_cluster_move_seconds_total", OTel: "edgews.cluster.move.time", Type: Counter, Unit: "s", Labels: labels(ofClusters, "step"),
		Help: "How long moving them took, summed over the shards: their objects wait meanwhile",
	}
	clusterWaiting = &Metric{
		Name: "edgews_cluster_requests_waiting", OTel: "edgews.cluster.request.waiting", Type: UpDownCounter, Unit: "{request}", Labels: ofClusters,
		Help: "Requests and calls that wait until their object has a home",
	}
	clusterRetries = &Metric{
		Name: "edgews_cluster_request_retries_total", OTel: "edgews.cluster.request.retries", Type: Counter, Unit: "{request}", Labels: ofClusters,
		Help: "Requests and calls that were sent again because the node that was asked was not the home of the object",
	}
	clusterSockets = &Metric{
		Name: "edgews_cluster_sockets", OTel: "edgews.cluster.sockets", Type: UpDownCounter, Unit: "{connection}", Labels: ofLinks,
		Help: "Sockets between this node and a node, by what this node is to them",
	}
)

// The metrics of links between nodes.
var (
	clusterLinks = &Metric{
		Name: "edgews_cluster_links_connected", OTel: "edgews.cluster.link.connected", Type: UpDownCounter, Unit: "{link}", Labels: ofLinks,
		Help: "Links to a node that have a connection now: 0 if there is one without",
	}
	clusterLinkConnections = &Metric{
		Name: "edgews_cluster_link_connections_total", OTel: "edgews.cluster.link.connections", Type: Counter, Unit: "{connection}", Labels: ofLinks,
		Help: "Connections that links to a node have had: a link that is lost gets another one",
	}
	clusterLinkFrames = &Metric{
		Name: "edgews_cluster_link_frames_total", OTel: "edgews.cluster.link.frames", Type: Counter, Unit: "{frame}", Labels: labels(ofLinks, "direction"),
		Help: "Frames between nodes: messages of clients and acknowledgements",
	}
	clusterLinkBytes = &Metric{
		Name: "edgews_cluster_link_bytes_total", OTel: "edgews.cluster.link.io", Type: Counter, Unit: "By", Labels: labels(ofLinks, "direction"),
		Help: "Size of these frames, without that of TLS",
	}
	clusterLinkUnacknowledged = &Metric{
		Name: "edgews_cluster_link_unacknowledged_bytes", OTel: "edgews.cluster.link.unacknowledged", Type: UpDownCounter, Unit: "By", Labels: ofLinks,
		Help: "Bytes that were sent and that the other node has not consumed, beyond 4 KiB of each channel",
	}
	clusterLinkChannels = &Metric{
		Name: "edgews_cluster_link_channels", OTel: "edgews.cluster.link.channels", Type: UpDownCounter, Unit: "{channel}", Labels: ofLinks,
		Help: "Sockets, requests and calls on the links to a node",
	}
	clusterLinkRoundTrip = &Metric{
		Name: "edgews_cluster_link_round_trip_seconds", OTel: "edgews.cluster.link.round_trip", Type: Gauge, Unit: "s", Labels: ofLinks,
		Help: "Round trip of the last ping on a link that was idle",
	}
)

// clusterTable has the metrics of clusters, in the order of Recorder.Samples.
var clusterTable = []*Metric{
	clusterMembers, clusterMemberShards, clusterBeatAge, clusterRemoved, clusterLease, clusterRenewals, clusterLeasesEnded,
	clusterShards, clusterChanges, clusterClaims, clusterConflicts, clusterMoving, clusterMoves, clusterMoveTime, clusterWaiting, clusterRetries, clusterSockets,
	clusterLinks, clusterLinkConnections, clusterLinkFrames, clusterLinkBytes, clusterLinkUnacknowledged, clusterLinkChannels, clusterLinkRoundTrip,
}
