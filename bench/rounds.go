//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/edgews/edgews/bench/internal/load"
	"github.com/edgews/edgews/bench/internal/server"
)

// run visits all servers in each cell, round after round. A cell's servers follow each other closely, each round beginning
// with another, so that a disturbance from outside hits neighbours and not always the same one.
func (b *bench) run() {
	b.results = results{}
	for round := range b.rounds {
		for _, c := range b.cells {
			if c.Kind == instructions && round > 0 {
				continue // the same every time
			}
			b.cell(c, round)
		}
	}
}

func (b *bench) cell(c Cell, round int) {
	samples := map[string]sample{}
	for _, s := range rotated(b.subjects, round) {
		if s.skip(c) != "" {
			continue
		}
		progress("%d/%d %s, %s: %s", round+1, b.rounds, c.Group, c.Name, s.Name)
		result, err := b.visit(c, s, round == 0)
		switch {
		case errors.Is(err, load.ErrUnsupported):
		case err != nil:
			b.note(fmt.Sprintf("%s failed in %s, %s: %v.", s.Name, c.Group, c.Name, err))
		default:
			samples[s.Name] = result
			v := at(c, s)
			b.results[v] = append(b.results[v], result)
		}
	}
	progress("")
	compare(samples, server.GoFloor)
}

func (b *bench) note(text string) {
	if !slices.Contains(b.notes, text) {
		b.notes = append(b.notes, text)
	}
}

func rotated(s []subject, by int) []subject {
	if len(s) == 0 {
		return nil
	}
	by = by * 5 % len(s) // not to the next one, which would stay behind the same neighbour
	return slices.Concat(s[by:], s[:by])
}

// progress replaces what it said before, if somebody is watching.
func progress(format string, args ...any) {
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		fmt.Fprintf(os.Stderr, "\r\033[K"+format, args...)
	}
}
