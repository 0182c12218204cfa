//go:build linux

package main

import (
	"os/exec"
	"path/filepath"

	"github.com/edgews/edgews/bench/internal/server"
)

// nodeWS is the ws package of npm, or why it is missing.
func nodeWS() (subject, string) {
	const missing = "Node's ws is not measured: there is no node, or `npm ci` has not been run in bench/node."
	node, err := exec.LookPath("node")
	if err != nil {
		return subject{}, missing
	}
	if _, ok := module("ws"); !ok {
		return subject{}, missing
	}
	return subject{
		Peer:   server.Peer{Name: "Node ws", Deflate: true, Takeover: true},
		orders: true,
		command: func(c server.Config) (*exec.Cmd, string, error) {
			args := []string{"--expose-gc", filepath.Join(nodeDir(), "ws.js")}
			if c.Broadcast {
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
	}, ""
}

// goOnly leaves out what callgrind cannot run.
func goOnly(c Cell) string {
	if c.Kind == instructions {
		return "no callgrind with a just-in-time compiler"
	}
	return ""
}
