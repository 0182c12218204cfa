//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/edgews/edgews/bench/internal/server"
)

// subject is a server or a proxy that is measured, written in Go or not, or what writes durably: a row of the tables.
type subject struct {
	server.Peer

	// command returns the command that starts the server. The process prints "listening ADDR" and accepts commands on its standard
	// input, unless addr is the address at which it will listen.
	command func(c server.Config) (cmd *exec.Cmd, addr string, err error)

	writes       bool                // it is no server: it is measured in the cells for durable writes only
	missing      string              // why the server cannot run here, or ""
	skip         func(c Cell) string // why a cell for servers, or for proxies, is left out, or ""
	controllable bool                // it accepts commands on standard input
	countsAllocs bool                // its answer to "stats" has the allocations
	maxConns     int                 // limit because of its descriptors; 0: none
	version      func() string       // of what is measured, with its name; nil: see Peer.Module
}

// withProcs returns the subject with a GOMAXPROCS.
func (s subject) withProcs(n int) subject {
	command := s.command
	s.command = func(c server.Config) (*exec.Cmd, string, error) {
		cmd, addr, err := command(c)
		if err == nil {
			cmd.Env = append(cmd.Environ(), "GOMAXPROCS="+strconv.Itoa(n))
		}
		return cmd, addr, err
	}
	return s
}

// leftOut returns why a cell is left out, or "".
func (s subject) leftOut(c Cell) string {
	switch {
	case s.writes != (c.Kind == durable):
		return "durable writes are compared without servers"
	case c.Proxied && !s.Proxy:
		return "not a proxy"
	case s.Proxy && !c.Proxied:
		return "a proxy"
	case c.Half && s.Raw:
		return "no request"
	case c.Kind == startup && s.Name != server.Edgews:
		return "no small program"
	case s.Opening && !c.opens():
		return "as the same server with another opening handshake"
	}
	return s.skip(c)
}

// subjects returns all servers and proxies, and what writes durably, also those that cannot run here.
func subjects() []subject {
	var list []subject
	for _, p := range server.Peers() {
		list = append(list, goSubject(p))
	}
	list = append(list, nodeWS(), workerd(), nginx(), nginxTuned(), haproxy(), haproxyTuned())
	return append(list, writers()...)
}

// goSubject runs a server in another process of this program.
func goSubject(p server.Peer) subject {
	return subject{
		Peer:         p,
		controllable: true,
		countsAllocs: true,
		command: func(c server.Config) (*exec.Cmd, string, error) {
			self, err := os.Executable()
			if err != nil {
				return nil, "", err
			}
			cmd := exec.Command(self, append([]string{"serve"}, c.Args()...)...)
			cmd.Stderr = os.Stderr
			return cmd, "", nil
		},
		skip: func(c Cell) string {
			switch {
			case c.Deflate == server.Reset && !p.Deflate, c.Deflate == server.Takeover && !p.Takeover:
				return "no such compression"
			case c.Level != 0 && p.Name != server.Edgews:
				return ownLevels
			case c.TLS && p.NoTLS:
				return "no TLS"
			case c.Kind == flood && !p.CanCount, c.Kind == blockers && !p.CanBlock:
				return "no such handler"
			}
			return ""
		},
	}
}

// nodeDir returns the directory of the servers for Node, relative to the root of the repository or to this directory.
func nodeDir() string {
	if _, err := os.Stat("bench/node/ws.js"); err == nil {
		return "bench/node"
	}
	return "node"
}

// module returns a file of a package that npm has installed.
func module(path string) (string, bool) {
	file, err := filepath.Abs(filepath.Join(nodeDir(), "node_modules", path))
	if err != nil {
		return "", false
	}
	_, err = os.Stat(file)
	return file, err == nil
}
