package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/edgews/edgews"
)

// serveFlags are the flags of the commands that listen.
type serveFlags struct {
	addr      string
	cert, key string
	quiet     bool
}

func (s *serveFlags) define(fs *flag.FlagSet) {
	fs.StringVar(&s.addr, "addr", "localhost:8080", "listen on this `address`; port 0 is a free one, :8080 is port 8080 for every machine")
	fs.StringVar(&s.cert, "cert", "", "serve TLS with the certificate in this PEM `file`, and -key")
	fs.StringVar(&s.key, "key", "", "the private key of -cert, a PEM `file`")
	fs.BoolVar(&s.quiet, "quiet", false, "print errors only")
}

// shutdownGrace is how long a server that stops waits for its sockets to close: as Options.CloseTimeout, and a little.
const shutdownGrace = 6 * time.Second

// serve serves h until ctx ends, and then calls shutdown. SIGTERM is the orderly end of a server and no error. what is printed
// with the address.
func (s *serveFlags) serve(ctx context.Context, e *env, h http.Handler, what string, shutdown func(context.Context)) error {
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	defer l.Close()
	address, scheme := l.Addr().String(), "ws"
	if s.cert != "" || s.key != "" {
		pair, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			return &usageError{err: fmt.Errorf("-cert and -key: %w", err)}
		}
		l, scheme = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}), "wss"
	}
	if !s.quiet {
		e.note("edgews: %s at %s://%s", what, scheme, address)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan struct{})
	forget := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.Background(), shutdownGrace)
		defer cancel()
		server.Close()
		shutdown(grace)
	})
	err = edgews.Serve(l, server)
	if !forget() {
		<-stopped
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	if end := cause(ctx); !terminated(end) {
		return end
	}
	return nil
}
