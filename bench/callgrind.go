//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"

	"github.com/edgews/edgews/bench/internal/load"
	"github.com/edgews/edgews/bench/internal/server"
)

// Messages on each connection in the two runs under callgrind. What the runs have in common, such as start and handshakes,
// falls out of their difference.
const (
	fewRounds  = 20
	manyRounds = 170
)

// instructions counts what a server executes in user space for one message. Unlike times, that does not depend on who else
// uses the machine.
func (b *bench) instructions(ctx context.Context, c Cell, s subject) (sample, error) {
	few, err := b.executed(ctx, c, s, fewRounds)
	if err != nil {
		return nil, err
	}
	many, err := b.executed(ctx, c, s, manyRounds)
	if err != nil {
		return nil, err
	}
	messages := c.Conns * c.Window * (manyRounds - fewRounds)
	return sample{instr: float64(many-few) / float64(messages)}, nil
}

var executedLine = regexp.MustCompile(`Collected : (\d+)`)

// executed returns the instructions of a whole life of a server with a number of batches on each connection.
func (b *bench) executed(ctx context.Context, c Cell, s subject, rounds int) (int64, error) {
	script := load.Echo(s.Raw, c.Size, c.Window)
	var said bytes.Buffer
	p, err := startServer(ctx, b.serverCore, underCallgrind(s, &said, b.profile(c, s, fmt.Sprintf("-%d.callgrind", rounds))), server.Config{Peer: s.Name, Buffer: script.Largest()})
	if err != nil {
		return 0, err
	}
	defer p.kill()
	conns, err := load.Open(load.Target{Addr: p.addr, Raw: s.Raw}, c.Conns)
	if err != nil {
		return 0, err
	}
	defer conns.Close()
	e, err := load.NewEngine(conns, script, false)
	if err != nil {
		return 0, err
	}
	defer e.Close()
	if _, err := e.Rounds(rounds); err != nil {
		return 0, err
	}
	if err := p.end(); err != nil {
		return 0, err
	}
	m := executedLine.FindSubmatch(said.Bytes())
	if m == nil {
		return 0, fmt.Errorf("callgrind counts nothing: %s", said.Bytes())
	}
	return strconv.ParseInt(string(m[1]), 10, 64)
}

// underCallgrind returns s with a command that callgrind runs. What callgrind says goes to said, and its profile to file.
func underCallgrind(s subject, said *bytes.Buffer, file string) subject {
	command := s.command
	s.command = func(c server.Config) (*exec.Cmd, string, error) {
		cmd, addr, err := command(c)
		if err != nil {
			return nil, "", err
		}
		args := append([]string{"--tool=callgrind", "--callgrind-out-file=" + file}, cmd.Args...)
		outer := exec.Command("valgrind", args...)
		outer.Stderr = said
		// Callgrind 3.19 gives up when one of the signals that preempt goroutines comes inside another.
		outer.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1")
		return outer, addr, nil
	}
	return s
}

// findCallgrind returns an error that says why instructions cannot be counted.
func findCallgrind() error {
	if exec.Command("valgrind", "--tool=callgrind", "--callgrind-out-file="+os.DevNull, "true").Run() != nil {
		return errors.New("instructions are not counted: there is no valgrind")
	}
	return nil
}
