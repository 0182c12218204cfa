//go:build linux

package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/edgews/edgews/bench/internal/server"
)

// bothWays is how often a proxy forwards the payload of a message: to the echo server, and back.
const bothWays = 2

// startFor starts the subject of a cell on the servers' core, or on all cores if the cell has a number of processors. A proxy gets what stands behind it, which ends with the proxy.
func (b *bench) startFor(ctx context.Context, c Cell, s subject, config server.Config) (*child, error) {
	switch {
	case c.Procs > 0:
		return startServer(ctx, b.allCores, s.withProcs(c.Procs), config)
	case !c.Proxied:
		return startServer(ctx, []int{b.serverCore}, s, config)
	}
	behind, err := b.startBehind(ctx)
	if err != nil {
		return nil, err
	}
	config.Upstream, config.Addr, config.Dir = behind.upstream.addr, behind.port.addr, behind.dir
	p, err := startServer(ctx, []int{b.serverCore}, s, config)
	if err != nil {
		behind.end()
		return nil, err
	}
	p.ended = behind.end
	return p, nil
}

// behind is what a proxy needs: an echo server on the core of the load generator, a port to listen at and a directory for files.
type behind struct {
	upstream *child
	port     reservedPort
	dir      string
}

func (b *bench) startBehind(ctx context.Context) (*behind, error) {
	all := subjects()
	echo := all[slices.IndexFunc(all, func(s subject) bool { return s.Name == server.Edgews })]
	upstream, err := startServer(ctx, []int{b.loadCore}, echo, server.Config{Peer: echo.Name})
	if err != nil {
		return nil, err
	}
	port, err := reservePort()
	if err != nil {
		upstream.kill()
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		upstream.kill()
		port.release()
		return nil, err
	}
	return &behind{upstream, port, dir}, nil
}

func (e *behind) end() {
	e.upstream.kill()
	e.port.release()
	os.RemoveAll(e.dir)
}

// proxied shows the CPU time of a proxy for a message, and the bytes that it forwards in a second of CPU time; in an idle cell its memory.
func proxied(r results, v visit) string {
	used := r.median(v, cpu)
	if math.IsNaN(used) {
		return memory(r, v)
	}
	text := number("%.2f", used)
	if rel := r.over(v, visit{v.cell, server.EdgewsProxy}, cpu); !math.IsNaN(rel) {
		text += fmt.Sprintf(" (%.2f)", rel)
	}
	return text + "; " + digits(r.median(v, carried))
}
