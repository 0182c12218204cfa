//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/edgews/edgews/bench/internal/proc"
	"github.com/edgews/edgews/bench/internal/server"
)

// startTime is how long a process may take to begin to listen.
const startTime = 20 * time.Second

// child is a process that runs on one core, or on all of them.
type child struct {
	cmd  *exec.Cmd
	addr string
	in   io.WriteCloser
	out  *bufio.Reader

	cancelKill func() bool // cancels the kill at the end of the context
	ended      func()      // called when the process has ended; nil: nothing to do
}

// start starts cmd on some cores, with pipes for its standard input and output. The process is killed when ctx or this process ends.
func start(ctx context.Context, cores []int, cmd *exec.Cmd) (*child, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := proc.StartOn(cores, cmd); err != nil {
		return nil, err
	}
	p := &child{cmd: cmd, in: in, out: bufio.NewReader(out)}
	p.cancelKill = context.AfterFunc(ctx, func() {
		_ = cmd.Process.Kill()
		out.Close() // a process that it has started may still have the other end open
	})
	return p, nil
}

// startServer starts a server and waits until it listens.
func startServer(ctx context.Context, cores []int, s subject, c server.Config) (*child, error) {
	cmd, addr, err := s.command(c)
	if err != nil {
		return nil, err
	}
	p, err := start(ctx, cores, cmd)
	if err != nil {
		return nil, err
	}
	if p.addr = addr; addr == "" {
		p.addr, err = p.listening()
	} else {
		err = reachable(addr)
	}
	if err != nil {
		p.kill()
		return nil, fmt.Errorf("%s does not start: %w", s.Name, err)
	}
	return p, nil
}

func (p *child) listening() (string, error) {
	line, err := p.line()
	addr, ok := strings.CutPrefix(line, "listening ")
	if err == nil && !ok {
		err = fmt.Errorf("it prints %q", line)
	}
	return addr, err
}

func reachable(addr string) error {
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c.Close()
		}
		if time.Since(begin) > startTime {
			return err
		}
	}
}

func (p *child) pid() int { return p.cmd.Process.Pid }

func (p *child) line() (string, error) {
	line, err := p.out.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}

// control sends a command to the process and returns the answer.
func (p *child) control(format string, args ...any) (string, error) {
	if _, err := fmt.Fprintf(p.in, format+"\n", args...); err != nil {
		return "", err
	}
	return p.line()
}

func (p *child) stats() (server.Stats, error) {
	var s server.Stats
	line, err := p.control("stats")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(line), &s)
}

// end closes the standard input of the process, at which it exits, and waits for that.
func (p *child) end() error {
	p.in.Close()
	io.Copy(io.Discard, p.out)
	defer p.cancelKill()
	err := p.cmd.Wait()
	p.callEnded()
	return err
}

// kill kills the process and waits until it has ended.
func (p *child) kill() {
	p.cancelKill()
	p.in.Close()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		fmt.Fprintln(os.Stderr, err)
	}
	_ = p.cmd.Wait()
	p.callEnded()
}

func (p *child) callEnded() {
	if p.ended != nil {
		p.ended()
	}
}
