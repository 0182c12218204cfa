//go:build linux

package main

import (
	"math"
	"strings"
	"testing"
	"time"

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

// Ratios are taken within a round: the median of 2, 2 and 0.5 says more than that of the times.
func TestRatiosAreTakenWithinARound(t *testing.T) {
	r := results{}
	for _, times := range [][2]float64{{1, 2}, {10, 20}, {40, 20}} {
		round := map[string]sample{server.GoFloor: {cpu: times[0]}, "edgews": {cpu: times[1]}, "other": {rss: 1}}
		compare(round, server.GoFloor)
		for name, s := range round {
			v := visit{"echo/32 B", name}
			r[v] = append(r[v], s)
		}
	}
	if got := r.median(visit{"echo/32 B", "edgews"}, ratio); got != 2 {
		t.Errorf("ratio is %v, not 2", got)
	}
	if got := r.median(visit{"echo/32 B", "other"}, ratio); !math.IsNaN(got) {
		t.Errorf("ratio without a time is %v", got)
	}
}

func TestTableHasOneRowForEachServer(t *testing.T) {
	b := &bench{
		subjects: []subject{{Peer: server.Peer{Name: "edgews"}}, {Peer: server.Peer{Name: "gws"}}, {Peer: server.Peer{Name: "idle one"}}},
		cells:    []Cell{{Group: "echo", Name: "32 B"}, {Group: "echo", Name: "1 KiB"}, {Group: "rate", Name: "5 000/s"}},
		results: results{
			{"echo/32 B", "edgews"}: {{cpu: 3, ratio: 0.9}},
			{"echo/1 KiB", "gws"}:   {{cpu: 4}},
		},
	}
	var out strings.Builder
	table{"Echo", "echo", cpuRatio}.write(&out, b)
	const want = `
### Echo

| server | 32 B | 1 KiB |
|---|---:|---:|
| **edgews** | 3.00 (0.90) | – |
| gws | – | 4.00 |
`
	if out.String() != want {
		t.Errorf("table is:\n%s", out.String())
	}
	out.Reset()
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
		{"", 5, time.Second, len(plan)},
		{"-quick", 1, 200 * time.Millisecond, len(quick)},
		{"-rounds=3 -quick -time=1s", 3, time.Second, len(quick)},
		{"-cells=rate,broadcast", 5, time.Second, 4},
	} {
		b, err := parse(strings.Fields(c.args))
		if err != nil {
			t.Fatal(err)
		}
		if b.rounds != c.rounds || b.length != c.length || len(b.cells) != c.cells {
			t.Errorf("%q: %d rounds of %v, %d cells", c.args, b.rounds, b.length, len(b.cells))
		}
	}
	for _, args := range []string{"-cells=none", "-servers=none"} {
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
