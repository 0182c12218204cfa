package faultrun

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/memory"
)

// memoryEngine is the engine of runs whose nodes are in the process of the test.
func memoryEngine(t *testing.T) Engine {
	m := memory.New()
	t.Cleanup(func() { m.Close() })
	return Engine{
		Connect: func(context.Context, string) (cluster.Engine, error) { return m.Connect(), nil }, TTL: time.Second, InProcess: true,
		Servers: func(*testing.T) ([]net.Addr, func([]net.Addr) string) {
			return nil, func([]net.Addr) string { return "" }
		},
	}
}

// A node that does not see that it is no home any more is kept out by the fence of the storage.
func TestZombieIsFenced(t *testing.T) { zombieIsFenced(t, memoryEngine(t), new(Table)) }

// Without that fence the checker finds it.
func TestZombieIsFound(t *testing.T) { zombieIsFound(t, memoryEngine(t)) }

// Links are cut and break.
func TestLinksAreCut(t *testing.T) { cutLinks(t, memoryEngine(t), new(Table)) }

// A node sees nothing while another one dies and a third one leaves.
func TestStaleView(t *testing.T) { staleView(t, memoryEngine(t), new(Table)) }
