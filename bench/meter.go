//go:build linux

package main

import (
	"time"

	"github.com/edgews/edgews/bench/internal/load"
	"github.com/edgews/edgews/bench/internal/proc"
)

// meter measures a server's process between two moments.
type meter struct {
	child        *child
	core         int
	countsAllocs bool // the process can report its allocations

	from, to    reading
	statsAllocs uint64 // allocations of one "stats" command
	allocs      uint64 // at the begin; after end, of the measured time
}

// reading has the counters of the kernel at one moment.
type reading struct {
	at        time.Time
	cpu, busy time.Duration // of the process, and of all processes on its core
	switches  int64
}

func (m *meter) read() (r reading, err error) {
	r.at = time.Now()
	if r.cpu, err = proc.CPU(m.child.pid()); err != nil {
		return r, err
	}
	if r.switches, err = proc.Switches(m.child.pid()); err != nil {
		return r, err
	}
	r.busy, err = proc.Busy(m.core)
	return r, err
}

// begin asks for the allocations before it reads the counters, and end after, so that they do not include the "stats" commands.
func (m *meter) begin() (err error) {
	if m.countsAllocs {
		if err := m.begunAllocs(); err != nil {
			return err
		}
	}
	m.from, err = m.read()
	return err
}

func (m *meter) begunAllocs() error {
	var n [3]uint64 // the first one is not used
	for i := range n {
		s, err := m.child.stats()
		if err != nil {
			return err
		}
		n[i] = s.Mallocs
	}
	m.statsAllocs, m.allocs = n[2]-n[1], n[2]
	return nil
}

func (m *meter) end() (err error) {
	if m.to, err = m.read(); err != nil || !m.countsAllocs {
		return err
	}
	s, err := m.child.stats()
	m.allocs = s.Mallocs - m.allocs - m.statsAllocs
	return err
}

// othersShare returns the share of the core that other processes used.
func (m *meter) othersShare() float64 {
	others := m.to.busy - m.from.busy - (m.to.cpu - m.from.cpu)
	return min(max(0, float64(others)/float64(m.to.at.Sub(m.from.at))), 1) // the kernel counts hundredths of a second
}

// sample divides the counters by the number of answered messages.
func (m *meter) sample(r load.Report) sample {
	n := float64(r.Messages)
	s := sample{
		cpu:      micros(m.to.cpu-m.from.cpu) / n,
		switches: float64(m.to.switches-m.from.switches) / n,
		out:      float64(r.Payload) / n,
		p50:      micros(r.Latency.Quantile(0.50)),
		p99:      micros(r.Latency.Quantile(0.99)),
	}
	if m.countsAllocs {
		s[allocs] = max(0, float64(int64(m.allocs))/n)
	}
	return s
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
