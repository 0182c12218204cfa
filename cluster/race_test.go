//go:build race

package cluster_test

// underRace: the race detector makes connections slow and large.
const underRace = true
