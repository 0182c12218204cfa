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

// Batches on each connection, or new connections in the place of each one, in the two runs under callgrind. The difference of the runs does not contain the start and the
// handshakes.
const (
	fewerRounds = 20
	moreRounds  = 170
)

// instructions counts the user-space instructions of a server for one message, or for one connection. Unlike times, they do not depend on other load on the
// machine.
func (b *bench) instructions(ctx context.Context, c Cell, s subject) (sample, error) {
	few, err := b.executed(ctx, c, s, fewerRounds)
	if err != nil {
		return nil, err
	}
	many, err := b.executed(ctx, c, s, moreRounds)
	if err != nil {
		return nil, err
	}
	messages := c.Conns * max(c.Window, 1) * (moreRounds - fewerRounds)
	return sample{instr: float64(many-few) / float64(messages)}, nil
}

var executedLine = regexp.MustCompile(`Collected : (\d+)`)

// executed returns the instructions of a server from start to end, with a number of batches on each connection, or with as many times the
// cell's number of connections.
func (b *bench) executed(ctx context.Context, c Cell, s subject, rounds int) (int64, error) {
	script := load.Echo(s.Raw, c.Size, c.Window)
	var output bytes.Buffer
	p, err := startServer(ctx, []int{b.serverCore}, underCallgrind(s, &output, b.profile(c, s, fmt.Sprintf("-%d.callgrind", rounds))), server.Config{Peer: s.Name, Buffer: script.Largest()})
	if err != nil {
		return 0, err
	}
	defer p.kill()
	if err := instructionsLoad(load.Target{Addr: p.addr, Raw: s.Raw}, c, script, rounds); err != nil {
		return 0, err
	}
	if err := p.end(); err != nil {
		return 0, err
	}
	m := executedLine.FindSubmatch(output.Bytes())
	if m == nil {
		return 0, fmt.Errorf("callgrind counts nothing: %s", output.Bytes())
	}
	return strconv.ParseInt(string(m[1]), 10, 64)
}

func instructionsLoad(t load.Target, c Cell, script *load.Script, rounds int) error {
	if c.Window == 0 {
		_, err := load.ChurnN(t, c.Conns*rounds)
		return err
	}
	conns, err := load.Open(t, c.Conns)
	if err != nil {
		return err
	}
	defer conns.Close()
	e, err := load.NewEngine(conns, script, false)
	if err != nil {
		return err
	}
	defer e.Close()
	_, err = e.Rounds(rounds)
	return err
}

// underCallgrind returns s with a command that runs under callgrind. output receives callgrind's output, and file its profile.
func underCallgrind(s subject, output *bytes.Buffer, file string) subject {
	command := s.command
	s.command = func(c server.Config) (*exec.Cmd, string, error) {
		cmd, addr, err := command(c)
		if err != nil {
			return nil, "", err
		}
		args := append([]string{"--tool=callgrind", "--callgrind-out-file=" + file}, cmd.Args...)
		outer := exec.Command("valgrind", args...)
		outer.Stderr = output
		// Callgrind 3.19 gives up when one of the signals that preempt goroutines comes inside another.
		outer.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1")
		return outer, addr, nil
	}
	return s
}

// findCallgrind returns an error if instructions cannot be counted.
func findCallgrind() error {
	if exec.Command("valgrind", "--tool=callgrind", "--callgrind-out-file="+os.DevNull, "true").Run() != nil {
		return errors.New("instructions are not counted: there is no valgrind")
	}
	return nil
}
