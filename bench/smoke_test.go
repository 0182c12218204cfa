//go:build linux

package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews/bench/internal/proc"
)

// TestMain lets the servers run in processes of this very program, as they do outside of tests.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "serve" || os.Args[1] == "hold") {
		main()
		return
	}
	os.Exit(m.Run())
}

// smoke is one cell of each kind, small.
var smoke = []Cell{
	{Group: "echo", Name: "w1", Size: 128, Conns: 8, Window: 1},
	{Group: "pipeline", Name: "w16", Size: 70_000, Conns: 2, Window: 4},
	{Group: "rate", Name: "2 000/s", Kind: steady, Size: 32, Conns: 10, Window: 1, Rate: 2000},
	{Group: "broadcast", Name: "w2", Kind: broadcast, Size: 128, Conns: 20, Window: 2},
	{Group: "deflate", Name: "reset", Conns: 2, Window: 1, Deflate: "reset"},
	{Group: "deflate", Name: "takeover", Conns: 2, Window: 1, Deflate: "takeover"},
	{Group: "connect", Name: "connect", Kind: connect},
}

func TestEverybodyDoesTheWork(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	found, notes := subjects()
	for _, n := range notes {
		t.Log(n)
	}
	cores, err := proc.Cores()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range found {
		t.Run(s.Name, func(t *testing.T) {
			b := &bench{
				subjects: []subject{s}, cells: smoke, rounds: 1, length: 20 * time.Millisecond, settle: 50 * time.Millisecond,
				loadCore: cores[0], serverCore: cores[len(cores)-1],
			}
			b.run()
			for _, n := range b.notes {
				t.Error(n)
			}
			for _, c := range smoke {
				got := b.results[at(c, s)]
				if s.skip(c) == "" && (len(got) != 1 || got[0][cpu] <= 0) {
					t.Errorf("%s, %s: %v", c.Group, c.Name, got)
				}
			}
		})
	}
}

func TestIdleAndTLS(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	cores, err := proc.Cores()
	if err != nil {
		t.Fatal(err)
	}
	found, _ := subjects()
	b := &bench{
		rounds: 1, length: 10 * time.Millisecond, settle: 50 * time.Millisecond, loadCore: cores[0], serverCore: cores[len(cores)-1],
		cells: []Cell{
			{Group: "idle", Name: "plain", Kind: idle, Conns: 50, Processes: 2, Messages: 1},
			{Group: "idle", Name: "TLS", Kind: idle, Conns: 20, Processes: 1, Messages: 1, TLS: true},
		},
	}
	for _, s := range found {
		if s.Name == "edgews" {
			b.subjects = append(b.subjects, s)
		}
	}
	b.run()
	var out bytes.Buffer
	b.write(&out, "go test")
	if len(b.notes) > 0 || !strings.Contains(out.String(), "| **edgews** |") {
		t.Errorf("notes %q, table:\n%s", b.notes, out.String())
	}
}
