//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/edgews/edgews/bench/internal/server"
)

// table shows figures of groups of cells: one row for each server, one column for each cell.
type table struct {
	title  string
	groups string // of cells, comma-separated
	format func(r results, v visit) string
}

var tables = []table{
	{"Echo, CPU µs per message (× Go floor)", "echo", cpuRatio},
	{"Pings, CPU µs each (× Go floor)", "ping", cpuRatio},
	{"Echo with 16 messages outstanding on each of 64 connections, CPU µs per message (× Go floor)", "pipeline", cpuRatio},
	{"Messages at a fixed rate over 100 connections, CPU µs per message (× Go floor)", "rate", cpuRatio},
	{"Echo on all cores, with a GOMAXPROCS, CPU µs per message", "processors", one(cpu, "%.2f")},
	{"An HTTP request that collects garbage, while 5 000 messages per second go through, ms: p50 / slowest", "collect", request},
	{"Broadcast of 128 B to 1 000 connections, CPU µs per delivery (× Go floor)", "broadcast", cpuRatio},
	{"Compressed echo of 1 KiB JSON, CPU µs per message; payload bytes out", "deflate", cpuOut},
	{"Connections opened, with one echo each, CPU µs (× Go floor)", "connect", cpuRatio},
	{"A quiet connection beside 100 that send as fast as the server reads, ms: p50 / p99 / slowest; messages/s of the 100", "flood", quietLatency},
	{"A quiet connection beside 500 whose handlers sleep, ms: p50 / p99 / slowest; messages/s of the 500", "blockers", quietLatency},
	{"Through a proxy, its CPU µs per message (× edgews proxy); MB per CPU second. Idle: resident bytes each; after a garbage collection", "proxy", proxied},
	{"Idle connections, resident bytes each; after a garbage collection", "idle,idle100k", memory},
	{"A server or proxy with idle connections, % of a core", "idle,idle100k,proxy", one(asleep, "%.2f")},
	{"User instructions per 128 B echo, 64 connections; for a connection with one echo (callgrind)", "instructions", one(instr, "%.0f")},
	{"Writes of 128 B that return when they are on the disk, µs from one to the next; CPU µs", "durable", storeTimes},
	{"A small program, ms from its start to its first echo; objects that the packages of edgews allocate before main", "startup", startTimes},
	{"Allocations per message", "echo,ping,pipeline,broadcast,deflate,connect,proxy", one(allocs, "%.1f")},
	{"Latency p50 / p99, µs", "echo,pipeline,rate,collect,broadcast,connect,proxy", latency},
	{"Context switches per message", "echo,pipeline,rate,processors,proxy", one(switches, "%.2f")},
	{"System calls per message, without those of the scheduler (strace)", "echo,pipeline,rate,processors,broadcast,connect,proxy", one(calls, "%.2f")},
}

// missing is printed for a figure that was not measured.
const missing = "–"

// shown returns the text for a figure, or "failed" if the server failed.
func (b *bench) shown(v visit, text string) string {
	if text == missing && b.failed[v] {
		return "failed"
	}
	return text
}

func writeTables(w io.Writer, b *bench) {
	for _, t := range tables {
		t.write(w, b)
	}
}

func one(f figure, format string) func(results, visit) string {
	return func(r results, v visit) string { return number(format, r.median(v, f)) }
}

func cpuRatio(r results, v visit) string {
	x := number("%.2f", r.median(v, cpu))
	if rel := r.over(v, visit{v.cell, server.GoFloor}, cpu); !math.IsNaN(rel) {
		x += fmt.Sprintf(" (%.2f)", rel)
	}
	return x
}

func cpuOut(r results, v visit) string {
	x := number("%.1f", r.median(v, cpu))
	if bytes := r.median(v, out); !math.IsNaN(bytes) {
		x += fmt.Sprintf("; %.0f", bytes)
	}
	return x
}

func memory(r results, v visit) string { return pair(r, v, "%.0f", rss, collected, "; ") }

func latency(r results, v visit) string { return pair(r, v, "%.0f", p50, p99, " / ") }

func request(r results, v visit) string { return pair(r, v, "%.1f", requestP50, requestMax, " / ") }

func pair(r results, v visit, format string, first, second figure, between string) string {
	a := r.median(v, first)
	if math.IsNaN(a) {
		return missing
	}
	return number(format, a) + between + number(format, r.median(v, second))
}

func number(format string, x float64) string {
	if math.IsNaN(x) {
		return missing
	}
	return fmt.Sprintf(format, x)
}

// write prints the table in Markdown, without columns and rows that have no figures. It prints nothing if there are no figures at all.
func (t table) write(w io.Writer, b *bench) {
	cells := slices.DeleteFunc(slices.Clone(selected(b.cells, t.groups)), func(c Cell) bool { return !t.filled(b, c) })
	var rows []string
	for _, s := range b.subjects {
		row, any := t.row(b, cells, s)
		if any {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(w, "\n### %s\n\n| server |", t.title)
	for _, c := range cells {
		fmt.Fprintf(w, " %s |", t.heading(c))
	}
	fmt.Fprintf(w, "\n|---|%s\n%s\n", strings.Repeat("---:|", len(cells)), strings.Join(rows, "\n"))
}

// filled reports whether a cell has a figure in the table, or a server that failed. In a table of several groups, failures do not count:
// such a table may not be meant for the cell.
func (t table) filled(b *bench, c Cell) bool {
	return slices.ContainsFunc(b.subjects, func(s subject) bool {
		return t.format(b.results, at(c, s)) != missing || b.failed[at(c, s)] && !strings.Contains(t.groups, ",")
	})
}

func (t table) text(b *bench, c Cell, s subject) string {
	return b.shown(at(c, s), t.format(b.results, at(c, s)))
}

// heading returns the cell's name, with its group if the table has several groups.
func (t table) heading(c Cell) string {
	if !strings.Contains(t.groups, ",") || c.Group == "echo" || c.Kind == idle || c.Kind == connect {
		return c.Name
	}
	return c.Group + " " + c.Name
}

func (t table) row(b *bench, cells []Cell, s subject) (row string, any bool) {
	name := s.Name
	if name == server.Edgews || name == server.EdgewsProxy {
		name = "**" + name + "**"
	}
	row = "| " + name + " |"
	for _, c := range cells {
		x := t.text(b, c, s)
		any = any || x != missing
		row += " " + x + " |"
	}
	return row, any
}
