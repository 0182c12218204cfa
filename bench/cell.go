//go:build linux

package main

import (
	"slices"
	"strings"
	"time"

	"github.com/edgews/edgews/bench/internal/load"
	"github.com/edgews/edgews/bench/internal/server"
)

// kind is the kind of load in a cell.
type kind uint8

const (
	echo         kind = iota // as fast as the server answers
	ping                     // pings instead of messages
	steady                   // at a fixed rate
	collect                  // at a fixed rate, with garbage collections and HTTP requests meanwhile
	broadcast                // each message is sent to all connections
	connect                  // connections, with one message each
	flood                    // a quiet connection, while others send as fast as the server reads
	blockers                 // a quiet connection, while the handlers of others sleep
	idle                     // connections without traffic, after a few messages
	instructions             // under callgrind
	startup                  // of a small program, to its first echo
	durable                  // writes that return when they are on the disk, without a server
)

// Cell is one load: a column of a table.
type Cell struct {
	Group string // -cells selects by group, and a table shows one or more groups
	Name  string
	Kind  kind

	Size    int          // of a message, in bytes; compressed ones are JSON documents of 1 KiB
	Conns   int          // in each process; in a flood without the quiet one; of a durable cell, writers at a time
	Window  int          // outstanding messages on each connection; of an instructions cell, 0 means new connections with one message each
	Rate    int          // messages per second
	Procs   int          // GOMAXPROCS of the server, which may use all cores; 0: the server is alone on one core
	Content load.Content // of a flood
	Deflate server.Deflate
	Level   int // of compression, which only edgews can set per server; 0: the server's default
	TLS     bool
	Proxied bool // the load goes through a proxy, which is measured, to an echo server

	AtLeast time.Duration // of the measured time, if the plan has less

	Half      bool // of an idle cell: only half of each request for a connection is sent
	Processes int  // of an idle cell: a process may have too few descriptors for all connections
	Messages  int  // of an idle cell: on each connection, before it is idle

	Once bool // in the first round only: it takes long, and the result hardly varies
}

// String returns the group and the name, with which plans refer to the cell.
func (c Cell) String() string { return c.Group + "/" + c.Name }

// opens reports whether it matters in the cell how connections are opened.
func (c Cell) opens() bool {
	return c.Kind == connect || c.Kind == idle || c.Kind == instructions && c.Window == 0
}

// limit is the time after which a visit has failed.
func (c Cell) limit() time.Duration {
	if c.Kind == idle || c.Kind == instructions || c.Kind == startup {
		return 3 * time.Minute
	}
	return time.Minute
}

// offer returns the extension that a client offers.
func (c Cell) offer() string {
	switch c.Deflate {
	case server.Reset:
		return "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	case server.Takeover:
		return "permessage-deflate; client_max_window_bits"
	}
	return ""
}

// floodTime is enough for two hundred echoes on the quiet connection, of which the slowest two are beyond p99.
const floodTime = 2 * time.Second

// cells are all cells. Forty compressed messages fill every window. With the common limit of 20 000 descriptors, a hundred thousand
// connections take six processes.
var cells = []Cell{
	{Group: "echo", Name: "32 B", Size: 32, Conns: 64, Window: 1},
	{Group: "echo", Name: "128 B", Size: 128, Conns: 64, Window: 1},
	{Group: "echo", Name: "1 KiB", Size: 1 << 10, Conns: 64, Window: 1},
	{Group: "echo", Name: "128 B, 5 000 conns", Size: 128, Conns: 5000, Window: 1},
	{Group: "echo", Name: "16 KiB", Size: 16 << 10, Conns: 64, Window: 1},
	{Group: "echo", Name: "256 KiB, 16 conns", Size: 256 << 10, Conns: 16, Window: 1},
	{Group: "ping", Name: "32 B", Kind: ping, Size: 32, Conns: 64, Window: 1},
	{Group: "pipeline", Name: "32 B", Size: 32, Conns: 64, Window: 16},
	{Group: "pipeline", Name: "128 B", Size: 128, Conns: 64, Window: 16},
	{Group: "pipeline", Name: "1 KiB", Size: 1 << 10, Conns: 64, Window: 16},
	{Group: "pipeline", Name: "128 B, 5 000 conns", Size: 128, Conns: 5000, Window: 16},
	{Group: "rate", Name: "5 000/s", Kind: steady, Size: 128, Conns: 100, Window: 1, Rate: 5_000},
	{Group: "rate", Name: "20 000/s", Kind: steady, Size: 128, Conns: 100, Window: 1, Rate: 20_000},
	{Group: "processors", Name: "1 for 64 conns", Size: 128, Conns: 64, Window: 1, Procs: 1},
	{Group: "processors", Name: "2 for 64 conns", Size: 128, Conns: 64, Window: 1, Procs: 2},
	{Group: "processors", Name: "1 for 5 000 conns", Size: 128, Conns: 5000, Window: 1, Procs: 1},
	{Group: "processors", Name: "2 for 5 000 conns", Size: 128, Conns: 5000, Window: 1, Procs: 2},
	{Group: "collect", Name: "5 000/s", Kind: collect, Size: 128, Conns: 100, Window: 1, Rate: 5_000},
	{Group: "broadcast", Name: "1 outstanding", Kind: broadcast, Size: 128, Conns: 1000, Window: 1},
	{Group: "broadcast", Name: "8 outstanding", Kind: broadcast, Size: 128, Conns: 1000, Window: 8},
	{Group: "deflate", Name: "no takeover", Conns: 64, Window: 1, Deflate: server.Reset},
	{Group: "deflate", Name: "takeover", Conns: 64, Window: 1, Deflate: server.Takeover},
	{Group: "deflate", Name: "takeover, level 6", Conns: 64, Window: 1, Deflate: server.Takeover, Level: 6},
	{Group: "flood", Name: "no flood", Kind: flood, AtLeast: floodTime},
	{Group: "flood", Name: "128 B", Kind: flood, Conns: 100, Content: load.Small, AtLeast: floodTime},
	{Group: "flood", Name: "100 fragments", Kind: flood, Conns: 100, Content: load.Fragments, AtLeast: floodTime},
	{Group: "flood", Name: "deflate", Kind: flood, Conns: 100, Content: load.Compressed, Deflate: server.Reset, AtLeast: floodTime},
	{Group: "flood", Name: "1 MiB in 1 KiB", Kind: flood, Conns: 100, Content: load.Bombs, Deflate: server.Reset, AtLeast: floodTime},
	{Group: "blockers", Name: "500 handlers sleep 20 ms", Kind: blockers, Conns: 500, Content: load.Answered, AtLeast: floodTime},
	{Group: "connect", Name: "connect, handshake, echo", Kind: connect},
	{Group: "proxy", Name: "128 B", Size: 128, Conns: 64, Window: 1, Proxied: true},
	{Group: "proxy", Name: "64 KiB", Size: 64 << 10, Conns: 64, Window: 1, Proxied: true},
	{Group: "proxy", Name: "5 000 idle", Kind: idle, Conns: 5000, Processes: 1, Messages: 1, Proxied: true},
	{Group: "idle", Name: "10 000", Kind: idle, Conns: 10_000, Processes: 1, Messages: 1},
	{Group: "idle", Name: "19 500", Kind: idle, Conns: 19_500, Processes: 1, Messages: 1, Once: true},
	{Group: "idle", Name: "TLS, 10 000", Kind: idle, Conns: 10_000, Processes: 1, Messages: 1, TLS: true, Once: true},
	{Group: "idle", Name: "half requests, 10 000", Kind: idle, Conns: 10_000, Processes: 1, Half: true, Once: true},
	{Group: "idle", Name: "deflate, 1 000", Kind: idle, Conns: 1000, Processes: 1, Messages: 40, Deflate: server.Reset, Once: true},
	{Group: "idle", Name: "takeover, 1 000", Kind: idle, Conns: 1000, Processes: 1, Messages: 40, Deflate: server.Takeover, Once: true},
	{Group: "idle100k", Name: "100 200 in 6 processes", Kind: idle, Conns: 16_700, Processes: 6, Messages: 1, Once: true},
	{Group: "instructions", Name: "1 outstanding", Kind: instructions, Size: 128, Conns: 64, Window: 1, Once: true},
	{Group: "instructions", Name: "16 outstanding", Kind: instructions, Size: 128, Conns: 64, Window: 16, Once: true},
	{Group: "instructions", Name: "connect", Kind: instructions, Conns: 16, Once: true},
	{Group: "durable", Name: "1 writer", Kind: durable, Conns: 1, AtLeast: time.Second},
	{Group: "durable", Name: "256 writers", Kind: durable, Conns: 256, AtLeast: time.Second},
	{Group: "startup", Name: "start to first echo", Kind: startup, Once: true},

	// Small cells for -quick. They have too few connections for an exact cost per connection.
	{Group: "idle", Name: "4 000", Kind: idle, Conns: 4000, Processes: 1, Messages: 1},
	{Group: "idle", Name: "TLS, 500", Kind: idle, Conns: 500, Processes: 1, Messages: 1, TLS: true},
	{Group: "idle", Name: "takeover, 200", Kind: idle, Conns: 200, Processes: 1, Messages: 64, Deflate: server.Takeover},
}

// cell returns the cell with that group and name.
func cell(name string) Cell {
	i := slices.IndexFunc(cells, func(c Cell) bool { return c.String() == name })
	if i < 0 {
		panic("no cell " + name)
	}
	return cells[i]
}

// groups returns the names of the groups of cells, in order.
func groups(cells []Cell) []string {
	var names []string
	for _, c := range cells {
		if !slices.Contains(names, c.Group) {
			names = append(names, c.Group)
		}
	}
	return names
}

// selected returns the cells of the groups in a comma-separated list, or all if it is empty.
func selected(cells []Cell, list string) []Cell {
	if list == "" {
		return cells
	}
	names := strings.Split(list, ",")
	return slices.DeleteFunc(slices.Clone(cells), func(c Cell) bool { return !slices.Contains(names, c.Group) })
}
