//go:build race

package deflate

// raceEnabled: with the race detector sync.Pool drops items at random, so that allocations cannot be counted.
const raceEnabled = true
