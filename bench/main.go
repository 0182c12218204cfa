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
	"github.com/edgews/edgews/bench/internal/store"
)

func main() {
	if err := dispatch(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// dispatch runs what the first argument names. The servers, the load generators and what writes durably are further processes of this
// program.
func dispatch(args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "serve":
			return server.Main(args[1:])
		case "hold":
			return load.HoldMain(args[1:])
		case "flood":
			return load.FloodMain(args[1:])
		case "store":
			return store.Main(args[1:])
		}
	}
	return compareAll(args)
}

func compareAll(args []string) error {
	b, err := parse(args)
	if err != nil {
		return err
	}
	if err := b.chooseCores(); err != nil {
		return err
	}
	debug.SetGCPercent(1000) // nothing is allocated per message, so the collector has little to do
	b.checkTools()
	if c := b.uWebSockets; c != nil {
		defer c.remove()
		if err := c.compile(); err != nil {
			return err
		}
	}
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
	f.Func("other", "`NAME,ADDR,COMMAND`: also measure an echo server that the command starts and that listens at that address; may be repeated", b.addOther)
	f.Func("uwebsockets", "`DIR`: also measure uWebSockets, from a checkout with its submodules, which gcc compiles", b.addUWebSockets)
	f.IntVar(&b.rounds, "rounds", 0, "number of rounds, instead of the plan's")
	f.DurationVar(&b.length, "time", 0, "measured time for each server and cell, instead of the plan's")
	f.StringVar(&b.update, "update", "", "file in which the result replaces the text between the lines "+sectionBegin[:len(sectionBegin)-1]+" and "+sectionEnd[:len(sectionEnd)-1])
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
	b.applyPlan(plans[i+1])
	if b.cells = selected(b.plan.cells, *list); len(b.cells) == 0 {
		return nil, errors.New("no such cells; there are " + strings.Join(groups(b.plan.cells), ", "))
	}
	return b, b.chooseServers(*servers)
}

// applyPlan sets the plan, and from it the values that no flag has set.
func (b *bench) applyPlan(p plan) {
	b.plan = p
	b.rounds = cmp.Or(b.rounds, p.rounds)
	b.length = cmp.Or(b.length, p.length)
}

// chooseServers chooses the servers in a comma-separated list, in its order. If the list is empty, it chooses the servers of the plan
// that can run here and the others that the user has named, and notes which of those that would be measured cannot run.
func (b *bench) chooseServers(list string) error {
	found := append(subjects(), b.others...)
	names := b.plan.servers
	switch {
	case list != "":
		names = strings.Split(list, ",")
	case names == nil:
		for _, s := range found {
			if slices.ContainsFunc(b.cells, func(c Cell) bool { return s.leftOut(c) == "" }) {
				names = append(names, s.Name)
			}
		}
	default:
		for _, s := range b.others {
			names = append(names[:len(names):len(names)], s.Name)
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

// chooseCores chooses a core for the servers and moves this process to another one.
func (b *bench) chooseCores() error {
	cores, err := proc.Cores()
	if err != nil {
		return err
	}
	b.allCores, b.loadCore, b.serverCore = cores, cores[0], cores[len(cores)-1]
	if len(cores) == 1 {
		b.note("There is only one core, which the servers share with the load generators.")
	}
	return proc.Pin(b.loadCore)
}

// checkTools leaves out measurements whose tools are not installed.
func (b *bench) checkTools() {
	b.syscalls = b.syscalls && b.plan.traced
	if b.syscalls && !canTrace() {
		b.syscalls = false
		b.note("System calls are not counted: strace is not installed, or not permitted.")
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
