//go:build linux

package main

import (
	"math"
	"slices"
)

// figure is something that is measured.
type figure uint8

const (
	cpu       figure = iota // µs of the server's process per message, user and system
	ratio                   // cpu over the Go floor's in the same round
	allocs                  // per message
	p50                     // µs
	p99                     // µs
	switches                // context switches per message
	calls                   // system calls per message
	out                     // payload bytes per message, as they travel
	rss                     // bytes per connection
	collected               // bytes per connection after a garbage collection
	asleep                  // % of a core that a server uses whose connections are idle
	instr                   // user instructions per message
)

// sample is what one visit to one server gave. What was not measured is missing.
type sample map[figure]float64

// results are the samples of all rounds.
type results map[visit][]sample

// visit is a cell and the name of a server in it.
type visit struct{ cell, subject string }

func at(c Cell, s subject) visit { return visit{c.Group + "/" + c.Name, s.Name} }

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

// compare adds the ratios of one round, whose samples of one cell are given.
func compare(round map[string]sample, floor string) {
	base, ok := round[floor][cpu]
	if !ok {
		return
	}
	for _, s := range round {
		if x, ok := s[cpu]; ok {
			s[ratio] = x / base
		}
	}
}
