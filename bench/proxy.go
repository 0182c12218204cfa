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

// startFor starts the subject of a cell on the servers' core. A proxy gets an echo server to forward to, a process on the core of the
// load generator, which ends with the proxy.
func (b *bench) startFor(ctx context.Context, c Cell, s subject, config server.Config) (*child, error) {
	if !c.Proxied {
		return startServer(ctx, b.serverCore, s, config)
	}
	all := subjects()
	origin := all[slices.IndexFunc(all, func(s subject) bool { return s.Name == server.Edgews })]
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	upstream, err := startServer(ctx, b.loadCore, origin, server.Config{Peer: origin.Name})
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	ended := func() {
		upstream.kill()
		os.RemoveAll(dir)
	}
	config.Upstream, config.Dir = upstream.addr, dir
	p, err := startServer(ctx, b.serverCore, s, config)
	if err != nil {
		ended()
		return nil, err
	}
	p.ended = ended
	return p, nil
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
