//go:build race

package deflate

// raceEnabled: the race detector makes sync.Pool drop at random, so that allocations cannot be counted.
const raceEnabled = true
