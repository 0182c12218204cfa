//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/edgews/edgews/bench/internal/server"
	"github.com/edgews/edgews/bench/internal/store"
)

// goal is a target for a figure of edgews.
type goal struct {
	work   string
	limit  float64
	least  bool   // the limit is a minimum, not a maximum
	unit   string // of the limit, or what it is relative to
	cell   string
	base   string   // another cell that is needed, to which the figure is relative; "": none
	server string   // whose figure it is; "": edgews
	peers  []string // that are measured in the cell, too
	value  func(r results, server string) (float64, error)
}

// The goals come from measurements of other servers: the best result in any language, or slightly better. Those relative to uWebSockets
// are measured if a flag gives its checkout.
var goals = []goal{
	floored("echo 32 B", "echo/32 B", 0.92, server.GoFloor),
	floored("echo 128 B", "echo/128 B", 0.92, server.GoFloor),
	floored("echo 1 KiB", "echo/1 KiB", 0.92, server.GoFloor),
	floored("echo 128 B, 5 000 connections", "echo/128 B, 5 000 conns", 0.75, server.GoFloor),
	floored("echo 128 B, 16 outstanding", "pipeline/128 B", 1.05, server.GoFloor),
	beats("the same, beside gws, gorilla, coder", "pipeline/128 B", 7, "gws", "gorilla", "coder"),
	floored("5 000 messages/s", "rate/5 000/s", 0.55, server.GoFloor),
	plain("CPU of a server with 10 000 idle connections", "idle/10 000", asleep, 0, "% of a core"),
	plain("GC and HTTP request meanwhile, slowest", "collect/5 000/s", requestMax, 10, "ms"),
	floored("20 000 messages/s", "rate/20 000/s", 1.05, uWebSockets),
	scaled("echo with a GOMAXPROCS of 2", "processors/2 for 64 conns", "processors/1 for 64 conns", 1.1),
	scaled("the same, 5 000 connections", "processors/2 for 5 000 conns", "processors/1 for 5 000 conns", 1.1),
	floored("echo 16 KiB", "echo/16 KiB", 1, server.GoFloor),
	floored("the same", "echo/16 KiB", 1, uWebSockets),
	floored("echo 256 KiB", "echo/256 KiB, 16 conns", 1, server.GoFloor),
	floored("the same", "echo/256 KiB, 16 conns", 1, uWebSockets),
	floored("event through an object", "echo/128 B", 1.5, server.Edgews).of(server.EdgewsObject),
	plain("instructions per echo 128 B", "instructions/1 outstanding", instr, 1100, ""),
	plain("instructions, 16 outstanding", "instructions/16 outstanding", instr, 450, ""),
	plain("allocations per echo", "echo/128 B", allocs, 0, ""),
	plain("allocations per event through an object", "echo/128 B", allocs, 0, "").of(server.EdgewsObject),
	plain("allocations per broadcast delivery", "broadcast/1 outstanding", allocs, 0, ""),
	plain("allocations per ping", "ping/32 B", allocs, 0, ""),
	plain("allocations per compressed echo", "deflate/no takeover", allocs, 0, ""),
	plain("allocations, with takeover", "deflate/takeover", allocs, 0, ""),
	{work: "decode 32 B in memory", limit: 15, unit: "ns", value: func(results, string) (float64, error) { return decodeTime(32) }},
	{work: "decode 1 KiB in memory", limit: 80, unit: "ns", value: func(results, string) (float64, error) { return decodeTime(1 << 10) }},
	{work: "decode 64 KiB in memory", limit: 50, least: true, unit: "GB/s", value: decodeSpeed},
	plain("memory of an idle connection, 19 500", "idle/19 500", rss, 255, "B"),
	plain("memory of an idle connection, 100 200", "idle100k/100 200 in 6 processes", rss, 192, "B"),
	plain("memory of an idle TLS connection, after a GC", "idle/TLS, 10 000", collected, 2000, "B"),
	slower("durable writes, one writer", "durable/1 writer", 1.2, store.Bbolt).of(store.Storage),
	slower("durable writes, 256 writers", "durable/256 writers", 1.2, store.Bbolt).of(store.Storage),
	plain("start of a program to its first echo", "startup/start to first echo", started, 5, "ms"),
	plain("allocations of edgews before main", "startup/start to first echo", initialised, 0, ""),
	plain("connect, handshake, echo", "connect/connect, handshake, echo", cpu, 45, "µs"),
	floored("the same through Serve", "connect/connect, handshake, echo", 1.3, uWebSockets).of(server.EdgewsServe),
	beats("the same through Serve, beside net/http", "connect/connect, handshake, echo", 2, server.Edgews).of(server.EdgewsServe),
	plain("idle memory through Serve, 19 500", "idle/19 500", rss, 192, "B").of(server.EdgewsServe),
	plain("memory of half a request to Serve", "idle/half requests, 10 000", rss, 1000, "B").of(server.EdgewsServe),
	floored("broadcast to 1 000, a delivery", "broadcast/1 outstanding", 1, server.EpollFloor),
	floored("the same", "broadcast/1 outstanding", 1, uWebSockets),
	floored("the same, where the kernel allows io_uring", "broadcast/1 outstanding", 0.85, uWebSockets),
	floored("broadcast, 8 outstanding", "broadcast/8 outstanding", 0.26, server.EpollFloor),
	plain("compressed echo 1 KiB", "deflate/no takeover", cpu, 20, "µs"),
	plain("compressed, payload", "deflate/no takeover", out, 520, "B"),
	plain("compressed, kept after a GC", "idle/deflate, 1 000", collected, 300, "B"),
	plain("compressed echo, takeover", "deflate/takeover", cpu, 18, "µs"),
	plain("takeover, payload", "deflate/takeover", out, 290, "B"),
	plain("takeover, level 6, payload", "deflate/takeover, level 6", out, 225, "B"),
	plain("takeover, kept after a GC", "idle/takeover, 1 000", collected, 24_000, "B"),
	beats("proxied echo 128 B, beside other proxies", "proxy/128 B", 1, otherProxies...).of(server.EdgewsProxy),
	beats("proxied echo 64 KiB, beside other proxies", "proxy/64 KiB", 1, otherProxies...).of(server.EdgewsProxy),
	plain("memory of an idle proxied connection", "proxy/5 000 idle", rss, 400, "B").of(server.EdgewsProxy),
	beats("echo 128 B, beside workerd", "echo/128 B", 5, "workerd"),
	beats("16 outstanding, beside workerd", "pipeline/128 B", 60, "workerd"),
	lighter("idle memory, beside workerd", "idle/19 500", 300, "workerd"),
}

// otherProxies are those that the proxy of edgews should not need more CPU time than.
var otherProxies = []string{"ReverseProxy", "gorilla relay", "nginx", "nginx tuned", "haproxy", "haproxy tuned"}

// of returns the same goal for the figure of another server or of a proxy.
func (g goal) of(server string) goal {
	g.server = server
	return g
}

func (g goal) measured() string { return cmp.Or(g.server, server.Edgews) }

// plain is a goal for a figure itself.
func plain(work, cell string, f figure, limit float64, unit string) goal {
	return goal{work: work, limit: limit, unit: unit, cell: cell, value: func(r results, server string) (float64, error) {
		return r.median(visit{cell, server}, f), nil
	}}
}

// floored is a goal for the CPU time relative to that of a floor.
func floored(work, cell string, limit float64, floor string) goal {
	return within(work, cell, cpu, limit, floor)
}

// slower is the same for the time from one durable write to the next.
func slower(work, cell string, limit float64, floor string) goal {
	return within(work, cell, stored, limit, floor)
}

func within(work, cell string, f figure, limit float64, floor string) goal {
	return goal{work: work, limit: limit, unit: "× " + floor, cell: cell, peers: []string{floor}, value: func(r results, server string) (float64, error) {
		return r.over(visit{cell, server}, visit{cell, floor}, f), nil
	}}
}

// scaled is a goal for the CPU time in a cell relative to that in another one.
func scaled(work, cell, base string, limit float64) goal {
	return goal{work: work, limit: limit, unit: "× with 1", cell: cell, base: base, value: func(r results, server string) (float64, error) {
		return r.over(visit{cell, server}, visit{base, server}, cpu), nil
	}}
}

// beats is a goal for the CPU time of the best of some peers, relative to that of edgews.
func beats(work, cell string, limit float64, peers ...string) goal {
	return beside(work, cell, cpu, limit, peers...)
}

// lighter is the same for memory.
func lighter(work, cell string, limit float64, peers ...string) goal {
	return beside(work, cell, rss, limit, peers...)
}

func beside(work, cell string, f figure, limit float64, peers ...string) goal {
	return goal{work: work, limit: limit, least: true, unit: "× less", cell: cell, peers: peers, value: func(r results, server string) (float64, error) {
		least := math.Inf(1)
		for _, p := range peers {
			least = min(least, r.over(visit{cell, p}, visit{cell, server}, f))
		}
		return least, nil
	}}
}

func decodeSpeed(results, string) (float64, error) {
	const size = 64 << 10
	ns, err := decodeTime(size)
	return size / ns, err
}

// goalCells returns the names of the cells that the goals need.
func goalCells() []string {
	var names []string
	for _, g := range goals {
		for _, name := range []string{g.cell, g.base} {
			if name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// goalNeeds reports whether a goal needs that server in that cell.
func goalNeeds(c Cell, s subject) bool {
	return slices.ContainsFunc(goals, func(g goal) bool {
		return (g.cell == c.String() || g.base == c.String()) && (g.measured() == s.Name || slices.Contains(g.peers, s.Name))
	})
}

func writeGoals(w io.Writer, b *bench) {
	fmt.Fprintln(w, "\n| work | goal | measured | |\n|---|---:|---:|---|")
	for _, g := range goals {
		x, err := g.value(b.results, g.measured())
		if err != nil {
			b.note(fmt.Sprintf("%s: %v.", g.work, err))
			x = math.NaN()
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", g.work, g.limitText(), shortest(x), g.verdict(x))
	}
}

func (g goal) limitText() string {
	sign := "≤"
	if g.least {
		sign = "≥"
	}
	text := sign + " " + shortest(g.limit)
	if g.unit != "" {
		text += " " + g.unit
	}
	return text
}

// verdict compares the value that is printed with the limit.
func (g goal) verdict(x float64) string {
	switch {
	case math.IsNaN(x):
		return "not measured"
	case g.least && x >= g.limit, !g.least && x <= max(g.limit, nothing):
		return "met"
	}
	return "not met"
}

// shortest formats x with about three significant digits.
func shortest(x float64) string {
	switch {
	case math.IsNaN(x):
		return missing
	case x < 10:
		return fmt.Sprintf("%.2f", x)
	case x < 100:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.0f", x)
}
