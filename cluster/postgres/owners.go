package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/edgews/edgews/cluster"
	"github.com/jackc/pgx/v5"
)

const firstClaimStatement = `
INSERT INTO @.owners VALUES ($1, $2, $3, $4, nextval('@.changes'), pg_current_xact_id()) ON CONFLICT DO NOTHING`

const claimStatement = `
UPDATE @.owners SET (owner, incarnation, epoch, seq, tx) = ($2, $3, $4, nextval('@.changes'), pg_current_xact_id())
WHERE shard = $1 AND epoch = $5`

func (e *Engine) Claim(ctx context.Context, prev cluster.Ownership, to cluster.Member) (cluster.Ownership, error) {
	inner, leave, err := e.enter(ctx)
	if err != nil {
		return cluster.Ownership{}, err
	}
	defer leave()
	config, err := e.configFor(inner, e.pool, prev.Shard)
	if err != nil {
		return cluster.Ownership{}, e.explain(ctx, "Claim", err)
	}
	o := cluster.Ownership{
		Shard: prev.Shard, Owner: to.ID, Incarnation: to.Incarnation, Epoch: max(prev.Epoch+1, config.FirstEpoch()),
	}
	statement := firstClaimStatement
	args := []any{int(o.Shard), []byte(o.Owner), unsigned(o.Incarnation), unsigned(o.Epoch)}
	if prev.Epoch != 0 {
		statement = claimStatement
		args = append(args, unsigned(prev.Epoch))
	}
	done, err := e.pool.Exec(inner, e.sql.in(statement), args...)
	if err != nil {
		return cluster.Ownership{}, e.explain(ctx, "Claim", err)
	}
	if done.RowsAffected() > 0 {
		e.hint()
		return o, nil
	}
	// A record never gets an epoch back that it had, so what is there now has not the expected one either.
	present, err := e.owner(inner, prev.Shard)
	if err != nil {
		return cluster.Ownership{}, e.explain(ctx, "Claim", err)
	}
	return present, fmt.Errorf("%w: shard %d", cluster.ErrConflict, prev.Shard)
}

// owner returns the record of a shard, with epoch 0 if there is none.
func (e *Engine) owner(ctx context.Context, s cluster.Shard) (cluster.Ownership, error) {
	o, digits := cluster.Ownership{Shard: s}, make([]string, 2)
	var owner []byte
	err := e.pool.QueryRow(ctx, e.sql.in(`SELECT owner, incarnation::text, epoch::text FROM @.owners WHERE shard = $1`), int(s)).
		Scan(&owner, &digits[0], &digits[1])
	if errors.Is(err, pgx.ErrNoRows) {
		return o, nil
	}
	if err != nil {
		return o, err
	}
	o.Owner = string(owner)
	return o, parseUnsigned(digits, &o.Incarnation, &o.Epoch)
}
