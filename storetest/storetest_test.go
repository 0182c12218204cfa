package storetest_test

import (
	"testing"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/storetest"
)

func TestMemoryStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) edgews.Store { return edgews.NewMemoryStore() })
}
