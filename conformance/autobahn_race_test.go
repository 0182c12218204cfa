//go:build race

package conformance

// raceEnabled says whether the race detector slows everything down.
const raceEnabled = true
