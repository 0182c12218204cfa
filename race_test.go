//go:build race

package edgews_test

const raceEnabled = true
