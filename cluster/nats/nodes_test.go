package edgewsnats_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/cluster"
)

// startNode starts a node with a connection of its own.
func startNode(t *testing.T, e cluster.Engine, id string) *cluster.Node {
	t.Helper()
	n, err := cluster.Start(t.Context(), cluster.Options{
		Engine: e, Self: cluster.Member{ID: id, Addr: id + ".example:7000"}, Config: cluster.Config{Shards: 16}, TTL: 15 * time.Second,
		Gained: func(context.Context, cluster.Ownership) {}, Losing: func(context.Context, cluster.Ownership) {},
		Lost: func(cluster.Ownership) {},
	})
	require.NoError(t, err)
	return n
}

// owned returns how many shards a node owns.
func owned(n *cluster.Node) (count int) {
	for s := range cluster.Shard(n.Config().Shards) {
		if _, ok := n.Owns(s); ok {
			count++
		}
	}
	return count
}

// awaitShards waits until the nodes own all shards together, and each of them one at least.
func awaitShards(t *testing.T, nodes ...*cluster.Node) {
	t.Helper()
	require.Eventually(t, func() bool {
		sum := 0
		for _, n := range nodes {
			count := owned(n)
			if sum += count; count == 0 {
				return false
			}
		}
		return sum == nodes[0].Config().Shards
	}, time.Minute, 10*time.Millisecond)
}

// Nodes share the shards, and those of one that leaves go to the other.
func TestNodes(t *testing.T) {
	o := options(t, sharedURLs(t))
	first, second := connect(t, o), connect(t, o)
	defer first.Close()
	defer second.Close()
	a := startNode(t, first, "a")
	awaitShards(t, a)
	b := startNode(t, second, "b")
	awaitShards(t, a, b)
	require.NoError(t, a.Leave(t.Context()))
	awaitShards(t, b)
	assert.NoError(t, a.Close())
	assert.NoError(t, b.Close())
}
