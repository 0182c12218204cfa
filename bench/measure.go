//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/edgews/edgews/bench/internal/load"
	"github.com/edgews/edgews/bench/internal/server"
)

// bench is one run of the harness.
type bench struct {
	plan       plan
	update     string // file whose section is replaced, or ""
	subjects   []subject
	others     []subject // that flags name
	cells      []Cell
	rounds     int
	length     time.Duration // measured time in a cell
	visitLimit time.Duration // for a visit, instead of the cell's limit; 0: the cell's
	settle     time.Duration // pause before the memory of a server is read
	profiles   string        // directory for CPU profiles, or ""
	syscalls   bool          // count system calls in the first round

	uWebSockets *checkout // that a flag names, or nil

	allCores             []int
	loadCore, serverCore int

	results     results
	failed      map[visit]bool
	notes       []string
	othersShare []float64 // share of the servers' core that other processes used, for each visit
}

// visit measures one server in one cell.
func (b *bench) visit(ctx context.Context, c Cell, s subject, first bool) (sample, error) {
	switch c.Kind {
	case flood, blockers:
		return b.flood(ctx, c, s)
	case idle:
		return b.idle(ctx, c, s)
	case instructions:
		return b.instructions(ctx, c, s)
	case startup:
		return b.startup(ctx)
	case durable:
		return b.durable(ctx, c, s)
	}
	c.Conns = b.connsFor(c, s)
	script := load.Echo(s.Raw, c.Size, c.Window)
	if c.Kind == ping {
		script = load.Pings(s.Raw, c.Size, c.Window)
	}
	work := server.Echo
	if c.Kind == broadcast {
		work = server.Broadcast
	}
	p, err := b.startFor(ctx, c, s, server.Config{
		Peer: s.Name, Work: work, Deflate: c.Deflate, Level: c.Level, Buffer: script.Largest(),
	})
	if err != nil {
		return nil, err
	}
	defer p.kill()
	t := load.Target{Addr: p.addr, Raw: s.Raw, Offer: c.offer()}
	if c.Kind == connect {
		return b.counted(c, s, p, first, func(d time.Duration) (load.Report, error) { return load.Churn(t, d) })
	}
	conns, err := load.Open(t, c.Conns)
	if err != nil {
		return nil, err
	}
	defer conns.Close()
	if c.Deflate != server.Plain {
		if script, err = load.ScriptFor(conns.Extensions, c.Deflate == server.Takeover); err != nil {
			return nil, err
		}
	}
	e, err := load.NewEngine(conns, script, c.Deflate == server.Takeover)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	if c.Kind == broadcast {
		time.Sleep(b.settle) // a connection may be open for the client before the server has added it to the group
	}
	if c.Kind == collect {
		return b.collect(e, c, p)
	}
	result, err := b.counted(c, s, p, first, worker(e, c))
	if err == nil && c.Proxied {
		result[carried] = bothWays * float64(c.Size) / result[cpu]
	}
	return result, err
}

// counted measures the server under load, and in the first round also counts its system calls.
func (b *bench) counted(c Cell, s subject, p *child, first bool, work work) (sample, error) {
	result, err := b.window(c, s, p, work)
	if err == nil && first && b.syscalls && c.Conns <= 1000 {
		err = countCalls(p.pid(), result, work)
	}
	return result, err
}

// work loads a server for a time.
type work func(time.Duration) (load.Report, error)

// worker returns the function that loads the server.
func worker(e *load.Engine, c Cell) work {
	switch c.Kind {
	case steady:
		return func(d time.Duration) (load.Report, error) { return e.Rate(c.Rate, d) }
	case broadcast:
		return e.Broadcast
	}
	return e.Echo
}

// window warms the server up and then measures it under load. No answers are outstanding at the start and at the end of the
// measurement, so that each message is counted as a whole.
func (b *bench) window(c Cell, s subject, p *child, work work) (sample, error) {
	if _, err := work(b.length / 3); err != nil {
		return nil, err
	}
	if s.countsAllocs && b.profiles != "" {
		if _, err := p.control("profile %s", b.profile(c, s, "")); err != nil {
			return nil, err
		}
		defer p.control("stop")
	}
	m := meter{child: p, core: b.serverCore, countsAllocs: s.countsAllocs}
	if err := m.begin(); err != nil {
		return nil, err
	}
	r, err := work(b.length)
	if err != nil {
		return nil, err
	}
	if err := m.end(); err != nil {
		return nil, err
	}
	if r.Messages == 0 {
		return nil, errors.New("no message came back")
	}
	if c.Procs == 0 { // the server was on that core alone
		b.othersShare = append(b.othersShare, m.othersShare())
	}
	return m.sample(r), nil
}

// profile returns the name of a profile of this visit, or the null device if no profiles were asked for.
func (b *bench) profile(c Cell, s subject, ending string) string {
	if b.profiles == "" {
		return os.DevNull
	}
	name := c.String() + "-" + s.Name
	return filepath.Join(b.profiles, strings.NewReplacer(" ", "-", ",", "", "/", "-").Replace(name)+ending)
}

// connsFor returns the number of a cell's connections that a server can have, and adds a note if that is not all of them.
func (b *bench) connsFor(c Cell, s subject) int {
	if s.maxConns == 0 || c.Conns <= s.maxConns {
		return c.Conns
	}
	b.note(fmt.Sprintf("%s has %d connections where others have more: it takes two descriptors for each.", s.Name, s.maxConns))
	return s.maxConns
}
