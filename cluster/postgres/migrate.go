package postgres

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// migrations lead from each layout of the tables to the next. A migration that has been released is never changed.
//
// Names and keys are bytea, since they may be any bytes. Numbers that use all 64 bits without a sign are numeric.
//
// seq and tx of members and owners are for Watch: seq grows with each change, in the order of the contract, and tx is the transaction that
// has made the last change. seq of a transaction that commits late is smaller than others that have been seen, so seq alone does not say what
// is new; tx does.
var migrations = []string{`
CREATE TABLE @.config (
	one        boolean PRIMARY KEY DEFAULT true CHECK (one), -- there is one row
	shards     integer NOT NULL,
	generation bigint NOT NULL
);

CREATE SEQUENCE @.changes CACHE 1; -- a session that reserves some would use them out of order

CREATE TABLE @.members (
	id          bytea PRIMARY KEY,
	incarnation numeric(20) NOT NULL,
	beat        numeric(20) NOT NULL,
	ttl         bigint NOT NULL, -- nanoseconds
	addr        bytea NOT NULL,
	version_min integer NOT NULL,
	version_max integer NOT NULL,
	edge_only   boolean NOT NULL,
	leaving     boolean NOT NULL,
	gone        boolean NOT NULL, -- it has been removed; the row is there for Watch
	seq         bigint NOT NULL,
	tx          xid8 NOT NULL
) WITH (fillfactor = 50); -- each renewal replaces a row

CREATE TABLE @.owners (
	shard       integer PRIMARY KEY,
	owner       bytea NOT NULL,
	incarnation numeric(20) NOT NULL,
	epoch       numeric(20) NOT NULL,
	seq         bigint NOT NULL,
	tx          xid8 NOT NULL
);
CREATE INDEX ON @.owners (tx);

CREATE TABLE @.objects ( -- the heads: a commit changes the row if it still has the epoch and the version that it expects
	object    bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	namespace bytea NOT NULL,
	id        bytea NOT NULL,
	epoch     numeric(20) NOT NULL,
	version   bigint NOT NULL, -- grows with each commit, and each time that the object is opened
	nonce     bytea NOT NULL,  -- of the last commit
	UNIQUE (namespace, id)
) WITH (fillfactor = 70); -- each commit replaces a row

CREATE TABLE @.entries (
	object bigint NOT NULL,
	key    bytea NOT NULL,
	value  bytea NOT NULL,
	PRIMARY KEY (object, key)
);

CREATE TABLE @.alarms (
	object    bigint PRIMARY KEY,
	namespace bytea NOT NULL,
	id        bytea NOT NULL,
	shard     integer NOT NULL,
	due       bigint NOT NULL -- milliseconds since 1970
);
CREATE INDEX ON @.alarms (namespace, due, id);
CREATE INDEX ON @.alarms (namespace, shard, due, id);
`}

// migrate creates the tables, or brings them to the present layout. A process that needs no change needs no right to make one.
func (e *Engine) migrate(ctx context.Context) error {
	version, err := e.layout(ctx, e.pool)
	if err == nil && version < len(migrations) {
		err = pgx.BeginFunc(ctx, e.pool, func(tx pgx.Tx) error { return e.migrateLocked(ctx, tx) })
	}
	if err != nil {
		return fmt.Errorf("edgews: PostgreSQL: tables of schema %s: %w", e.sql.schema, err)
	}
	return nil
}

// querier is a pool, a connection or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// layout returns the number of migrations that have been made.
func (e *Engine) layout(ctx context.Context, q querier) (version int, err error) {
	err = q.QueryRow(ctx, e.sql.in(`SELECT coalesce(max(version), 0) FROM @.layout`)).Scan(&version)
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused) && (refused.Code == undefinedTable || refused.Code == invalidSchema):
		return 0, nil
	case err == nil && version > len(migrations):
		return 0, fmt.Errorf("%w: %d, and this version knows those up to %d", ErrLayout, version, len(migrations))
	}
	return version, err
}

const (
	undefinedTable = "42P01"
	invalidSchema  = "3F000"
)

// migrateLocked makes the migrations that are missing, in a transaction. The lock ends with it. Others that start at the same time wait
// for it, and then find nothing to do.
func (e *Engine) migrateLocked(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, e.lockKey()); err != nil {
		return err
	}
	var exists bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)`, e.opts.Schema).Scan(&exists); err != nil {
		return err
	}
	if !exists { // IF NOT EXISTS alone would need the right to create it
		if _, err := tx.Exec(ctx, e.sql.in(`CREATE SCHEMA IF NOT EXISTS @`)); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, e.sql.in(`CREATE TABLE IF NOT EXISTS @.layout (version integer PRIMARY KEY)`)); err != nil {
		return err
	}
	version, err := e.layout(ctx, tx)
	if err != nil {
		return err
	}
	for ; version < len(migrations); version++ {
		if _, err := tx.Exec(ctx, e.sql.in(migrations[version])); err != nil {
			return fmt.Errorf("migration %d: %w", version+1, err)
		}
		if _, err := tx.Exec(ctx, e.sql.in(`INSERT INTO @.layout VALUES ($1)`), version+1); err != nil {
			return err
		}
	}
	return nil
}

// lockKey returns the key of the advisory lock for migrations of this schema.
func (e *Engine) lockKey() int64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "edgews migration of %s", e.opts.Schema)
	return int64(h.Sum64())
}
