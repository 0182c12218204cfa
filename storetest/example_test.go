package storetest_test

import (
	"testing"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/storetest"
)

// The test of a storage engine, here of the one in memory. An engine that keeps its entries in files passes RunDurable and RunFull too.
func ExampleRun() {
	_ = func(t *testing.T) { // TestStore
		storetest.Run(t, func(t *testing.T) edgews.Store { return edgews.NewMemoryStore() })
	}
}
