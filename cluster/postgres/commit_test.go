//go:build unix

package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/postgres"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var testConfig = cluster.Config{Shards: 16, Generation: 1}

// openWith opens an engine that is closed at the end of the test.
func openWith(t testing.TB, conn string, opts *postgres.Options) *postgres.Engine {
	t.Helper()
	e, err := postgres.Open(t.Context(), conn, opts)
	require.NoError(t, err)
	t.Cleanup(func() { e.Close() })
	_, err = e.Setup(t.Context(), testConfig)
	require.NoError(t, err)
	return e
}

// query has a connection of its own to the database, which is closed at the end of the test.
func query(t testing.TB, conn string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), conn)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// in returns a statement with the schema in the place of @.
func in(schema, statement string) string {
	return strings.ReplaceAll(statement, "@", pgx.Identifier{schema}.Sanitize())
}

func key(t testing.TB, n int) edgews.ObjectKey {
	t.Helper()
	k := edgews.ObjectKey{Namespace: "room"}
	require.NoError(t, k.ID.UnmarshalText(fmt.Appendf(nil, "%064x", n)))
	return k
}

func openObject(t testing.TB, e *postgres.Engine, n int, epoch uint64) edgews.ObjectStore {
	t.Helper()
	o, err := e.Open(t.Context(), key(t, n), edgews.Fence{Epoch: epoch})
	require.NoError(t, err)
	return o
}

func put(key, value string) edgews.Batch {
	return edgews.Batch{Puts: []edgews.Entry{{Key: key, Value: []byte(value)}}}
}

// version returns the version of an object's head.
func version(t testing.TB, c *pgx.Conn, schema string, n int) (version int) {
	t.Helper()
	err := c.QueryRow(t.Context(), in(schema, `SELECT version FROM @.objects WHERE encode(id, 'hex') = $1`), fmt.Sprintf("%064x", n)).Scan(&version)
	require.NoError(t, err)
	return version
}

func TestLostConnectionsAreNoLostCommits(t *testing.T) {
	conn, schema := database(t), newSchema()
	p, c := startProxy(t, conn), query(t, conn)
	e := openWith(t, p.conn(), &postgres.Options{Schema: schema})
	const objects, rounds = 6, 30
	var wg sync.WaitGroup
	for n := range objects {
		o := openObject(t, e, n, 2)
		wg.Go(func() {
			for i := range rounds {
				what := []string{"request", "answer", "client", "nothing"}[rand.IntN(4)]
				value := fmt.Sprintf("lose-%s-%d", what, n*rounds+i)
				if !assert.NoError(t, o.Commit(t.Context(), put("k", value))) {
					return
				}
				got, err := o.Get(t.Context(), "k")
				if !assert.NoError(t, err) || !assert.Equal(t, value, string(got)) {
					return
				}
			}
		})
	}
	wg.Wait()
	for n := range objects {
		assert.Equal(t, 1+rounds, version(t, c, schema, n), "each commit has happened once")
	}
	assert.Greater(t, p.lost(), 0)
	t.Logf("of %d commits %d have lost a connection", objects*rounds, p.lost())
}

func TestAStatementThatIsExecutedLateDoesNotApplyTwice(t *testing.T) {
	conn, schema := database(t), newSchema()
	p, c := startProxy(t, conn), query(t, conn)
	e := openWith(t, p.conn(), &postgres.Options{Schema: schema, CommitTimeout: 4 * time.Minute})
	o := openObject(t, e, 1, 2)
	lock, err := query(t, conn).Begin(t.Context())
	require.NoError(t, err)
	_, err = lock.Exec(t.Context(), in(schema, `SELECT FROM @.objects FOR UPDATE`))
	require.NoError(t, err)

	committed := make(chan error, 1)
	go func() { committed <- o.Commit(t.Context(), put("k", "lose-client-1")) }()
	awaitWaiting(t, c, 2) // the first statement, whose client has gone, and the second one
	require.NoError(t, lock.Rollback(t.Context()))
	require.NoError(t, <-committed)
	awaitWaiting(t, c, 0)
	assert.Equal(t, 2, version(t, c, schema, 1))
	require.NoError(t, o.Commit(t.Context(), put("k", "next")))
}

// awaitWaiting waits until n statements or more for the heads of objects wait for a lock; with 0, until none does.
func awaitWaiting(t testing.TB, c *pgx.Conn, n int) {
	t.Helper()
	for {
		var waiting int
		err := c.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%.objects%'`).Scan(&waiting)
		require.NoError(t, err)
		if waiting == n || n > 0 && waiting > n {
			return
		}
		require.NoError(t, t.Context().Err())
	}
}

func TestAnUnknownCommitEndsTheStorage(t *testing.T) {
	conn, schema := database(t), newSchema()
	c := query(t, conn)
	e := openWith(t, conn, &postgres.Options{Schema: schema, CommitTimeout: 200 * time.Millisecond})
	o := openObject(t, e, 1, 2)
	lock, err := query(t, conn).Begin(t.Context())
	require.NoError(t, err)
	_, err = lock.Exec(t.Context(), in(schema, `SELECT FROM @.objects FOR UPDATE`))
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	committed := make(chan error, 1)
	go func() { committed <- o.Commit(ctx, put("k", "perhaps")) }()
	awaitWaiting(t, c, 1)
	cancel()
	err = <-committed
	require.ErrorContains(t, err, "unknown")
	require.NotErrorIs(t, err, edgews.ErrFenced)
	_, err = o.Get(t.Context(), "k")
	require.ErrorContains(t, err, "unknown")
	require.ErrorContains(t, o.Commit(t.Context(), put("k", "not any more")), "unknown")
	for _, err := range o.Scan(t.Context(), edgews.Range{}) {
		require.ErrorContains(t, err, "unknown")
	}

	require.NoError(t, lock.Rollback(t.Context()))
	again := openObject(t, e, 1, 2)
	opened := version(t, c, schema, 1)
	_, before := again.Get(t.Context(), "k")
	awaitWaiting(t, c, 0)
	assert.Equal(t, opened, version(t, c, schema, 1), "what was sent before Open is not executed after it")
	_, after := again.Get(t.Context(), "k")
	assert.Equal(t, before, after)
	require.NoError(t, again.Commit(t.Context(), put("k", "known")))
}

func TestACommitNeverCreatesAHead(t *testing.T) {
	conn, schema := database(t), newSchema()
	c := query(t, conn)
	e := openWith(t, conn, &postgres.Options{Schema: schema})
	o := openObject(t, e, 1, 2)
	_, err := c.Exec(t.Context(), in(schema, `DELETE FROM @.objects`))
	require.NoError(t, err)
	for range 2 {
		require.ErrorIs(t, o.Commit(t.Context(), put("k", "v")), edgews.ErrFenced)
	}
	var rows int
	require.NoError(t, c.QueryRow(t.Context(), in(schema, `SELECT (SELECT count(*) FROM @.objects) + (SELECT count(*) FROM @.entries)`)).Scan(&rows))
	assert.Zero(t, rows)
}

func TestADatabaseThatHasGoneBackRefusesTheOwner(t *testing.T) {
	conn := database(t)
	for name, change := range map[string]string{"epoch": `epoch = 1`, "version": `version = version - 1`} {
		t.Run(name, func(t *testing.T) {
			schema := newSchema()
			c := query(t, conn)
			e := openWith(t, conn, &postgres.Options{Schema: schema})
			o := openObject(t, e, 1, 2)
			require.NoError(t, o.Commit(t.Context(), put("k", "v")))
			_, err := c.Exec(t.Context(), in(schema, `UPDATE @.objects SET nonce = 'earlier', `+change))
			require.NoError(t, err)
			for range 2 {
				err := o.Commit(t.Context(), put("k", "w"))
				require.ErrorIs(t, err, edgews.ErrFenced)
				require.ErrorContains(t, err, "earlier state")
			}
			require.NoError(t, openObject(t, e, 1, 2).Commit(t.Context(), put("k", "x")))
		})
	}
}

func TestCommitsSurviveACrashOfTheServer(t *testing.T) {
	s := ownServer(t)
	e := openWith(t, s.conn(), &postgres.Options{CommitTimeout: 4 * time.Minute})
	const objects, crashes = 4, 2
	stop := make(chan struct{})
	acknowledged := make([]int, objects)
	begun := make(chan struct{}, objects)
	var wg sync.WaitGroup
	for n := range objects {
		o := openObject(t, e, n, 2)
		wg.Go(func() {
			for i := 1; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if !assert.NoError(t, o.Commit(context.Background(), put("k", fmt.Sprint(i)))) {
					return
				}
				acknowledged[n] = i
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		})
	}
	for range crashes {
		<-begun
		s.crash()
		require.NoError(t, s.start())
		for range objects {
			<-begun
		}
	}
	close(stop)
	wg.Wait()
	c := query(t, s.conn())
	for n := range objects {
		o := openObject(t, e, n, 2)
		value, err := o.Get(t.Context(), "k")
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprint(acknowledged[n]), string(value))
		assert.Equal(t, acknowledged[n]+2, version(t, c, "edgews", n), "each commit has happened once")
	}
	t.Logf("%v commits", acknowledged)
}
