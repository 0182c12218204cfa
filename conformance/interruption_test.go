package conformance_test

import (
	"runtime"
	"runtime/debug"
	"time"
)

// In JavaScript nothing interrupts a turn. In Go the library's goroutines work during a turn of a replay too: they hold back the listeners,
// but the state of a socket may change. On one processor a goroutine that does not block is interrupted for two reasons only: by a
// garbage collection, and when it has run for interruptAfter of real time, even if the machine had no processor for the process meanwhile.

// interruptAfter is after how long Go's scheduler interrupts a goroutine if others can run (forcePreemptNS in package runtime).
const interruptAfter = 10 * time.Millisecond

// playInterrupted is how often a scenario is replayed that differs from the recording each time, if each replay may have been interrupted.
const playInterrupted = 10

// playInTurns calls play without parallelism and garbage collections. It reports whether no turn can have been interrupted.
func playInTurns(play func()) (uninterrupted bool) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	runtime.GC()      // ends one that has begun
	runtime.Gosched() // begins a new slice of time
	start := time.Now()
	play()
	return time.Since(start) < interruptAfter
}
