package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/edgews/edgews/cluster"
	"github.com/jackc/pgx/v5"
)

var (
	errOtherServer = errors.New("edgews: PostgreSQL: the server has been started again, or is another one")
	errMissed      = errors.New("edgews: PostgreSQL: more members have been removed than the server remembers")
)

// pollStatement selects what has changed since the snapshot $1, or everything if it is NULL, and the present snapshot. As it is one
// statement, it sees exactly the transactions of the present snapshot.
//
// This keeps the order of the contract, and no change waits for another one. If a change A was acknowledged before a change B began, then each
// snapshot that has B has A too, so no earlier poll shows B; and in one poll A is shown first, since its seq is smaller. Sequences
// alone would not do: a transaction with a smaller seq may become visible after one with a larger seq.
const pollStatement = `
WITH present AS (
	SELECT pg_current_snapshot()::text AS snapshot, pg_postmaster_start_time()::text AS started, (SELECT count(*) FROM @.members WHERE NOT gone) AS members
), changed AS (
	SELECT seq, id, NULL::int AS shard, incarnation, beat AS number, ttl, addr, version_min, version_max, edge_only, leaving, gone
	FROM @.members WHERE $1::pg_snapshot IS NULL AND NOT gone OR NOT pg_visible_in_snapshot(tx, $1::pg_snapshot)
	UNION ALL
	SELECT seq, owner, shard, incarnation, epoch, 0, '', 0, 0, false, false, false
	FROM @.owners WHERE $1::pg_snapshot IS NULL OR tx >= pg_snapshot_xmin($1::pg_snapshot) AND NOT pg_visible_in_snapshot(tx, $1::pg_snapshot)
)
SELECT snapshot, started, members, seq, id, shard, incarnation::text, number::text, ttl, addr, version_min, version_max, edge_only, leaving, gone
FROM present LEFT JOIN changed ON true ORDER BY seq`

// watch is a call of Watch.
type watch struct {
	e        *Engine
	conn     *pgx.Conn
	fn       func(cluster.Change)
	snapshot *string             // what has been shown; nil: nothing
	started  string              // when the server was started
	members  map[string]struct{} // the IDs that have been shown
}

// Watch has a connection of its own. It ends when that does: the server that the next one reaches may have lost transactions in a failover.
func (e *Engine) Watch(ctx context.Context, fn func(cluster.Change)) error {
	inner, leave, err := e.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	conn, err := pgx.ConnectConfig(inner, e.pool.Config().ConnConfig)
	if err != nil {
		return e.explain(ctx, "Watch", err)
	}
	defer conn.Close(context.WithoutCancel(inner)) // it has a timeout of its own
	w := &watch{e: e, conn: conn, fn: fn, members: make(map[string]struct{})}
	return e.explain(ctx, "Watch", w.run(inner))
}

func (w *watch) run(ctx context.Context) error {
	if err := checkSettings(ctx, w.conn); err != nil {
		return err
	}
	// Before the first poll, so that no change is without a notification. Where a pooler drops it, there are the polls.
	if _, err := w.conn.Exec(ctx, "LISTEN "+w.e.sql.schema); err != nil {
		return err
	}
	for first := true; ; first = false {
		if err := w.poll(ctx); err != nil {
			return err
		}
		if first {
			w.fn(cluster.Change{Synced: true})
		}
		if err := w.awaitNext(ctx); err != nil {
			return err
		}
	}
}

// awaitNext waits for a notification, at most for PollEvery.
func (w *watch) awaitNext(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, w.e.opts.PollEvery)
	defer cancel()
	_, err := w.conn.WaitForNotification(wait)
	if err != nil && ctx.Err() == nil && wait.Err() != nil {
		return nil
	}
	return err
}

// poll shows what has changed.
func (w *watch) poll(ctx context.Context) error {
	rows, err := w.query(ctx)
	if err != nil {
		return err
	}
	present := rows[0]
	if w.snapshot != nil && present.started != w.started {
		return errOtherServer
	}
	w.snapshot, w.started = &present.snapshot, present.started
	for _, row := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		if row.seq != nil {
			w.show(row.change)
		}
	}
	if len(w.members) != present.members {
		return errMissed
	}
	return nil
}

// query returns all rows, of which there is at least one: fn may be slow, and the server should not wait for it.
func (w *watch) query(ctx context.Context) ([]polled, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	rows, err := w.conn.Query(ctx, w.e.sql.in(pollStatement), w.snapshot)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanPolled)
}

func (w *watch) show(c cluster.Change) {
	if m := c.Member; m != nil {
		if c.Gone {
			delete(w.members, m.ID)
		} else {
			w.members[m.ID] = struct{}{}
		}
	}
	w.fn(c)
}

// polled is a row of pollStatement.
type polled struct {
	snapshot, started string
	members           int    // how many there are
	seq               *int64 // nil: there is no change, and the row is there for the fields above only
	change            cluster.Change
}

func scanPolled(row pgx.CollectableRow) (p polled, err error) {
	var id, addr []byte
	var shard *int
	var incarnation, number *string
	var ttl *int64
	var versionMin, versionMax *uint16
	var edgeOnly, leaving, gone *bool
	err = row.Scan(&p.snapshot, &p.started, &p.members, &p.seq, &id, &shard, &incarnation, &number, &ttl, &addr,
		&versionMin, &versionMax, &edgeOnly, &leaving, &gone)
	if err != nil || p.seq == nil {
		return p, err
	}
	digits := []string{*incarnation, *number}
	if shard != nil {
		o := &cluster.Ownership{Shard: cluster.Shard(*shard), Owner: string(id)}
		p.change.Ownership = o
		return p, parseUnsigned(digits, &o.Incarnation, &o.Epoch)
	}
	m := &cluster.Member{
		ID: string(id), TTL: time.Duration(*ttl), Addr: string(addr), Versions: [2]uint16{*versionMin, *versionMax},
		EdgeOnly: *edgeOnly, Leaving: *leaving,
	}
	p.change.Member, p.change.Gone = m, *gone
	return p, parseUnsigned(digits, &m.Incarnation, &m.Beat)
}
