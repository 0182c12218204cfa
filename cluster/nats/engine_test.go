package edgewsnats_test

import (
	"testing"

	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/enginetest"
)

// Three servers, and three copies of everything.
func TestEngine(t *testing.T) {
	urls := sharedURLs(t)
	enginetest.Run(t, func(t *testing.T) enginetest.Connect {
		o := options(t, urls)
		return func(t *testing.T) cluster.Engine { return connect(t, o) }
	})
}
