//go:build linux

package main

import (
	"testing"
	"time"

	"github.com/edgews/edgews/bench/internal/server"
)

// The small program is built, started and echoes.
func TestStartup(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program and starts it often")
	}
	b := smallBench(t, []Cell{cell("startup/start to first echo")}, server.Edgews)
	b.visitLimit = 8 * time.Minute // the compiler may have much to do, and other tests run meanwhile
	b.run()
	got := b.results[at(b.cells[0], b.subjects[0])]
	if len(got) != 1 || got[0][started] <= 0 || got[0][initialised] < 0 || len(b.notes) > 0 {
		t.Errorf("%v, notes %q", got, b.notes)
	}
}

// Only the packages of this library count.
func TestInitAllocs(t *testing.T) {
	const trace = `init runtime @0.066 ms, 0.044 ms clock, 0 bytes, 0 allocs
init github.com/gobwas/ws @9.8 ms, 0.11 ms clock, 53776 bytes, 130 allocs
init github.com/edgews/edgews/internal/deflate @8.7 ms, 0.19 ms clock, 10744 bytes, 57 allocs
init github.com/edgews/edgews @9.9 ms, 0.017 ms clock, 1256 bytes, 11 allocs
`
	if n, err := initAllocs(trace); n != 57+11 || err != nil {
		t.Errorf("%d allocations, %v", n, err)
	}
	if n, err := initAllocs("panic: init"); err == nil {
		t.Errorf("%d allocations in what is no trace", n)
	}
}
