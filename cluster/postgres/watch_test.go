//go:build unix

package postgres_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/postgres"
	"github.com/stretchr/testify/require"
)

func member(id string, incarnation, beat uint64) cluster.Member {
	return cluster.Member{ID: id, Incarnation: incarnation, Beat: beat, TTL: time.Second, Addr: id + ".example:7000", Versions: [2]uint16{1, 1}}
}

// watching is a Watch under way.
type watching struct {
	t       *testing.T
	changes chan cluster.Change
	ended   chan error
}

// watch begins a Watch that ends with the test. All changes must be taken.
func watch(t *testing.T, e cluster.Engine) *watching {
	t.Helper()
	w := &watching{t, make(chan cluster.Change, 10_000), make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { w.ended <- e.Watch(ctx, func(c cluster.Change) { w.changes <- c }) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return w
}

// next returns the next change.
func (w *watching) next() cluster.Change {
	w.t.Helper()
	select {
	case c := <-w.changes:
		return c
	case err := <-w.ended:
		w.t.Fatalf("Watch has ended: %v", err)
	case <-w.t.Context().Done():
		w.t.Fatal("the test is over")
	}
	panic("not reached")
}

func (w *watching) wantMember(m cluster.Member, gone bool) {
	w.t.Helper()
	c := w.next()
	require.NotNil(w.t, c.Member, "%+v", c)
	require.Equal(w.t, m, *c.Member)
	require.Equal(w.t, gone, c.Gone)
}

// The changes of other sessions are made without notifications here, so polls alone must find them.
func TestWatchFindsWhatBecomesVisibleOutOfOrder(t *testing.T) {
	conn, schema := database(t), newSchema()
	e := openWith(t, conn, &postgres.Options{Schema: schema, PollEvery: 10 * time.Millisecond})
	w := watch(t, e)
	require.True(t, w.next().Synced)

	// The first change gets its number, and is committed after the second one has been shown.
	first, err := query(t, conn).Begin(t.Context())
	require.NoError(t, err)
	a := member("a", 1, 1)
	_, err = first.Exec(t.Context(), in(schema, `INSERT INTO @.members
		VALUES ('a', 1, 1, 1000000000, 'a.example:7000', 1, 1, false, false, false, nextval('@.changes'), pg_current_xact_id())`))
	require.NoError(t, err)
	b := member("b", 1, 1)
	require.NoError(t, e.Join(t.Context(), b))
	w.wantMember(b, false)
	require.NoError(t, first.Commit(t.Context()))
	w.wantMember(a, false)

	// Many changes in one poll are shown in their order.
	at, err := query(t, conn).Begin(t.Context())
	require.NoError(t, err)
	_, err = at.Exec(t.Context(), in(schema, `
		UPDATE @.members SET gone = true, seq = nextval('@.changes'), tx = pg_current_xact_id() WHERE id = 'b'`))
	require.NoError(t, err)
	_, err = at.Exec(t.Context(), in(schema, `INSERT INTO @.owners VALUES (3, 'a', 1, 7, nextval('@.changes'), pg_current_xact_id())`))
	require.NoError(t, err)
	_, err = at.Exec(t.Context(), in(schema, `UPDATE @.members SET beat = 2, seq = nextval('@.changes'), tx = pg_current_xact_id() WHERE id = 'a'`))
	require.NoError(t, err)
	require.NoError(t, at.Commit(t.Context()))
	w.wantMember(b, true)
	require.Equal(t, cluster.Ownership{Shard: 3, Owner: "a", Incarnation: 1, Epoch: 7}, *w.next().Ownership)
	a.Beat = 2
	w.wantMember(a, false)
}

func TestWatchEndsWhenItHasMissedARemoval(t *testing.T) {
	conn, schema := database(t), newSchema()
	e := openWith(t, conn, &postgres.Options{Schema: schema, PollEvery: 10 * time.Millisecond})
	require.NoError(t, e.Join(t.Context(), member("a", 1, 1)))
	w := watch(t, e)
	w.wantMember(member("a", 1, 1), false)
	require.True(t, w.next().Synced)
	_, err := query(t, conn).Exec(t.Context(), in(schema, `DELETE FROM @.members`)) // as if very many had been removed after it
	require.NoError(t, err)
	require.ErrorContains(t, <-w.ended, "more members have been removed")
	w = watch(t, e)
	require.True(t, w.next().Synced)
}

func TestRemovedMembersAreForgotten(t *testing.T) {
	conn, schema := database(t), newSchema()
	c := query(t, conn)
	e := openWith(t, conn, &postgres.Options{Schema: schema})
	_, err := c.Exec(t.Context(), in(schema, `INSERT INTO @.members SELECT convert_to('gone ' || n, 'UTF8'), 1, 1, 0, '', 1, 1, false, false, true,
		nextval('@.changes'), pg_current_xact_id() FROM generate_series(1, 1500) n`))
	require.NoError(t, err)
	m := member("a", 1, 1)
	require.NoError(t, e.Join(t.Context(), m))
	require.NoError(t, e.Remove(t.Context(), m))
	var rows, last int
	err = c.QueryRow(t.Context(), in(schema, `SELECT count(*), count(*) FILTER (WHERE id = 'a') FROM @.members`)).Scan(&rows, &last)
	require.NoError(t, err)
	require.Equal(t, 1000, rows)
	require.Equal(t, 1, last)
}

func TestWatchEndsWhenTheServerDoes(t *testing.T) {
	s := ownServer(t)
	e := openWith(t, s.conn(), nil)
	m := member("a", 1, 1)
	require.NoError(t, e.Join(t.Context(), m))
	w := watch(t, e)
	w.wantMember(m, false)
	require.True(t, w.next().Synced)
	s.crash()
	require.Error(t, <-w.ended)
	require.NoError(t, s.start())
	w = watch(t, e)
	w.wantMember(m, false)
	require.True(t, w.next().Synced)
}
