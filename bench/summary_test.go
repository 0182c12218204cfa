//go:build linux

package main

import (
	"strings"
	"testing"

	"github.com/edgews/edgews/bench/internal/server"
)

func TestSummary(t *testing.T) {
	b := &bench{
		subjects: []subject{
			{Peer: server.Peer{Name: server.Edgews}}, {Peer: server.Peer{Name: "gws"}}, {Peer: server.Peer{Name: "gobwas tuned"}},
			{Peer: server.Peer{Name: server.GoFloor, Raw: true}},
		},
		results: results{
			{"echo/32 B", server.GoFloor}:  {{cpu: 2}},
			{"echo/32 B", server.Edgews}:   {{cpu: 3}},
			{"echo/32 B", "gws"}:           {{cpu: 3.1}},
			{"idle/10 000", server.Edgews}: {{rss: 180}},
			{"idle/10 000", "gws"}:         {{rss: 13_700}},
		},
		failed: map[visit]bool{{"echo/32 B", "gobwas tuned"}: true},
	}
	var out strings.Builder
	summary{"Work", []row{
		{label: "echo", cell: "echo/32 B"},
		{"idle, KB", "idle/10 000", rss, 1000},
	}}.write(&out, b)
	const want = `
| Work | edgews | gws | gobwas | floor |
|---|---:|---:|---:|---:|
| echo | **3.0** (1.50) | **3.1** | failed | 2.0 |
| idle, KB | **0.18** | 14 | – | – |
`
	if out.String() != want {
		t.Errorf("summary is:\n%s", out.String())
	}
}

func TestGoals(t *testing.T) {
	r := results{
		{"echo/32 B", server.GoFloor}: {{cpu: 4}},
		{"echo/32 B", server.Edgews}:  {{cpu: 3, allocs: 0.001}},
		{"echo/32 B", "gws"}:          {{cpu: 9}},
		{"echo/32 B", "coder"}:        {{cpu: 6}},
	}
	for _, c := range []struct {
		goal    goal
		value   string
		verdict string
	}{
		{floored("", "echo/32 B", 0.8, server.GoFloor), "0.75", "met"},
		{floored("", "echo/32 B", 0.7, server.GoFloor), "0.75", "not met"},
		{floored("", "echo/1 KiB", 0.7, server.GoFloor), missing, "not measured"},
		{plain("", "echo/32 B", allocs, 0, ""), "0.00", "met"},
		{beats("", "echo/32 B", 2, "gws", "coder"), "2.00", "met"},
		{beats("", "echo/32 B", 2.5, "gws", "coder"), "2.00", "not met"},
		{beats("", "echo/32 B", 1.4, "gws").of("coder"), "1.50", "met"},
		{beats("", "echo/32 B", 2, "gws", "workerd"), missing, "not measured"},
	} {
		x, err := c.goal.value(r, c.goal.measured())
		if got := shortest(x); err != nil || got != c.value || c.goal.verdict(x) != c.verdict {
			t.Errorf("%s: %s, %s, %v; want %s, %s", c.goal.limitText(), got, c.goal.verdict(x), err, c.value, c.verdict)
		}
	}
}
