//go:build linux

package main

import (
	"net"
	"os/exec"
	"path/filepath"

	"github.com/edgews/edgews/bench/internal/server"
)

// workerd is Cloudflare's runtime.
func workerd() subject {
	var missing string
	binary, ok := module("@cloudflare/workerd-linux-64/bin/workerd")
	if !ok {
		missing = "workerd is not measured: `npm ci` has not been run in bench/node"
	}
	return subject{
		Peer:    server.Peer{Name: "workerd", Deflate: true, Takeover: true},
		missing: missing,
		command: func(c server.Config) (*exec.Cmd, string, error) {
			socket := "http"
			if c.Work == server.Broadcast {
				socket = "broadcast"
			}
			addr, err := freeAddr()
			config := filepath.Join(nodeDir(), "worker.capnp")
			return exec.Command(binary, "serve", config, "--socket-addr="+socket+"="+addr), addr, err
		},
		skip: func(c Cell) string {
			switch {
			case c.TLS:
				return "not set up for TLS"
			case c.Processes > 1:
				return "two descriptors per connection"
			}
			return goOnly(c)
		},
		maxConns: 4500,
		version:  func() string { return packageVersion("workerd") },
	}
}

// freeAddr returns an address of the loopback interface with a free port.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
