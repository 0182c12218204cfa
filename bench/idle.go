//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/edgews/edgews/bench/internal/load"
	"github.com/edgews/edgews/bench/internal/proc"
	"github.com/edgews/edgews/bench/internal/server"
)

// Before the memory of an empty server is read, warmConns connections are opened and closed, warmRounds times. Then the code is in
// memory, and so is what a process allocates once: Go collects no garbage before the heap has 4 MiB, and never returns the collector's
// own memory. None of that is a cost of connections.
const (
	warmConns  = 16
	warmRounds = 64
)

// idle measures the memory of connections without traffic: the resident memory of a server with them, less that of the same process
// without.
func (b *bench) idle(ctx context.Context, c Cell, s subject) (sample, error) {
	c.Conns = b.connsFor(c, s)
	var grown, kept int64
	var used float64
	for range c.Processes {
		i := &idleRun{ctx: ctx, bench: b, cell: c, subject: s}
		err := i.fill()
		defer i.end()
		if err != nil {
			return nil, err
		}
		grown += i.grown
		kept += i.grownAfterGC
		used += i.used
	}
	n := float64(c.Conns * c.Processes)
	result := sample{rss: float64(grown) / n, asleep: 100 * used}
	if s.controllable {
		result[collected] = float64(kept) / n
	}
	return result, nil
}

// idleRun is one server and the process that has its connections.
type idleRun struct {
	ctx     context.Context
	bench   *bench
	cell    Cell
	subject subject

	server, holder      *child
	grown, grownAfterGC int64   // bytes; grownAfterGC compares the memory after two garbage collections
	used                float64 // CPU time of the idle server, as a share of a core
}

func (i *idleRun) fill() (err error) {
	i.server, err = i.bench.startFor(i.ctx, i.cell, i.subject, server.Config{
		Peer: i.subject.Name, TLS: i.cell.TLS, Deflate: i.cell.Deflate, Level: i.cell.Level,
	})
	if err != nil {
		return err
	}
	warm, err := i.startHolder(load.Hold{Conns: warmConns, Rounds: warmRounds})
	if err != nil {
		return err
	}
	if err := warm.end(); err != nil {
		return err
	}
	empty, err := i.rss()
	if err != nil {
		return err
	}
	cleared, err := i.collect()
	if err != nil {
		return err
	}
	if i.holder, err = i.startHolder(load.Hold{Conns: i.cell.Conns, Rounds: 1, Target: load.Target{Half: i.cell.Half}}); err != nil {
		return err
	}
	if err := i.caughtUp(); err != nil {
		return err
	}
	full, err := i.rss()
	if err != nil {
		return err
	}
	i.grown = full - empty
	if err := i.watch(); err != nil {
		return err
	}
	left, err := i.collect()
	i.grownAfterGC = left - cleared
	return err
}

// watch measures the CPU time of the idle server.
func (i *idleRun) watch() error {
	before, err := proc.CPU(i.server.pid())
	if err != nil {
		return err
	}
	begin := time.Now()
	time.Sleep(i.bench.length)
	after, err := proc.CPU(i.server.pid())
	i.used = float64(after-before) / float64(time.Since(begin))
	return err
}

// caughtUp waits until the server has read what was sent to it, if it does not answer: until it uses hardly any CPU time.
func (i *idleRun) caughtUp() error {
	const hardly = 50 // a 50th of a core
	for i.cell.Half {
		before, err := proc.CPU(i.server.pid())
		if err != nil {
			return err
		}
		time.Sleep(i.bench.settle)
		after, err := proc.CPU(i.server.pid())
		if err != nil || after-before < i.bench.settle/hardly {
			return err
		}
	}
	return nil
}

// collect returns the resident memory after a garbage collection, or 0 if the server does not accept commands.
func (i *idleRun) collect() (int64, error) {
	if !i.subject.controllable {
		return 0, nil
	}
	if _, err := i.server.control("gc"); err != nil {
		return 0, err
	}
	return i.rss()
}

func (i *idleRun) rss() (int64, error) {
	time.Sleep(i.bench.settle)
	return proc.RSS(i.server.pid())
}

// startHolder starts a process that opens connections as h says and sends the cell's messages on them.
func (i *idleRun) startHolder(h load.Hold) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	h.Target.Addr, h.Target.Raw, h.Target.Offer = i.server.addr, i.subject.Raw, i.cell.offer()
	h.TLS = i.cell.TLS
	h.Messages = max(i.cell.Messages, 1)
	h.Deflated = i.cell.Deflate != server.Plain
	h.Takeover = i.cell.Deflate == server.Takeover
	cmd := exec.Command(self, append([]string{"hold"}, h.Args()...)...)
	cmd.Stderr = os.Stderr
	p, err := start(i.ctx, []int{i.bench.loadCore}, cmd)
	if err != nil {
		return nil, err
	}
	if line, err := p.line(); line != "ready" {
		p.kill()
		return nil, fmt.Errorf("holding %d connections failed: %w", h.Conns, err)
	}
	return p, nil
}

func (i *idleRun) end() {
	for _, p := range []*child{i.holder, i.server} {
		if p != nil {
			p.kill()
		}
	}
}
