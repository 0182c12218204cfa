package postgres

import (
	"context"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/jackc/pgx/v5"
)

// dueMillis returns the stored time of an alarm: a whole millisecond, and not before t.
func dueMillis(t time.Time) int64 {
	ms := t.UnixMilli() // rounds down, also before 1970
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		ms++
	}
	return ms
}

func (e *Engine) DueAlarms(ctx context.Context, namespace string, until time.Time, limit int) ([]edgews.DueAlarm, error) {
	inner, leave, err := e.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	due, err := e.due(inner, `SELECT id, due FROM @.alarms WHERE namespace = $1 AND due <= $2 ORDER BY due, id LIMIT $3`,
		[]byte(namespace), until.UnixMilli(), max(limit, 0))
	return due, e.explain(ctx, "DueAlarms", err)
}

func (e *Engine) DueShardAlarms(
	ctx context.Context, namespace string, s cluster.Shard, until time.Time, limit int,
) ([]edgews.DueAlarm, error) {
	inner, leave, err := e.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := e.insist(inner, func(ctx context.Context, db database) error { _, err := e.configFor(ctx, db, s); return err }); err != nil {
		return nil, e.explain(ctx, "DueShardAlarms", err)
	}
	due, err := e.due(inner, `SELECT id, due FROM @.alarms WHERE namespace = $1 AND shard = $2 AND due <= $3 ORDER BY due, id LIMIT $4`,
		[]byte(namespace), int(s), until.UnixMilli(), max(limit, 0))
	return due, e.explain(ctx, "DueShardAlarms", err)
}

func (e *Engine) due(ctx context.Context, statement string, args ...any) (due []edgews.DueAlarm, err error) {
	err = e.insist(ctx, func(ctx context.Context, db database) error {
		rows, err := db.Query(ctx, e.sql.in(statement), args...)
		if err != nil {
			return err
		}
		due, err = pgx.CollectRows(rows, scanAlarm)
		return err
	})
	return due, err
}

func scanAlarm(row pgx.CollectableRow) (a edgews.DueAlarm, err error) {
	var id []byte
	var due int64
	if err := row.Scan(&id, &due); err != nil {
		return a, err
	}
	a.Time = time.UnixMilli(due)
	a.ID, err = parseID(id)
	return a, err
}
