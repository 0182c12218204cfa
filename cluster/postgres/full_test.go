//go:build unix

package postgres_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"testing"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/storetest"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// The full disk is a limit for the size of the server's files: one has all values of a schema, which are stored as they are, outside of their rows.
func TestStoreIsFull(t *testing.T) {
	s, err := newLimitedServer(programsOrSkip(t), 4<<20)
	require.NoError(t, err)
	t.Cleanup(s.remove)
	storetest.RunFull(t, func(t *testing.T, dir string) edgews.Store {
		h := fnv.New64a()
		h.Write([]byte(dir))
		schema := fmt.Sprintf("folder %x", h.Sum64())
		e := open(t, s.conn(), schema)
		_, err := e.Setup(context.Background(), testConfig)
		require.NoError(t, err)
		_, err = query(t, s.conn()).Exec(context.Background(),
			"ALTER TABLE "+pgx.Identifier{schema, "entries"}.Sanitize()+" ALTER COLUMN value SET STORAGE EXTERNAL")
		require.NoError(t, err)
		return e
	})
}
