//go:build linux

package main

import (
	"os/exec"
	"path/filepath"

	"github.com/edgews/edgews/bench/internal/server"
)

// nodeWS is the ws package of npm.
func nodeWS() subject {
	var missing string
	node, err := exec.LookPath("node")
	if _, ok := module("ws"); err != nil || !ok {
		missing = "Node's ws is not measured: there is no node, or `npm ci` has not been run in bench/node"
	}
	return subject{
		Peer:         server.Peer{Name: "Node ws", Deflate: true, Takeover: true},
		missing:      missing,
		controllable: true,
		version:      func() string { return "Node " + commandOutput(node, "--version") + ", " + packageVersion("ws") },
		command: func(c server.Config) (*exec.Cmd, string, error) {
			args := []string{"--expose-gc", filepath.Join(nodeDir(), "ws.js")}
			if c.Work == server.Broadcast {
				args = append(args, "broadcast")
			}
			if c.Deflate != server.Plain {
				args = append(args, "deflate="+string(c.Deflate))
			}
			return exec.Command(node, args...), "", nil
		},
		skip: func(c Cell) string {
			if c.TLS {
				return "not set up for TLS"
			}
			return goOnly(c)
		},
	}
}

// ownLevels is the reason why a server is left out of a cell with a level of compression.
const ownLevels = "no setting for the level"

// goOnly returns why a server of another runtime is left out of a cell, or "".
func goOnly(c Cell) string {
	if c.Level != 0 {
		return ownLevels
	}
	if c.Procs > 0 {
		return "no GOMAXPROCS"
	}
	switch c.Kind {
	case instructions:
		return "no callgrind with a just-in-time compiler"
	case collect:
		return "another kind of garbage collector"
	case flood, blockers:
		return "no such handler"
	}
	return ""
}
