//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"

	"github.com/edgews/edgews/bench/internal/load"
)

// run measures all servers in each cell, round after round. The servers of a cell follow each other closely, in a different order in
// each round, so that a disturbance affects several servers, and not always the same one.
func (b *bench) run() {
	b.results, b.failed = results{}, map[visit]bool{}
	for round := range b.rounds {
		for i, c := range b.cells {
			if c.Once && round > 0 {
				continue
			}
			order := rand.New(rand.NewPCG(uint64(round), uint64(i)))
			for _, s := range shuffled(b.subjects, order) {
				if b.visits(c, s) {
					progress("%d/%d %s: %s", round+1, b.rounds, c, s.Name)
					b.visitAndRecord(c, s, round)
				}
			}
		}
	}
	progress("")
}

func (b *bench) visits(c Cell, s subject) bool {
	return s.leftOut(c) == "" && (b.plan.visits == nil || b.plan.visits(c, s))
}

// visitAndRecord measures a server in a cell and records the result. A server that hangs is killed at the limit, and has failed.
func (b *bench) visitAndRecord(c Cell, s subject, round int) {
	limit := cmp.Or(b.visitLimit, c.limit())
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	result, err := b.visit(ctx, c, s, round == 0)
	if ctx.Err() != nil {
		err = fmt.Errorf("not finished after %v", limit)
	}
	switch {
	case errors.Is(err, load.ErrUnsupported):
	case err != nil:
		b.failed[at(c, s)] = true
		b.note(fmt.Sprintf("%s failed in %s: %v.", s.Name, c, err))
	default:
		b.results.add(at(c, s), round, result)
	}
}

func (b *bench) note(text string) {
	if !slices.Contains(b.notes, text) {
		b.notes = append(b.notes, text)
	}
}

func shuffled(s []subject, r *rand.Rand) []subject {
	s = slices.Clone(s)
	r.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
	return s
}

// progress overwrites its previous line, if standard error is a terminal.
func progress(format string, args ...any) {
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		fmt.Fprintf(os.Stderr, "\r\033[K"+format, args...)
	}
}
