//go:build race

package conformance

// raceEnabled reports whether the race detector is on, which slows the tests down.
const raceEnabled = true
