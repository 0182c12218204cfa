package main

import "flag"

// figures are what the program computes with. Each has a flag; its default is what has been measured, or what was chosen.
type figures struct {
	nodes, sockets, objects, shards, topics int
	ttl                                     float64
	cores                                   int

	commits, claims                       float64
	frames                                float64
	socketBytes, edgeBytes, homeBytes     float64
	topicBytes                            float64
	moveTime, connectTime                 float64
	channelWindow, linkWindow, maxChannel int
}

// figure is a row of the table of figures: the one place to change when something has been measured again.
type figure struct {
	name   string
	value  any // a pointer into figures
	preset float64
	unit   string
	source string // who says so, and the command that measures it
}

// table returns the figures in the order in which they are printed.
func (f *figures) table() []figure {
	return []figure{
		{"nodes", &f.nodes, 100, "", "chosen: members that are edges and homes"},
		{"sockets", &f.sockets, 100_000_000, "", "chosen: of clients, spread evenly over edges and over objects"},
		{"objects", &f.objects, 2_000_000, "", "chosen: objects that have sockets"},
		{"topics", &f.topics, 20_000, "", "chosen: topics that have subscribers at a node"},
		{"shards", &f.shards, 8192, "", "chosen: Config.Shards"},
		{"cores", &f.cores, 16, "", "chosen: processors of a node"},
		{"ttl", &f.ttl, 15, "s", "default of cluster.Options.TTL"},
		{"commits", &f.commits, 6200, "/s", "one NATS engine of 3 servers, sync_interval always, 1 ms fsync, 64 writers: prototype, 2026-11-21"},
		{"claims", &f.claims, 15_300, "/s", "1,024 records in 67 ms, same servers: prototype, 2026-11-21"},
		{"frames", &f.frames, 1_100_000, "/s", "of one core; 2.2 M/s on 2 cores for both ends, 200 B, TLS: go test -bench OneWay/secret ./cluster/internal/link"},
		{"socket-bytes", &f.socketBytes, 260, "B", "an idle connection at its edge, without TLS: go run ./bench, row Idle"},
		{"edge-bytes", &f.edgeBytes, 730, "B", "what a socket in a cluster adds at its edge: go test -run TestMemoryOfARemoteSocket -v ./cluster, with EDGEWS_MEMPROFILE=1"},
		{"home-bytes", &f.homeBytes, 1390, "B", "what it takes at its home: the same; 2,120 B at both"},
		{"topic-bytes", &f.topicBytes, 30, "B", "a hash of 8 bytes in a map of 10,000 of them"},
		{"move-time", &f.moveTime, 82e-6, "s", "CPU of edge and home together for a socket that moves: Leave of 4,000 sockets, 2 cores, 2026-11-28"},
		{"connect-time", &f.connectTime, 52e-6, "s", "CPU of a handshake: go run ./bench -readme, row connect and echo"},
		{"channel-window", &f.channelWindow, 4 << 10, "B", "of a channel, beyond what the link's window counts: reserve in cluster/internal/link"},
		{"link-window", &f.linkWindow, 64 << 20, "B", "of all channels of a link, in one direction: LinkWindow in cluster.Join"},
		{"max-channels", &f.maxChannel, 131_072, "", "of a link: MaxChannels in cluster/internal/link"},
	}
}

// register defines the flags.
func (f *figures) register(flags *flag.FlagSet) {
	for _, row := range f.table() {
		usage := row.source
		switch value := row.value.(type) {
		case *int:
			flags.IntVar(value, row.name, int(row.preset), usage)
		case *float64:
			flags.Float64Var(value, row.name, row.preset, usage)
		}
	}
}
