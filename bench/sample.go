//go:build linux

package main

import (
	"math"
	"slices"
)

// figure is a measured quantity.
type figure uint8

const (
	cpu         figure = iota // µs of the server's process per message, user and system
	allocs                    // per message
	p50                       // µs
	p99                       // µs
	switches                  // context switches per message
	calls                     // system calls per message
	out                       // payload bytes per message on the wire
	rss                       // bytes per connection
	collected                 // bytes per connection after a garbage collection
	asleep                    // % of a core that a server with idle connections uses
	instr                     // user instructions per message
	requestP50                // ms of an HTTP request that collects garbage
	slowest                   // µs, of all latencies
	flooded                   // messages per second of a flood that the server has handled
	requestMax                // ms, the slowest of them
	carried                   // payload bytes in both directions per µs of CPU time of a proxy
	stored                    // µs between two durable writes, of all writers together
	started                   // ms from the start of a program to its first echo
	initialised               // objects that the packages of edgews allocate before main
)

// sample has the figures of one visit. A figure that was not measured is missing.
type sample map[figure]float64

// results are the samples by round. A round without a result has a nil sample, or is missing at the end.
type results map[visit][]sample

// visit is a cell and the name of a server in it.
type visit struct{ cell, subject string }

func at(c Cell, s subject) visit { return visit{c.String(), s.Name} }

func (r results) add(v visit, round int, s sample) {
	for len(r[v]) < round {
		r[v] = append(r[v], nil)
	}
	r[v] = append(r[v], s)
}

// median returns the median over rounds of a figure, NaN if there is none.
func (r results) median(v visit, f figure) float64 {
	var all []float64
	for _, s := range r[v] {
		if x, ok := s[f]; ok {
			all = append(all, x)
		}
	}
	return median(all)
}

// over returns the median ratio of a figure of two visits. Each ratio is taken within a round, since a disturbance then affects both
// visits.
func (r results) over(v, base visit, f figure) float64 {
	var all []float64
	for i := range min(len(r[v]), len(r[base])) {
		x, ok := r[v][i][f]
		y, both := r[base][i][f]
		if ok && both && y > 0 {
			all = append(all, x/y)
		}
	}
	return median(all)
}

func median(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	slices.Sort(x)
	half := len(x) / 2
	if len(x)%2 == 1 {
		return x[half]
	}
	return (x[half-1] + x[half]) / 2
}
