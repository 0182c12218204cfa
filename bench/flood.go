//go:build linux

package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"time"

	"github.com/edgews/edgews/bench/internal/load"
	"github.com/edgews/edgews/bench/internal/server"
)

// probePeriod is the time between two echoes on the quiet connection, unless the first takes longer.
const probePeriod = 10 * time.Millisecond

// quietSize is the size of the quiet connection's messages in bytes.
const quietSize = 128

// flood measures the latency of a quiet connection while other connections keep the server busy. The other connections
// belong to a process of their own: a load generator that writes to them would itself delay the quiet connection.
func (b *bench) flood(ctx context.Context, c Cell, s subject) (sample, error) {
	p, err := startServer(ctx, []int{b.serverCore}, s, server.Config{Peer: s.Name, Work: c.work(), Deflate: c.Deflate})
	if err != nil {
		return nil, err
	}
	defer p.kill()
	conns, err := load.Open(load.Target{Addr: p.addr}, 1)
	if err != nil {
		return nil, err
	}
	defer conns.Close()
	quiet, err := load.NewEngine(conns, load.Texts(quietSize), false)
	if err != nil {
		return nil, err
	}
	defer quiet.Close()
	if c.Conns == 0 {
		return b.probe(c, p, quiet)
	}
	busy, err := b.startFlood(ctx, c, p)
	if err != nil {
		return nil, err
	}
	defer busy.kill()
	result, err := b.probe(c, p, quiet)
	if err != nil {
		return nil, err
	}
	if err := busy.end(); err != nil {
		return nil, fmt.Errorf("the flood ended early: %w", err)
	}
	return result, nil
}

// startFlood starts the process that keeps a server busy, and waits until its connections are open.
func (b *bench) startFlood(ctx context.Context, c Cell, p *child) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := load.Flood{Target: load.Target{Addr: p.addr, Offer: c.offer()}, Conns: c.Conns, Content: c.Content}
	cmd := exec.Command(self, append([]string{"flood"}, f.Args()...)...)
	cmd.Stderr = os.Stderr
	busy, err := start(ctx, []int{b.loadCore}, cmd)
	if err != nil {
		return nil, err
	}
	if line, err := busy.line(); line != "ready" {
		busy.kill()
		return nil, fmt.Errorf("opening %d connections for a flood failed: %w", c.Conns, err)
	}
	return busy, nil
}

// probe measures the quiet connection after a third of the time has passed unmeasured.
func (b *bench) probe(c Cell, p *child, quiet *load.Engine) (sample, error) {
	length := max(b.length, c.AtLeast)
	if _, err := quiet.Probe(probePeriod, length/3); err != nil {
		return nil, err
	}
	before, err := p.stats()
	if err != nil {
		return nil, err
	}
	r, err := quiet.Probe(probePeriod, length)
	if err != nil {
		return nil, err
	}
	after, err := p.stats()
	if err != nil {
		return nil, err
	}
	result := sample{
		p50:     micros(r.Latency.Quantile(0.50)),
		p99:     micros(r.Latency.Quantile(0.99)),
		slowest: micros(r.Latency.Quantile(1)),
	}
	if c.Conns > 0 {
		result[flooded] = float64(after.Messages-before.Messages) / (after.At - before.At).Seconds()
	}
	return result, nil
}

// work returns what the server does with the messages of a flood.
func (c Cell) work() server.Work {
	if c.Kind == blockers {
		return server.Block
	}
	return server.Count
}

// quietLatency shows the latency of a quiet connection and the messages per second of the others.
func quietLatency(r results, v visit) string {
	half := r.median(v, p50)
	if math.IsNaN(half) {
		return missing
	}
	text := digits(half/1000) + " / " + digits(r.median(v, p99)/1000) + " / " + digits(r.median(v, slowest)/1000)
	if n := r.median(v, flooded); !math.IsNaN(n) {
		text += "; " + digits(n)
	}
	return text
}
