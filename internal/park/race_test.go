//go:build race

package park_test

// raceEnabled says whether the race detector is on: sync.Pool then drops values at random, so allocations cannot be counted.
const raceEnabled = true
