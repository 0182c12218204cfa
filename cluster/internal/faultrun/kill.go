package faultrun

import (
	"testing"
	"time"
)

// Test runs all faults that need no access to the servers of the engine.
func Test(t *testing.T, e Engine) {
	t.Run("kill idle home", func(t *testing.T) { killIdle(t, e) })
}

// killIdle kills a home none of whose objects is handling anything.
func killIdle(t *testing.T, e Engine) {
	r := NewRun(t, e, Options{})
	a, b, c := r.StartThree(nil)
	r.Guests(a)
	r.Begin(b, c)
	r.Kill(a)
	t.Logf("worst pause of a socket: %v", r.AwaitPast().Round(time.Millisecond))
	r.End()
}
