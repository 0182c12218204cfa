//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/edgews/edgews/bench/internal/server"
)

// columns are the servers of the summary: of a library with two variants, the tuned one.
var columns = []string{
	server.Edgews, "gws", "gobwas tuned", "gorilla tuned", "coder tuned", "nbio tuned", "Node ws", "workerd", server.GoFloor,
}

// summary is a short table: loads in rows, servers in columns.
type summary struct {
	title string
	rows  []row
}

// row shows one figure of one cell.
type row struct {
	label string
	cell  string
	figure
	scale float64 // divisor of the figure; 0 means 1
}

var summaries = []summary{
	{"CPU, µs per message", []row{
		{label: "echo, 128 B", cell: "echo/128 B"},
		{label: "echo, 1 KiB", cell: "echo/1 KiB"},
		{label: "echo, 16 KiB", cell: "echo/16 KiB"},
		{label: "echo, 128 B, 5 000 sockets", cell: "echo/128 B, 5 000 conns"},
		{label: "echo, 128 B, 16 at a time", cell: "pipeline/128 B"},
		{label: "echo, 1 KiB, 16 at a time", cell: "pipeline/1 KiB"},
		{label: "5 000 echoes/s, 128 B", cell: "rate/5 000/s"},
		{label: "broadcast to 1 000", cell: "broadcast/1 outstanding"},
		{label: "broadcast, 8 at a time", cell: "broadcast/8 outstanding"},
		{label: "deflate, 1 KiB JSON", cell: "deflate/no takeover"},
		{label: "with context takeover", cell: "deflate/takeover"},
		{label: "connect and echo", cell: "connect/connect, handshake, echo"},
	}},
	{"Idle, KB per connection", []row{
		{"19 500", "idle/19 500", rss, 1000},
		{"10 000 over TLS", "idle/TLS, 10 000", rss, 1000},
		{"1 000, deflate", "idle/deflate, 1 000", rss, 1000},
		{"1 000, with takeover", "idle/takeover, 1 000", rss, 1000},
	}},
	{"Per message", []row{
		{label: "allocations, echo 128 B", cell: "echo/128 B", figure: allocs},
		{label: "bytes of 1 KiB, deflate", cell: "deflate/no takeover", figure: out},
		{label: "with context takeover", cell: "deflate/takeover", figure: out},
	}},
}

// summarized returns the names of the cells of the summaries.
func summarized() []string {
	var names []string
	for _, s := range summaries {
		for _, r := range s.rows {
			if !slices.Contains(names, r.cell) {
				names = append(names, r.cell)
			}
		}
	}
	return names
}

// tie is the ratio to the best value up to which a value counts as equally good.
const tie = 1.05

// nothing is the value below which a figure is printed as 0.
const nothing = 0.005

func writeSummary(w io.Writer, b *bench) {
	for _, s := range summaries {
		s.write(w, b)
	}
	fmt.Fprintln(w)
	fmt.Fprint(w, wrapped("**Bold**: the best, or within 5 % of it. In brackets: × the floor, a TCP echo in Go that does not parse, "+
		"with a goroutine for each connection. Libraries are as well tuned as we could; other variants, latencies, "+
		"system calls and how to read the figures are described above."))
}

func (s summary) write(w io.Writer, b *bench) {
	fmt.Fprintf(w, "\n| %s |", s.title)
	for _, subject := range b.subjects {
		fmt.Fprintf(w, " %s |", strings.TrimSuffix(strings.TrimPrefix(subject.Name, "Go "), " tuned"))
	}
	fmt.Fprintf(w, "\n|---|%s\n", strings.Repeat("---:|", len(b.subjects)))
	for _, r := range s.rows {
		r.write(w, b)
	}
}

func (r row) write(w io.Writer, b *bench) {
	fmt.Fprintf(w, "| %s |", r.label)
	best := r.best(b)
	for _, s := range b.subjects {
		x := r.value(b, s)
		text := b.shown(visit{r.cell, s.Name}, digits(x))
		if !s.Raw && x <= max(best*tie, nothing) {
			text = "**" + text + "**"
		}
		ratio := b.results.over(visit{r.cell, s.Name}, visit{r.cell, server.GoFloor}, r.figure)
		if s.Name == server.Edgews && r.figure == cpu && !math.IsNaN(ratio) {
			text += fmt.Sprintf(" (%.2f)", ratio)
		}
		fmt.Fprintf(w, " %s |", text)
	}
	fmt.Fprintln(w)
}

func (r row) value(b *bench, s subject) float64 {
	x := b.results.median(visit{r.cell, s.Name}, r.figure)
	if r.scale != 0 {
		x /= r.scale
	}
	return x
}

// best returns the smallest value of a WebSocket server.
func (r row) best(b *bench) float64 {
	best := math.Inf(1)
	for _, s := range b.subjects {
		if x := r.value(b, s); !s.Raw && x < best {
			best = x
		}
	}
	return best
}

// digits formats x with two or three significant digits, more than are accurate.
func digits(x float64) string {
	switch {
	case math.IsNaN(x):
		return missing
	case x < nothing:
		return "0"
	case x < 1:
		return strconv.FormatFloat(x, 'f', 2, 64)
	case x < 10:
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return strconv.FormatFloat(x, 'f', 0, 64)
}
