//go:build linux

package main

import (
	"io"
	"slices"
	"time"

	"github.com/edgews/edgews/bench/internal/server"
	"github.com/edgews/edgews/bench/internal/store"
)

// plan says what to measure, how often, for how long, and how to print it.
type plan struct {
	name    string // the flag that selects it; "" for the default plan
	about   string
	cells   []Cell
	servers []string                 // names; nil for all
	visits  func(Cell, subject) bool // whether a server is measured in a cell; nil: all are
	rounds  int
	length  time.Duration
	traced  bool // system calls are counted
	write   func(io.Writer, *bench)
}

var plans = []plan{
	{
		about: "everything",
		cells: everything(), rounds: 5, length: time.Second,
		traced: true, write: writeTables,
	},
	{
		name: "quick", about: "a shorter comparison, of two to three minutes",
		cells: named(
			"echo/128 B", "echo/128 B, 5 000 conns", "echo/16 KiB", "pipeline/128 B", "rate/5 000/s", "collect/5 000/s",
			"broadcast/1 outstanding", "broadcast/8 outstanding", "deflate/no takeover", "deflate/takeover",
			"connect/connect, handshake, echo", "idle/4 000", "idle/TLS, 500", "idle/takeover, 200",
		),
		rounds: 1, length: 200 * time.Millisecond,
		traced: true, write: writeTables,
	},
	{
		name: "readme", about: "the tables of the README, each library as well tuned as possible, in about ten minutes",
		cells: named(summarized()...), rounds: 3, length: 400 * time.Millisecond,
		servers: columns,
		write:   writeSummary,
	},
	{
		name: "goals", about: "the targets of edgews, and whether it reaches them, in about ten minutes",
		cells: named(goalCells()...), rounds: 3, length: 500 * time.Millisecond,
		servers: slices.Concat([]string{
			server.GoFloor, server.EpollFloor, server.Edgews, server.EdgewsServe, server.EdgewsObject, "gws", "gorilla", "coder", "workerd",
			server.EdgewsProxy, store.Storage, store.Bbolt,
		}, otherProxies),
		visits: goalNeeds,
		write:  writeGoals,
	},
}

// everything returns all cells but the small ones of -quick.
func everything() []Cell {
	small := []string{"idle/4 000", "idle/TLS, 500", "idle/takeover, 200"}
	return slices.DeleteFunc(slices.Clone(cells), func(c Cell) bool { return slices.Contains(small, c.String()) })
}

func named(names ...string) []Cell {
	var list []Cell
	for _, n := range names {
		list = append(list, cell(n))
	}
	return list
}
