package main

import (
	"context"
	"errors"
	"os"
	"syscall"

	"github.com/edgews/edgews"
)

// The exit codes, as exitHelp explains them. An interrupt has the code that shells give to a program that SIGINT has ended, SIGTERM likewise.
const (
	exitSuccess     = 0
	exitFailure     = 1
	exitUsage       = 2
	exitRefused     = 3
	exitUnmet       = 4
	exitInterrupted = 130
	exitTerminated  = 143
)

const exitHelp = `Exit codes:
  0    success
  1    the connection failed, or something else did
  2    wrong usage: flags, arguments or input
  3    the server refused the handshake
  4    an expectation was not met: /expect, -count, or an error under load
  130  interrupted, as by ^C
  143  ended by SIGTERM; listen and proxy, which end no other way, exit with 0
`

// usageError says that the arguments or the input of a command are wrong.
type usageError struct {
	command string // "" if none was found
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// unmetError says which expectation was not met.
type unmetError struct{ what string }

func (e *unmetError) Error() string { return e.what }

// exitCode returns the code that tells scripts how a command has ended.
func exitCode(err error) int {
	if err == nil {
		return exitSuccess
	}
	if s, ok := errors.AsType[*signalError](err); ok {
		if s.signal == os.Interrupt {
			return exitInterrupted
		}
		return exitTerminated
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*unmetError](err); ok {
		return exitUnmet
	}
	if refused(err) {
		return exitRefused
	}
	return exitFailure
}

// refused reports whether err is the answer of a server that does not open the socket.
func refused(err error) bool {
	h, ok := errors.AsType[*edgews.HandshakeError](err)
	return ok && h.StatusCode != 0
}

// cause returns why ctx has ended: a signalError if it was a signal.
func cause(ctx context.Context) error { return context.Cause(ctx) }

// terminated reports whether err is SIGTERM, which is how servers are stopped in an orderly way.
func terminated(err error) bool {
	s, ok := errors.AsType[*signalError](err)
	return ok && s.signal == syscall.SIGTERM
}
