//go:build linux

// Bench measures edgews beside other WebSocket servers and prints the comparison in Markdown:
//
//	go run ./bench -quick
//	go run ./bench -rounds 9 -cells echo,pipeline -servers 'edgews,gws,Go floor'
package main

import (
	"bytes"
	"cmp"
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
		case "flood":
			return load.FloodMain(args[1:])
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
	var out bytes.Buffer
	b.write(&out, quoted(append([]string{"go", "run", "./bench"}, args...)))
	if _, err := os.Stdout.Write(out.Bytes()); err != nil || b.update == "" {
		return err
	}
	return replaceSection(b.update, out.Bytes())
}

func parse(args []string) (*bench, error) {
	b := &bench{settle: 300 * time.Millisecond}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	chosen := map[string]*bool{}
	for _, p := range plans[1:] {
		chosen[p.name] = f.Bool(p.name, false, p.about)
	}
	list := f.String("cells", "", "groups of cells, with commas: "+strings.Join(groups(cells), ","))
	servers := f.String("servers", "", "names of servers, with commas; without \"Go floor\" there are no ratios")
	f.IntVar(&b.rounds, "rounds", 0, "rounds, if not as many as the plan has")
	f.DurationVar(&b.length, "time", 0, "measured time for each server and cell, if not as long as in the plan")
	f.StringVar(&b.update, "update", "", "file that gets the result between its lines "+sectionBegin[:len(sectionBegin)-1]+" and "+sectionEnd[:len(sectionEnd)-1])
	f.StringVar(&b.profiles, "profile", "", "directory for profiles of the Go servers")
	f.BoolVar(&b.syscalls, "syscalls", true, "count system calls where the plan shows them")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	if b.update != "" {
		if err := checkSection(b.update); err != nil {
			return nil, err
		}
	}
	i := slices.IndexFunc(plans[1:], func(p plan) bool { return *chosen[p.name] })
	b.follow(plans[i+1])
	if b.cells = selected(b.plan.cells, *list); len(b.cells) == 0 {
		return nil, errors.New("no such cells; there are " + strings.Join(groups(b.plan.cells), ", "))
	}
	return b, b.invite(*servers)
}

// follow takes from a plan what was not set by hand.
func (b *bench) follow(p plan) {
	b.plan = p
	b.rounds = cmp.Or(b.rounds, p.rounds)
	b.length = cmp.Or(b.length, p.length)
}

// invite chooses the servers in a list with commas, in its order; if it is empty, those of the plan that can run here.
func (b *bench) invite(list string) error {
	found := subjects()
	names := b.plan.servers
	switch {
	case list != "":
		names = strings.Split(list, ",")
	case names == nil:
		for _, s := range found {
			names = append(names, s.Name)
		}
	}
	for _, n := range names {
		i := slices.IndexFunc(found, func(s subject) bool { return s.Name == n })
		switch {
		case i < 0:
			return fmt.Errorf("no server is called %q", n)
		case found[i].missing == "":
			b.subjects = append(b.subjects, found[i])
		case list != "":
			return errors.New(found[i].missing)
		default:
			b.note(found[i].missing + ".")
		}
	}
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
	b.syscalls = b.syscalls && b.plan.traced
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
