//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"

	"github.com/edgews/edgews/bench/internal/server"
	"github.com/edgews/edgews/bench/internal/store"
)

// writers are what is measured in the cells for durable writes. These are no servers: they run in a process of their own without a load
// generator.
func writers() []subject {
	writer := func(name, module string) subject {
		return subject{Peer: server.Peer{Name: name, Module: module}, writes: true, skip: func(Cell) string { return "" }}
	}
	return []subject{writer(store.Storage, "github.com/edgews/edgews"), writer(store.Bbolt, "go.etcd.io/bbolt")}
}

// durable measures writes that return when they are on the disk.
func (b *bench) durable(ctx context.Context, c Cell, s subject) (sample, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	config := store.Config{Name: s.Name, Writers: c.Conns, Dir: dir, Length: max(b.length, c.AtLeast)}
	cmd := exec.Command(self, append([]string{"store"}, config.Args()...)...)
	cmd.Stderr = os.Stderr
	p, err := start(ctx, []int{b.serverCore}, cmd)
	if err != nil {
		return nil, err
	}
	defer p.kill()
	line, err := p.line()
	if err != nil {
		return nil, fmt.Errorf("%s ends without a result: %w", s.Name, err)
	}
	var r store.Report
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		return nil, err
	}
	return sample{cpu: micros(r.CPU) / float64(r.Writes), stored: micros(r.Elapsed) / float64(r.Writes)}, nil
}

// storeTimes shows the time and the CPU time of a durable write.
func storeTimes(r results, v visit) string { return pair(r, v, "%.1f", stored, cpu, "; ") }
