package faultrun

import "testing"

// Test runs all faults that need no access to the servers of the engine.
func Test(t *testing.T, e Engine) {
	table := new(Table)
	t.Run("kill", func(t *testing.T) { testKill(t, e, table) })
	t.Run("stop", func(t *testing.T) { testStop(t, e, table) })
	t.Run("cut", func(t *testing.T) { testPartition(t, e, table) })
	table.Log(t)
}
