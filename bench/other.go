//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/edgews/edgews/bench/internal/server"
)

// addOther adds the echo server of a flag "NAME,ADDR,COMMAND". A shell runs the command; the server listens at the address.
func (b *bench) addOther(text string) error {
	parts := strings.SplitN(text, ",", 3)
	if len(parts) != 3 || slices.Contains(parts, "") {
		return errors.New("want NAME,ADDR,COMMAND")
	}
	name, addr, command := parts[0], parts[1], parts[2]
	if slices.ContainsFunc(append(subjects(), b.others...), func(s subject) bool { return s.Name == name }) {
		return fmt.Errorf("there already is a server %q", name)
	}
	b.others = append(b.others, subject{
		Peer: server.Peer{Name: name},
		skip: echoOnly,
		command: func(server.Config) (*exec.Cmd, string, error) {
			if c, err := net.Dial("tcp", addr); err == nil {
				c.Close()
				return nil, "", fmt.Errorf("another process listens at %s, the address of %s", addr, name)
			}
			cmd := exec.Command("sh", "-c", "exec "+command)
			cmd.Stderr = os.Stderr
			return cmd, addr, nil
		},
	})
	return nil
}

// echoOnly returns why an echo server that does not know the cell is left out of it, or "".
func echoOnly(c Cell) string {
	switch {
	case c.TLS, c.Deflate != server.Plain:
		return "not set up for it"
	case c.Kind == broadcast:
		return "it only echoes"
	}
	return goOnly(c)
}
