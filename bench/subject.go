//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"

	"github.com/edgews/edgews/bench/internal/server"
)

// subject is a server that is measured, whatever it is written in: a row of the tables.
type subject struct {
	server.Peer

	// command returns what to start. The process says "listening ADDR" and takes orders, unless addr says
	// where it will listen.
	command func(c server.Config) (cmd *exec.Cmd, addr string, err error)

	missing  string              // why it cannot run here, or ""
	skip     func(c Cell) string // why a cell is left out, or ""
	orders   bool                // it takes orders on standard input
	counts   bool                // and knows how much it allocates
	maxConns int                 // what it can hold with the descriptors it has; 0: no limit
}

// subjects returns all servers, also those that cannot run here.
func subjects() []subject {
	var list []subject
	for _, p := range server.Peers() {
		list = append(list, goSubject(p))
	}
	return append(list, nodeWS(), workerd())
}

// goSubject runs this very program in the part of a server.
func goSubject(p server.Peer) subject {
	return subject{
		Peer:   p,
		orders: true,
		counts: true,
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
				return levelOfItsOwn
			case c.TLS && p.NoTLS:
				return "no TLS"
			case c.Kind == flood && !p.CanCount, c.Kind == blockers && !p.CanBlock:
				return "no such handler"
			}
			return ""
		},
	}
}

// nodeDir is the directory with the servers for Node, seen from the repository or from here.
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
