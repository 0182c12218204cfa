//go:build !race

package edgewsotel_test

const raceEnabled = false
