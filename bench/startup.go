//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/edgews/edgews/bench/internal/load"
	"github.com/edgews/edgews/bench/internal/server"
)

// tinyServer is the program that startup starts. It needs the Go command, which has built this one.
const tinyServer = "github.com/edgews/edgews/bench/internal/tiny"

// starts is how often the program is started: the figure is the median.
const starts = 40

// startup measures the time from the start of a small program to the first echo, and what the packages of edgews do in it before main.
func (b *bench) startup(ctx context.Context) (sample, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "tiny")
	if text, err := exec.CommandContext(ctx, "go", "build", "-o", program, tinyServer).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s is not built: %w: %s", tinyServer, err, text)
	}
	var took []float64
	for range starts {
		d, err := b.firstEcho(ctx, exec.Command(program))
		if err != nil {
			return nil, err
		}
		took = append(took, millis(d))
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace bytes.Buffer
	cmd.Stderr = &trace
	if _, err := b.firstEcho(ctx, cmd); err != nil {
		return nil, err
	}
	inits, err := initAllocs(trace.String())
	return sample{started: median(took), initialised: float64(inits)}, err
}

// firstEcho starts a server, and returns the time until it has answered its first message. The server has ended when it returns.
func (b *bench) firstEcho(ctx context.Context, cmd *exec.Cmd) (time.Duration, error) {
	s := subject{
		Peer:    server.Peer{Name: server.Edgews},
		command: func(server.Config) (*exec.Cmd, string, error) { return cmd, "", nil },
	}
	begin := time.Now()
	p, err := startServer(ctx, b.allCores, s, server.Config{})
	if err != nil {
		return 0, err
	}
	defer p.kill()
	_, err = load.ChurnN(load.Target{Addr: p.addr}, 1)
	return time.Since(begin), err
}

// initLine is a line of GODEBUG=inittrace=1 about a package of this library.
var initLine = regexp.MustCompile(`(?m)^init (github\.com/edgews/edgews(?:/\S*)?) @.* (\d+) allocs$`)

// initAllocs returns how many objects the packages of edgews allocate before main.
func initAllocs(trace string) (total int, err error) {
	if !strings.HasPrefix(trace, "init ") {
		return 0, fmt.Errorf("the program does not trace its initialisation: %q", trace)
	}
	for _, m := range initLine.FindAllStringSubmatch(trace, -1) {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// startTimes shows the time to the first echo and the allocations before main.
func startTimes(r results, v visit) string { return pair(r, v, "%.1f", started, initialised, "; ") }
