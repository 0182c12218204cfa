package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/edgews/edgews/cluster"
	"github.com/jackc/pgx/v5"
)

// errNoConfig: the shard of an object depends on the number of shards, which Setup stores.
var errNoConfig = errors.New("edgews: PostgreSQL: the cluster has not been set up")

func (e *Engine) Setup(ctx context.Context, c cluster.Config) (cluster.Config, error) {
	inner, leave, err := e.enter(ctx)
	if err != nil {
		return cluster.Config{}, err
	}
	defer leave()
	if err := c.Validate(); err != nil {
		return cluster.Config{}, err
	}
	_, err = e.pool.Exec(inner, e.sql.in(`INSERT INTO @.config (shards, generation) VALUES ($1, $2) ON CONFLICT DO NOTHING`),
		c.Shards, int64(c.Generation))
	if err == nil {
		c, err = e.loadConfig(inner, e.pool)
	}
	return c, e.explain(ctx, "Setup", err)
}

// loadConfig reads the configuration that is stored.
func (e *Engine) loadConfig(ctx context.Context, db querier) (c cluster.Config, err error) {
	var generation int64
	err = db.QueryRow(ctx, e.sql.in(`SELECT shards, generation FROM @.config`)).Scan(&c.Shards, &generation)
	if errors.Is(err, pgx.ErrNoRows) {
		return c, errNoConfig
	}
	if err != nil {
		return c, err
	}
	c.Generation = uint64(generation)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.config = c
	return c, nil
}

// knownConfig returns the configuration, which never changes.
func (e *Engine) knownConfig(ctx context.Context, db querier) (cluster.Config, error) {
	e.mu.Lock()
	c := e.config
	e.mu.Unlock()
	if c.Shards != 0 {
		return c, nil
	}
	return e.loadConfig(ctx, db)
}

// configFor returns the configuration of a cluster that has shard s.
func (e *Engine) configFor(ctx context.Context, db querier, s cluster.Shard) (cluster.Config, error) {
	c, err := e.knownConfig(ctx, db)
	if err == nil && int(s) >= c.Shards {
		err = fmt.Errorf("%w: shard %d of %d", cluster.ErrConfig, s, c.Shards)
	}
	return c, err
}
