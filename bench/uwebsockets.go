//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/edgews/edgews/bench/internal/server"
)

// uWebSockets is the name of the server in C++ that goals are relative to.
const uWebSockets = "uWebSockets"

// checkout is a checkout of uWebSockets, with that of uSockets in it, as git makes them with --recurse-submodules.
type checkout struct {
	dir   string
	built string // directory with what has been compiled
}

// addUWebSockets adds the server that compile makes.
func (b *bench) addUWebSockets(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for _, file := range []string{"src/App.h", "uSockets/src/libusockets.h"} {
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			return fmt.Errorf("no checkout of uWebSockets with its submodules: %w", err)
		}
	}
	if slices.ContainsFunc(b.others, func(s subject) bool { return s.Name == uWebSockets }) {
		return errors.New("-other names uWebSockets, too")
	}
	c := &checkout{dir: dir}
	b.uWebSockets = c
	b.others = append(b.others, subject{
		Peer:    server.Peer{Name: uWebSockets, Deflate: true, Takeover: true},
		command: c.command,
		version: func() string {
			return uWebSockets + " " + commandOutput("git", "-C", dir, "describe", "--always", "--dirty", "--tags")
		},
		skip: func(c Cell) string {
			if c.TLS {
				return "not compiled with TLS"
			}
			return goOnly(c)
		},
	})
	return nil
}

func (c *checkout) program() string { return filepath.Join(c.built, "server") }

func (c *checkout) command(config server.Config) (*exec.Cmd, string, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, "", err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, "", err
	}
	cmd := exec.Command(c.program(), port, string(config.Work), string(config.Deflate))
	cmd.Stderr = os.Stderr
	return cmd, addr, nil
}

// compile compiles the server for this machine, with the flags of uWebSockets' Makefile, into a new directory.
func (c *checkout) compile() (err error) {
	if c.built, err = os.MkdirTemp("", "bench"); err != nil {
		return err
	}
	source, err := filepath.Abs(filepath.Join(uWebSocketsDir(), "server.cpp"))
	if err != nil {
		return err
	}
	sockets := filepath.Join(c.dir, "uSockets", "src")
	flags := []string{"-O3", "-march=native", "-flto", "-DLIBUS_NO_SSL", "-I" + sockets}
	var files []string
	for _, part := range []string{"*.c", "eventing/*.c", "crypto/*.c"} {
		found, err := filepath.Glob(filepath.Join(sockets, part))
		if err != nil {
			return err
		}
		files = append(files, found...)
	}
	if err := c.run("gcc", slices.Concat(flags, []string{"-std=c11", "-c"}, files)); err != nil {
		return err
	}
	objects, err := filepath.Glob(filepath.Join(c.built, "*.o"))
	if err != nil {
		return err
	}
	flags = append(flags, "-std=c++20", "-I"+filepath.Join(c.dir, "src"), "-o", c.program(), source)
	return c.run("g++", slices.Concat(flags, objects, []string{"-lz", "-pthread"}))
}

// run runs a compiler in the directory for what has been compiled.
func (c *checkout) run(compiler string, args []string) error {
	cmd := exec.Command(compiler, args...)
	cmd.Dir = c.built
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", compiler, err, text)
	}
	return nil
}

// remove removes what has been compiled.
func (c *checkout) remove() { os.RemoveAll(c.built) }

// uWebSocketsDir returns the directory of the server's source, relative to the root of the repository or to this directory.
func uWebSocketsDir() string { return filepath.Join(filepath.Dir(nodeDir()), "uwebsockets") }
