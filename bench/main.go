//go:build linux

// Bench measures edgews beside other WebSocket servers and prints the comparison in Markdown:
//
//	go run ./bench -quick
//	go run ./bench -rounds 9 -cells echo,pipeline -servers 'edgews,gws,Go floor'
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/edgews/edgews/bench/internal/load"
	"github.com/edgews/edgews/bench/internal/proc"
	"github.com/edgews/edgews/bench/internal/server"
)

func main() {
	if err := dispatch(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// dispatch plays the part that the first argument names: this program is also the servers, and what holds connections.
func dispatch(args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "serve":
			return server.Main(args[1:])
		case "hold":
			return load.HoldMain(args[1:])
		}
	}
	return compareAll(args)
}

func compareAll(args []string) error {
	b, err := parse(args)
	if err != nil {
		return err
	}
	if err := b.place(); err != nil {
		return err
	}
	debug.SetGCPercent(1000) // nothing is allocated per message; what is left need not be collected on time
	b.prepare()
	b.run()
	b.write(os.Stdout, quoted(append([]string{"go", "run", "./bench"}, args...)))
	return nil
}

func parse(args []string) (*bench, error) {
	b := &bench{settle: 300 * time.Millisecond}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	short := f.Bool("quick", false, "a shorter comparison, of two to three minutes")
	cells := f.String("cells", "", "groups of cells, with commas: "+strings.Join(groups(plan), ","))
	servers := f.String("servers", "", "names of servers, with commas; without \"Go floor\" there are no ratios")
	f.IntVar(&b.rounds, "rounds", 5, "rounds; 1 with -quick unless set")
	f.DurationVar(&b.length, "time", time.Second, "measured time for each server and cell; 200ms with -quick unless set")
	f.StringVar(&b.profiles, "profile", "", "directory for profiles of the Go servers")
	f.BoolVar(&b.syscalls, "syscalls", true, "count system calls, if there is strace")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	b.cells = plan
	if *short {
		b.shorten(f)
	}
	if b.cells = selected(b.cells, *cells); len(b.cells) == 0 {
		return nil, errors.New("no such cells; there are " + strings.Join(groups(plan), ", "))
	}
	b.subjects, b.notes = subjects()
	return b, b.choose(*servers)
}

// shorten applies -quick to what was not set by hand.
func (b *bench) shorten(f *flag.FlagSet) {
	rounds, length := b.rounds, b.length
	b.cells, b.rounds, b.length = quick, 1, 200*time.Millisecond
	f.Visit(func(set *flag.Flag) {
		switch set.Name {
		case "rounds":
			b.rounds = rounds
		case "time":
			b.length = length
		}
	})
}

// choose keeps the servers in a list with commas, all if it is empty.
func (b *bench) choose(list string) error {
	if list == "" {
		return nil
	}
	names := strings.Split(list, ",")
	for _, n := range names {
		if !b.has(n) {
			return fmt.Errorf("no server %q here", n)
		}
	}
	b.subjects = slices.DeleteFunc(b.subjects, func(s subject) bool { return !slices.Contains(names, s.Name) })
	return nil
}

// place chooses a core for the servers and stays on another.
func (b *bench) place() error {
	cores, err := proc.Cores()
	if err != nil {
		return err
	}
	b.loadCore, b.serverCore = cores[0], cores[len(cores)-1]
	if len(cores) == 1 {
		b.note("There is one core only, which the servers share with the load.")
	}
	return proc.Pin(b.loadCore)
}

// prepare leaves out what needs a tool that is not there.
func (b *bench) prepare() {
	if b.syscalls && !canTrace() {
		b.syscalls = false
		b.note("System calls are not counted: there is no strace, or it may not look.")
	}
	isInstructions := func(c Cell) bool { return c.Kind == instructions }
	if !slices.ContainsFunc(b.cells, isInstructions) {
		return
	}
	if err := findCallgrind(); err != nil {
		b.note(err.Error() + ".")
		b.cells = slices.DeleteFunc(slices.Clone(b.cells), isInstructions)
	}
}
