//go:build unix

package postgres_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews/cluster/postgres"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// with returns a connection string with a setting of the session.
func with(conn, setting string) string { return conn + "&" + setting }

func TestOpenRefusesSettingsThatLoseCommits(t *testing.T) {
	conn := database(t)
	for _, setting := range []string{
		"synchronous_commit=off", "synchronous_commit=local", "synchronous_commit=remote_write", "default_transaction_isolation=serializable",
	} {
		_, err := postgres.Open(t.Context(), with(conn, setting), &postgres.Options{Schema: newSchema()})
		require.ErrorIs(t, err, postgres.ErrSettings, setting)
		name, _, _ := strings.Cut(setting, "=")
		require.ErrorContains(t, err, name)
	}
	e, err := postgres.Open(t.Context(), with(conn, "synchronous_commit=remote_apply"), &postgres.Options{Schema: newSchema()})
	require.NoError(t, err)
	require.NoError(t, e.Close())
	require.NoError(t, e.Close(), "again")
}

func TestOpenRefusesOptions(t *testing.T) {
	for _, o := range []postgres.Options{{Schema: strings.Repeat("x", 64)}, {PollEvery: -1}, {CommitTimeout: -1}} {
		_, err := postgres.Open(t.Context(), "postgres:///", &o)
		require.ErrorContains(t, err, "Options.")
	}
	_, err := postgres.Open(t.Context(), "postgres://:x", nil)
	require.Error(t, err)
}

func TestOpenEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := postgres.Open(ctx, connTo(t.TempDir()), nil)
	require.Error(t, err)
}

func TestManyProcessesCreateTheTables(t *testing.T) {
	conn := database(t)
	for range 5 {
		schema := newSchema()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				e, err := postgres.Open(t.Context(), conn, &postgres.Options{Schema: schema})
				if assert.NoError(t, err) {
					assert.NoError(t, e.Close())
				}
			})
		}
		wg.Wait()
	}
}

func TestOpenRefusesTheTablesOfANewerVersion(t *testing.T) {
	conn, schema := database(t), newSchema()
	require.NoError(t, open(t, conn, schema).Close())
	_, err := query(t, conn).Exec(t.Context(), in(schema, `INSERT INTO @.layout VALUES (1000)`))
	require.NoError(t, err)
	_, err = postgres.Open(t.Context(), conn, &postgres.Options{Schema: schema})
	require.ErrorIs(t, err, postgres.ErrLayout)
}

// A role that may use the tables need not be allowed to create them.
func TestOpenNeedsNoRightToCreateTablesThatExist(t *testing.T) {
	conn := database(t)
	schema := newSchema()
	require.NoError(t, open(t, conn, schema).Close())
	c := query(t, conn)
	for _, statement := range []string{
		`CREATE ROLE edgews_user LOGIN`,
		`GRANT USAGE ON SCHEMA @ TO edgews_user`,
		`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA @ TO edgews_user`,
		`GRANT USAGE ON ALL SEQUENCES IN SCHEMA @ TO edgews_user`,
	} {
		_, err := c.Exec(t.Context(), in(schema, statement))
		require.NoError(t, err)
	}
	t.Cleanup(func() {
		c, err := pgx.Connect(context.Background(), conn)
		require.NoError(t, err)
		defer c.Close(context.Background())
		_, err = c.Exec(context.Background(), `DROP OWNED BY edgews_user; DROP ROLE edgews_user`)
		assert.NoError(t, err)
	})
	user := strings.Replace(conn, "user=edgews", "user=edgews_user", 1)
	e := openWith(t, user, &postgres.Options{Schema: schema})
	require.NoError(t, openObject(t, e, 1, 2).Commit(t.Context(), put("k", "v")))
	require.NoError(t, e.Join(t.Context(), member("a", 1, 1)))
	require.NoError(t, e.Remove(t.Context(), member("a", 1, 1)))

	_, err := postgres.Open(t.Context(), user, &postgres.Options{Schema: newSchema()})
	require.ErrorContains(t, err, "permission denied")
}
