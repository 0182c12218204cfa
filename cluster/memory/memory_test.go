package memory_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/enginetest"
	"github.com/edgews/edgews/cluster/memory"
)

func TestEngine(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) enginetest.Connect {
		m := memory.New()
		t.Cleanup(func() { assert.NoError(t, m.Close()) })
		return func(*testing.T) cluster.Engine { return m.Connect() }
	})
}
