package cluster_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/memory"
)

// loneNode starts a node outside a bubble, and waits until it owns all shards.
func loneNode(t testing.TB, config cluster.Config) *cluster.Node {
	m := memory.New()
	n, err := cluster.Start(t.Context(), cluster.Options{
		Engine: m.Connect(), Self: cluster.Member{ID: "a"}, Config: config, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		n.Close()
		m.Close()
	})
	awaitShards(n)
	return n
}

func awaitShards(n *cluster.Node) {
	for s := 0; s < n.Config().Shards; {
		changed := n.Changed()
		if _, owns := n.Owns(cluster.Shard(s)); owns {
			s++
			continue
		}
		<-changed
	}
}

// What is asked for each message allocates nothing.
func TestLookupsDoNotAllocate(t *testing.T) {
	n := loneNode(t, cluster.Config{})
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		n.Owner(7)
		n.Owns(7)
		n.Fenced()
	}))
}

func BenchmarkOwner(b *testing.B) {
	n := loneNode(b, cluster.Config{})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n.Owner(7)
		}
	})
}

func BenchmarkOwns(b *testing.B) {
	n := loneNode(b, cluster.Config{})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n.Owns(7)
		}
	})
}

func BenchmarkShardOf(b *testing.B) {
	var k edgews.ObjectKey
	require.NoError(b, k.ID.UnmarshalText(fmt.Appendf(nil, "%064x", 1)))
	for b.Loop() {
		cluster.ShardOf(k, 1024)
	}
}

// BenchmarkClaims starts a node that claims 1024 shards. The engine takes no time.
func BenchmarkClaims(b *testing.B) {
	for b.Loop() {
		n := loneNode(b, cluster.Config{})
		b.StopTimer()
		n.Close()
		b.StartTimer()
	}
	b.ReportMetric(1024*float64(b.N)/b.Elapsed().Seconds(), "claims/s")
}

// BenchmarkHandovers has a second node join, which gets about half of 1024 shards, and leave again.
func BenchmarkHandovers(b *testing.B) {
	m := memory.New()
	quiet := slog.New(slog.DiscardHandler)
	var handovers atomic.Int64
	losing := func(context.Context, cluster.Ownership) { handovers.Add(1) }
	start := func(id string) *cluster.Node {
		n, err := cluster.Start(b.Context(), cluster.Options{Engine: m.Connect(), Self: cluster.Member{ID: id}, Logger: quiet, Losing: losing})
		require.NoError(b, err)
		return n
	}
	first := start("a")
	defer m.Close()
	defer first.Close()
	awaitShards(first)
	for b.Loop() {
		require.NoError(b, start("b").Leave(b.Context()))
		awaitShards(first)
	}
	b.ReportMetric(float64(handovers.Load())/b.Elapsed().Seconds(), "handovers/s")
}

// BenchmarkInfo describes a cluster of 1024 shards, as inspectors and metrics ask for it.
func BenchmarkInfo(b *testing.B) {
	n := loneNode(b, cluster.Config{})
	b.ReportAllocs()
	for b.Loop() {
		n.Describe()
	}
}
