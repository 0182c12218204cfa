package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os/exec"
	"sync/atomic"

	"github.com/edgews/edgews"
)

var listenCommand = &command{
	name:    "listen",
	args:    "[-- PROGRAM ARGUMENTS]",
	summary: "a server that echoes messages, or runs a program for each connection",
	help: `
Without PROGRAM, every message is sent back. With it, each connection gets a process of its own: a message is a line of its stdin, and a line
of its stdout is a message. When the socket ends, its stdin does, and 5 s later the process is killed. When the process ends, the socket is
closed: with 1000, or with 1011 if its exit code is not 0. Its stderr goes to that of edgews, with control characters escaped.

The process has EDGEWS_REMOTE, EDGEWS_PATH, EDGEWS_QUERY and EDGEWS_PROTOCOL in its environment. The program runs as the user who runs edgews
and gets what any peer sends: it must not trust its input. By default only this machine can connect, and pages of other sites cannot.`,
	examples: []string{
		"edgews listen",
		"edgews listen -addr :8080 -origin https://example.com",
		"edgews listen -- tail -f /var/log/syslog",
		"edgews listen -- stdbuf -oL tr a-z A-Z",
	},
	greatest: -1,
	setup: func(fs *flag.FlagSet) runner {
		l := new(listen)
		l.define(fs)
		return l.run
	},
}

// listen is the command listen: its flags, and what it has while it runs.
type listen struct {
	serveFlags
	protocols     list
	origins       list
	anyOrigin     bool
	noCompression bool
	binary        bool
	max           int
	maxSize       int64

	env     *env // its notes are whole writes, and may be made at the same time
	program []string
	hub     *edgews.Hub
	last    atomic.Int64 // the number of the latest connection
}

func (l *listen) define(fs *flag.FlagSet) {
	l.serveFlags.define(fs)
	fs.Var(&l.protocols, "protocol", "agree to this `subprotocol`; may be repeated, the preferred one first")
	fs.Var(&l.origins, "origin", "let pages of this `site` connect; may be repeated")
	fs.BoolVar(&l.anyOrigin, "insecure-any-origin", false, "let pages of every site connect: a page that the user visits can then use this server")
	fs.BoolVar(&l.noCompression, "no-compression", false, "do not agree to permessage-deflate")
	fs.BoolVar(&l.binary, "binary", false, "messages are bytes and not lines: what the program writes becomes binary messages")
	fs.IntVar(&l.max, "max", 0, "accept this many `connections` at a time; 0: 100 with a program, no limit without")
	fs.Int64Var(&l.maxSize, "max-size", 0, "the largest message that is received, in `bytes`; 0: 32 MiB")
}

// maxPrograms is how many processes run at a time, unless -max is set.
const maxPrograms = 100

// run listens until ctx ends.
func (l *listen) run(ctx context.Context, e *env, program []string) error {
	l.env, l.program = e, program
	what := "echo"
	if len(program) > 0 {
		path, err := exec.LookPath(program[0])
		if err != nil {
			return &usageError{err: err}
		}
		what = escape(path, onOneLine)
		if l.max == 0 {
			l.max = maxPrograms
		}
	}
	opts := &edgews.UpgradeOptions{
		Options:   edgews.Options{MaxMessageSize: l.maxSize, Compression: &edgews.Compression{Disable: l.noCompression}},
		Protocols: l.protocols, AllowedOrigins: l.origins, InsecureSkipOriginCheck: l.anyOrigin,
	}
	l.hub = edgews.NewHub(&edgews.HubOptions{MaxSockets: l.max})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { l.serveHTTP(w, r, opts) })
	return l.serve(ctx, e, h, what, func(grace context.Context) { _ = l.hub.Shutdown(grace) })
}

// serveHTTP opens a socket and echoes, or runs the program until both have ended.
func (l *listen) serveHTTP(w http.ResponseWriter, r *http.Request, opts *edgews.UpgradeOptions) {
	if !edgews.IsUpgrade(r) {
		http.Error(w, "edgews: this is a WebSocket server: use edgews dial, or new WebSocket(url) in a page", http.StatusUpgradeRequired)
		return
	}
	n := l.last.Add(1)
	s, err := l.hub.Upgrade(w, r, opts)
	if err != nil {
		l.env.note("edgews: %d: refused %s: %s", n, r.RemoteAddr, errorText(err))
		return
	}
	if !l.quiet {
		l.env.note("edgews: %d: %s %s", n, r.RemoteAddr, quote(r.URL.RequestURI()))
	}
	s.OnClose(func(e edgews.CloseEvent) {
		if !l.quiet {
			l.env.note("edgews: %d: %s", n, errorText(closeError(e)))
		}
	})
	if len(l.program) > 0 {
		if err := l.runProgram(s, r, n); err != nil {
			l.env.note("edgews: %d: %s", n, errorText(err))
		}
		return
	}
	s.OnMessage(echo)
	if err := s.Accept(); err != nil {
		l.env.note("edgews: %d: %s", n, errorText(err))
	}
}

// echo sends a message back. It waits for room, and the socket with it.
func echo(e edgews.MessageEvent) {
	err := e.Target.Write(e.Target.Context(), e.Kind, e.Data)
	if err != nil && !errors.Is(err, edgews.ErrClosed) && !errors.Is(err, context.Canceled) {
		_ = e.Target.Close(edgews.StatusInternalError, fmt.Sprintf("cannot answer: %.80s", errorText(err)))
	}
}
