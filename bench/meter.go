//go:build linux

package main

import (
	"time"

	"github.com/edgews/edgews/bench/internal/load"
	"github.com/edgews/edgews/bench/internal/proc"
)

// meter watches a server's process between two moments.
type meter struct {
	child  *child
	core   int
	counts bool // the process knows how much it allocates

	from, to reading
	own      uint64 // what asking for the allocations allocates
	allocs   uint64 // before; afterwards, in between
}

// reading is what the kernel knows at one moment.
type reading struct {
	at        time.Time
	cpu, busy time.Duration // of the process; of its core
	switches  int64
}

func (m *meter) look() (r reading, err error) {
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

// begin asks for the allocations before it looks, and end after, so that the answer does not count as work.
func (m *meter) begin() (err error) {
	if m.counts {
		if err := m.begunAllocs(); err != nil {
			return err
		}
	}
	m.from, err = m.look()
	return err
}

func (m *meter) begunAllocs() error {
	var n [3]uint64 // the first warms up
	for i := range n {
		s, err := m.child.stats()
		if err != nil {
			return err
		}
		n[i] = s.Mallocs
	}
	m.own, m.allocs = n[2]-n[1], n[2]
	return nil
}

func (m *meter) end() (err error) {
	if m.to, err = m.look(); err != nil || !m.counts {
		return err
	}
	s, err := m.child.stats()
	m.allocs = s.Mallocs - m.allocs - m.own
	return err
}

// foreign returns the share of the core that other processes had.
func (m *meter) foreign() float64 {
	others := m.to.busy - m.from.busy - (m.to.cpu - m.from.cpu)
	return min(max(0, float64(others)/float64(m.to.at.Sub(m.from.at))), 1) // the kernel counts hundredths of a second
}

// sample divides what was used by the messages that came back.
func (m *meter) sample(r load.Report) sample {
	n := float64(r.Messages)
	s := sample{
		cpu:      micros(m.to.cpu-m.from.cpu) / n,
		switches: float64(m.to.switches-m.from.switches) / n,
		out:      float64(r.Payload) / n,
		p50:      micros(r.Latency.Quantile(0.50)),
		p99:      micros(r.Latency.Quantile(0.99)),
	}
	if m.counts {
		s[allocs] = max(0, float64(int64(m.allocs))/n)
	}
	return s
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
