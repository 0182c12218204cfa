//go:build unix

package postgres_test

import (
	"context"
	"testing"

	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/enginetest"
	"github.com/edgews/edgews/cluster/postgres"
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
