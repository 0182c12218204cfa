//go:build race

package cluster_test

// raceEnabled: the race detector makes connections slow and large.
const raceEnabled = true
