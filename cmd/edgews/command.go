package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// command is one of the commands of edgews.
type command struct {
	name     string
	args     string // as in the line of usage
	summary  string // one line
	help     string // paragraphs after the line of usage
	examples []string

	// positional is the least and the greatest number of arguments; the greatest is -1 if there is no limit. values are what completion
	// offers for one of them.
	least, greatest int
	values          []string

	// setup defines the flags and returns the function that runs the command with what they are then.
	setup func(fs *flag.FlagSet) runner
}

// runner runs a command with its arguments other than flags.
type runner func(ctx context.Context, e *env, args []string) error

// commands returns all commands, in the order of the help.
func commands() []*command {
	return []*command{dialCommand, listenCommand, proxyCommand, loadCommand, billCommand, inspectCommand, completionCommand(), versionCommand}
}

// commandOf returns the command with that name, or nil.
func commandOf(name string) *command {
	for _, c := range commands() {
		if c.name == name {
			return c
		}
	}
	return nil
}

// dispatch runs the command that args name.
func dispatch(ctx context.Context, e *env, args []string) error {
	if len(args) == 0 {
		writeOverview(e.stderr)
		return &usageError{err: errors.New("a command is needed")}
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		return help(e, args[1:])
	case "-version", "--version":
		args[0] = versionCommand.name
	}
	c := commandOf(args[0])
	if c == nil {
		return &usageError{err: fmt.Errorf("there is no command %s; edgews help lists them", quote(args[0]))}
	}
	fs, run := c.flags()
	rest, err := parse(fs, args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		c.writeHelp(e.stdout)
		return nil
	case err != nil:
		return &usageError{c.name, err}
	case len(rest) < c.least:
		return &usageError{c.name, fmt.Errorf("%s is needed", strings.Trim(c.args, "[]"))}
	case c.greatest >= 0 && len(rest) > c.greatest:
		return &usageError{c.name, fmt.Errorf("%s is one argument too many", quote(rest[c.greatest]))}
	}
	err = run(ctx, e, rest)
	if u, ok := errors.AsType[*usageError](err); ok && u.command == "" {
		u.command = c.name
	}
	return err
}

// flags returns the set of the command's flags, and what runs it with them.
func (c *command) flags() (*flag.FlagSet, runner) {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	return fs, c.setup(fs)
}

// parse parses args, in which flags may stand before and after other arguments, and returns the others. All after "--" are others.
func parse(fs *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		left := fs.Args()
		if len(left) == 0 {
			return rest, nil
		}
		if parsed := len(args) - len(left); parsed > 0 && args[parsed-1] == "--" {
			return append(rest, left...), nil
		}
		rest, args = append(rest, left[0]), left[1:]
	}
}

// help prints the overview, or the help of one command.
func help(e *env, args []string) error {
	if len(args) == 0 {
		writeOverview(e.stdout)
		return nil
	}
	c := commandOf(args[0])
	if c == nil {
		return &usageError{err: fmt.Errorf("there is no command %s; edgews help lists them", quote(args[0]))}
	}
	c.writeHelp(e.stdout)
	return nil
}

func writeOverview(w io.Writer) {
	fmt.Fprint(w, "edgews is a tool for WebSockets.\n\nUsage: edgews COMMAND [flags] [arguments]\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-12s%s\n", c.name, c.summary)
	}
	fmt.Fprintf(w, "\nedgews help COMMAND shows the flags of a command, with examples.\n\n%s", exitHelp)
}

// writeHelp prints how the command is used, its flags with their defaults, examples and the exit codes.
func (c *command) writeHelp(w io.Writer) {
	fmt.Fprintf(w, "Usage: edgews %s [flags] %s\n\n%s: %s.\n", c.name, c.args, c.name, c.summary)
	if c.help != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(c.help))
	}
	fs, _ := c.flags()
	first := true
	fs.VisitAll(func(f *flag.Flag) {
		if first {
			fmt.Fprint(w, "\nFlags:\n")
			first = false
		}
		writeFlag(w, f)
	})
	fmt.Fprint(w, "\nExamples:\n")
	for _, line := range c.examples {
		fmt.Fprintf(w, "  %s\n", line)
	}
	fmt.Fprintf(w, "\n%s", exitHelp)
}

// writeFlag prints one flag: its name, the word for its value, its meaning and its default.
func writeFlag(w io.Writer, f *flag.Flag) {
	value, meaning := flag.UnquoteUsage(f)
	if value != "" {
		value = " " + value
	}
	fmt.Fprintf(w, "  -%s%s\n      %s", f.Name, value, strings.ReplaceAll(meaning, "\n", "\n      "))
	switch f.DefValue {
	case "", "false", "0", "0s", "-1":
	default:
		fmt.Fprintf(w, " (default %s)", f.DefValue)
	}
	fmt.Fprintln(w)
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, ", ") }

func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}
