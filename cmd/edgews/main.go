// Edgews is a tool for WebSockets: it dials, listens, proxies, puts load on servers, works out bills and shows what the inspector of a
// running server knows.
//
//	edgews dial URL        talk to a server
//	edgews listen          a server that echoes, or that runs a program for each connection
//	edgews proxy TARGET    a proxy in front of a server
//	edgews load URL        open many sockets and measure
//	edgews bill            what a usage costs under published and custom price lists
//	edgews inspect URL     what the sockets and objects of a running server do
//	edgews completion      completions for bash, zsh and fish
//	edgews version
//
// Run edgews help COMMAND for the flags of a command, with examples, and for the exit codes.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := untilSignal(context.Background())
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// signalError is the cause of a context that a signal has ended.
type signalError struct{ signal os.Signal }

func (e *signalError) Error() string { return e.signal.String() }

// untilSignal returns a context that ends when the process gets an interrupt or SIGTERM. A second signal ends the process at once, with the same
// exit code.
func untilSignal(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-signals:
				if ctx.Err() != nil {
					os.Exit(exitCode(context.Cause(ctx)))
				}
				cancel(&signalError{s})
			case <-done:
				return
			}
		}
	}()
	return ctx, func() { signal.Stop(signals); close(done); cancel(nil) }
}

// run runs the command that args name, without the name of the program, and returns the exit code. When ctx ends, the command ends. Data is
// written to stdout, what is for people to stderr. If stdin is a terminal, as an *os.File, commands may put it into raw mode while they run.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	e := &env{stdin: stdin, stdout: stdout, stderr: stderr, getenv: os.Getenv}
	err := dispatch(ctx, e, args)
	if err != nil {
		e.report(err)
	}
	return exitCode(err)
}
