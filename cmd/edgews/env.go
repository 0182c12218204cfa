package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// env is what a command reads from and writes to.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
}

// report prints an error. Its text may contain what a server has sent.
func (e *env) report(err error) {
	if s, ok := errors.AsType[*signalError](err); ok {
		fmt.Fprintf(e.stderr, "edgews: ended by a signal: %s\n", s.signal)
		return
	}
	fmt.Fprintf(e.stderr, "edgews: %s\n", errorText(err))
	if u, ok := errors.AsType[*usageError](err); ok && u.command != "" {
		fmt.Fprintf(e.stderr, "edgews help %s shows the flags, with examples.\n", u.command)
	}
}

// errorText returns the text of err on one line, without the prefix that every line of the command has.
func errorText(err error) string {
	return escape(strings.TrimPrefix(err.Error(), "edgews: "), onOneLine)
}

// note prints a line for people on stderr.
func (e *env) note(format string, args ...any) { fmt.Fprintf(e.stderr, format+"\n", args...) }

// isTerminal reports whether stream, one of the fields of env, is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colours reports whether to colour what is written to w: only on a terminal that can, and unless NO_COLOR is set (https://no-color.org).
func (e *env) colours(w io.Writer) bool {
	return isTerminal(w) && e.getenv("NO_COLOR") == "" && e.getenv("TERM") != "dumb"
}

// width returns the number of columns of the terminal w, 80 if that is not known.
func width(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return columns
		}
	}
	return 80
}
