//go:build linux

package main

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/edgews/edgews/bench/internal/server"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.of); got != c.want {
			t.Errorf("median is %v, not %v", got, c.want)
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("there is a median of nothing")
	}
}

// Ratios are taken within a round: the result is the median of 2, 2 and 0.5. A round in which one of the two is missing does not count.
func TestRatiosAreTakenWithinARound(t *testing.T) {
	r := results{}
	floor, other := visit{"echo/32 B", server.GoFloor}, visit{"echo/32 B", "edgews"}
	for round, times := range [][2]float64{{1, 2}, {0, 7}, {10, 20}, {40, 20}, {3, 0}} {
		if times[0] > 0 {
			r.add(floor, round, sample{cpu: times[0]})
		}
		if times[1] > 0 {
			r.add(other, round, sample{cpu: times[1]})
		}
	}
	if got := r.over(other, floor, cpu); got != 2 {
		t.Errorf("ratio is %v, not 2", got)
	}
	if got := r.over(other, floor, rss); !math.IsNaN(got) {
		t.Errorf("ratio of what was not measured is %v", got)
	}
}

func TestTableHasOneRowForEachServer(t *testing.T) {
	b := &bench{
		subjects: []subject{{Peer: server.Peer{Name: "edgews"}}, {Peer: server.Peer{Name: "gws"}}, {Peer: server.Peer{Name: "idle one"}}},
		cells:    []Cell{{Group: "echo", Name: "32 B"}, {Group: "echo", Name: "1 KiB"}, {Group: "rate", Name: "5 000/s"}},
		results: results{
			{"echo/32 B", server.GoFloor}: {{cpu: 4}},
			{"echo/32 B", server.Edgews}:  {{cpu: 3}},
			{"echo/1 KiB", "gws"}:         {{cpu: 4}},
		},
		failed: map[visit]bool{{"echo/32 B", "gws"}: true},
	}
	var out strings.Builder
	table{"Echo", "echo", cpuRatio}.write(&out, b)
	const want = `
### Echo

| server | 32 B | 1 KiB |
|---|---:|---:|
| **edgews** | 3.00 (0.75) | – |
| gws | failed | 4.00 |
`
	if out.String() != want {
		t.Errorf("table is:\n%s", out.String())
	}
	out.Reset()
	b.results[visit{"rate/5 000/s", "gws"}] = []sample{{allocs: 2}}
	b.failed[visit{"rate/5 000/s", "idle one"}] = true
	table{"Allocations", "echo,rate", one(allocs, "%.1f")}.write(&out, b)
	const rest = `
### Allocations

| server | rate 5 000/s |
|---|---:|
| gws | 2.0 |
| idle one | failed |
`
	if out.String() != rest {
		t.Errorf("the table of those with a figure is:\n%s", out.String())
	}
	out.Reset()
	delete(b.failed, visit{"rate/5 000/s", "idle one"})
	table{"Rate", "rate", cpuRatio}.write(&out, b)
	if out.String() != "" {
		t.Errorf("a table without figures:\n%s", out.String())
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		args   string
		rounds int
		length time.Duration
		cells  int
	}{
		{"", 5, time.Second, len(everything())},
		{"-quick", 1, 200 * time.Millisecond, 14},
		{"-rounds=3 -quick -time=1s", 3, time.Second, 14},
		{"-readme", 3, 400 * time.Millisecond, len(summarized())},
		{"-goals -rounds 1", 1, 500 * time.Millisecond, len(goalCells())},
		{"-cells=rate,broadcast", 5, time.Second, 4},
		{"-cells=proxy -other=mine,127.0.0.1:1,true", 5, time.Second, 3},
	} {
		b, err := parse(strings.Fields(c.args))
		if err != nil {
			t.Fatal(err)
		}
		if b.rounds != c.rounds || b.length != c.length || len(b.cells) != c.cells {
			t.Errorf("%q: %d rounds of %v, %d cells", c.args, b.rounds, b.length, len(b.cells))
		}
	}
	for _, args := range []string{"-cells=none", "-servers=none", "-update=none", "none", "-other=mine,127.0.0.1:1", "-other=gws,127.0.0.1:1,true", "-uwebsockets=none"} {
		if _, err := parse([]string{args}); err == nil {
			t.Errorf("%s: no error", args)
		}
	}
}

func TestCommandLineIsQuoted(t *testing.T) {
	if got := quoted([]string{"a", "b c", "it's"}); got != `a 'b c' 'it'\''s'` {
		t.Error(got)
	}
}

func TestServersKeepTheOrderOfTheFlag(t *testing.T) {
	b, err := parse([]string{"-servers=gws,Go floor,edgews"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range b.subjects {
		names = append(names, s.Name)
	}
	if got := strings.Join(names, ","); got != "gws,Go floor,edgews" {
		t.Error(got)
	}
}

// Without a list of servers, those are chosen that the cells measure, and the notes are about no others.
func TestServersAreThoseOfTheCells(t *testing.T) {
	for cells, proxies := range map[string]bool{"proxy": true, "echo": false} {
		b, err := parse([]string{"-cells", cells})
		if err != nil || len(b.subjects) == 0 {
			t.Fatal(err, "no servers")
		}
		for _, s := range b.subjects {
			if s.Proxy != proxies {
				t.Errorf("%s is measured with -cells %s", s.Name, cells)
			}
		}
		if notes := strings.Join(b.notes, ""); !proxies && strings.Contains(notes, "haproxy") || proxies && strings.Contains(notes, "workerd") {
			t.Errorf("-cells %s has the notes %q", cells, notes)
		}
	}
}

func TestWrappedTextKeepsItsWords(t *testing.T) {
	text := strings.Repeat("word µs ", 50) + strings.Repeat("x", 2*width) + " end"
	got := wrapped(text)
	for line := range strings.Lines(got) {
		if n := utf8.RuneCountInString(line); n > width+1 && strings.Contains(line, " ") {
			t.Errorf("a line of %d", n)
		}
	}
	if strings.Join(strings.Fields(got), " ") != text {
		t.Errorf("%q", got)
	}
}
