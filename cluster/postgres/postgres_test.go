//go:build unix

package postgres_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/enginetest"
	"github.com/edgews/edgews/cluster/postgres"
	"github.com/edgews/edgews/storetest"
	"github.com/stretchr/testify/require"
)

// open opens an engine, which the test closes.
func open(t testing.TB, conn, schema string) *postgres.Engine {
	t.Helper()
	e, err := postgres.Open(context.Background(), conn, &postgres.Options{Schema: schema})
	require.NoError(t, err)
	return e
}

func TestEngine(t *testing.T) {
	conn := database(t)
	enginetest.Run(t, func(t *testing.T) enginetest.Connect {
		schema := newSchema()
		return func(t *testing.T) cluster.Engine { return open(t, conn, schema) }
	})
}

// The processes that the test kills use the same server.
func TestStoreIsDurable(t *testing.T) {
	conn := database(t)
	t.Setenv(serverVariable, conn)
	storetest.RunDurable(t, func(t *testing.T, dir string) edgews.Store {
		h := fnv.New64a()
		h.Write([]byte(dir))
		e := open(t, conn, fmt.Sprintf("folder %x", h.Sum64()))
		_, err := e.Setup(context.Background(), testConfig)
		require.NoError(t, err)
		return e
	})
}

func TestNodesShareTheShards(t *testing.T) {
	conn, schema := database(t), newSchema()
	nodes := make(map[string]*cluster.Node)
	for _, id := range []string{"a", "b", "c"} {
		n, err := cluster.Start(t.Context(), cluster.Options{
			Engine: openWith(t, conn, &postgres.Options{Schema: schema}),
			Self:   cluster.Member{ID: id, Addr: id + ".example:7000"},
			TTL:    time.Minute, // a slow machine does not end it
			Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		t.Cleanup(func() { n.Close() })
		nodes[id] = n
	}
	awaitOwners(t, nodes, "a", "b", "c")
	require.NoError(t, nodes["a"].Leave(t.Context()))
	delete(nodes, "a")
	awaitOwners(t, nodes, "b", "c")
}

// awaitOwners waits until each node knows owners for all shards, which are all the members with these IDs and no others.
func awaitOwners(t *testing.T, nodes map[string]*cluster.Node, ids ...string) {
	t.Helper()
	for _, n := range nodes {
		for {
			changed := n.Changed()
			owners := make(map[string]bool)
			for s := range cluster.Shard(n.Config().Shards) {
				_, m, _ := n.Owner(s)
				owners[m.ID] = true // "" if there is none
			}
			complete := len(owners) == len(ids)
			for _, id := range ids {
				complete = complete && owners[id]
			}
			if complete {
				break
			}
			select {
			case <-changed:
			case <-t.Context().Done():
				t.Fatalf("the owners are %v, want %v", owners, ids)
			}
		}
	}
}
