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

// warmConns connections at a time, and that warmTurns times, come and go before a server counts as empty. By then the code that
// serves them is in memory, and so is what a process fills once: a heap is not collected before it has 4 MiB in Go, and its
// books are kept for ever. None of that is the cost of a connection.
const (
	warmConns = 16
	warmTurns = 64
)

// idle measures what connections cost that say nothing: the resident memory of a server with them, less that of the same
// process before.
func (b *bench) idle(ctx context.Context, c Cell, s subject) (sample, error) {
	c.Conns = b.affordable(c, s)
	var grown, kept int64
	var used float64
	for range c.Processes {
		i := &idler{ctx: ctx, bench: b, cell: c, subject: s}
		err := i.fill()
		defer i.end()
		if err != nil {
			return nil, err
		}
		grown += i.grown
		kept += i.kept
		used += i.used
	}
	n := float64(c.Conns * c.Processes)
	result := sample{rss: float64(grown) / n, asleep: 100 * used}
	if s.orders {
		result[collected] = float64(kept) / n
	}
	return result, nil
}

// idler is one server and the process that holds its connections.
type idler struct {
	ctx     context.Context
	bench   *bench
	cell    Cell
	subject subject

	server, holder *child
	grown, kept    int64   // bytes; kept compares what two garbage collections leave
	used           float64 // of a core, while nothing happens
}

func (i *idler) fill() (err error) {
	i.server, err = startServer(i.ctx, i.bench.serverCore, i.subject, server.Config{
		Peer: i.subject.Name, TLS: i.cell.TLS, Deflate: i.cell.Deflate, Level: i.cell.Level,
	})
	if err != nil {
		return err
	}
	warm, err := i.hold(warmConns, warmTurns)
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
	if i.holder, err = i.hold(i.cell.Conns, 1); err != nil {
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
	i.kept = left - cleared
	return err
}

// watch measures what the server uses while nothing happens.
func (i *idler) watch() error {
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

// collect returns the resident memory after a garbage collection, if the server can be asked for one.
func (i *idler) collect() (int64, error) {
	if !i.subject.orders {
		return 0, nil
	}
	if _, err := i.server.order("gc"); err != nil {
		return 0, err
	}
	return i.rss()
}

func (i *idler) rss() (int64, error) {
	time.Sleep(i.bench.settle)
	return proc.RSS(i.server.pid())
}

// hold starts a process with n connections that have had their messages. Before them it has as many come and go, until it is
// the last of its turns.
func (i *idler) hold(n, turns int) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	h := load.Hold{
		Target:   load.Target{Addr: i.server.addr, Raw: i.subject.Raw, Offer: i.cell.offer()},
		Conns:    n,
		TLS:      i.cell.TLS,
		Turns:    turns,
		Messages: i.cell.Messages,
		Deflated: i.cell.Deflate != server.Plain,
		Takeover: i.cell.Deflate == server.Takeover,
	}
	cmd := exec.Command(self, append([]string{"hold"}, h.Args()...)...)
	cmd.Stderr = os.Stderr
	p, err := start(i.ctx, i.bench.loadCore, cmd)
	if err != nil {
		return nil, err
	}
	if line, err := p.line(); line != "ready" {
		p.kill()
		return nil, fmt.Errorf("holding %d connections failed: %w", n, err)
	}
	return p, nil
}

func (i *idler) end() {
	for _, p := range []*child{i.holder, i.server} {
		if p != nil {
			p.kill()
		}
	}
}
