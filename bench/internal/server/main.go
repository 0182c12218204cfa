package server

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

// Main is the server's process. It serves on a free port of the loopback interface, prints the address on standard output, and then
// answers commands (see control) until standard input ends.
func Main(args []string) error {
	c, err := Parse(args)
	if err != nil {
		return err
	}
	p, err := find(c.Peer)
	if err != nil {
		return err
	}
	in, err := controlInput()
	if err != nil {
		return err
	}
	if p.Module != nbioModule {
		withoutNbio()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("listening", l.Addr())
	failed := make(chan error, 1)
	go func() { failed <- p.serve(l, c) }()
	go func() { failed <- control(in, os.Stdout) }()
	err = <-failed
	if err == io.EOF {
		return nil
	}
	return err
}

func (p Peer) serve(l net.Listener, c Config) error {
	if c.TLS {
		config, err := tlsConfig()
		if err != nil {
			return err
		}
		l = tls.NewListener(l, config)
	}
	return p.Serve(l, c)
}

// serveHTTP serves a handler of a library that uses net/http.
func serveHTTP(l net.Listener, h http.HandlerFunc) error {
	return (&http.Server{Handler: h}).Serve(l)
}

// accept serves each connection in a goroutine of its own.
func accept(l net.Listener, serve func(net.Conn)) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			serve(c)
		}()
	}
}
