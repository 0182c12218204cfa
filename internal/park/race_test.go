//go:build race

package park_test

// raceEnabled: the race detector makes sync.Pool drop at random, so that allocations cannot be counted.
const raceEnabled = true
