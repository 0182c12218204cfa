package postgres

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	firstBackoff = 5 * time.Millisecond   // between the attempts; doubled each time
	maxBackoff   = 500 * time.Millisecond // a server that starts again is found soon

	firstAttempt = 10 * time.Second // for a statement; doubled each time, so that a slow one ends too
)

// database is what runs statements: the pool, or one of its connections.
type database interface {
	querier
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// insist calls run with a connection until it returns something else than that the server cannot be reached, or until ctx ends. A handler that
// got such an error would have lost its message: when the server is down, objects wait. run is repeated although it may have had its effect.
//
// Calls for members and owners do not insist: a node makes them again itself, and has to know that they fail.
func (e *Engine) insist(ctx context.Context, run func(ctx context.Context, db database) error) error {
	limit := firstAttempt
	for backoff := firstBackoff; ; backoff = min(2*backoff, maxBackoff) {
		attempt, cancel := context.WithTimeout(ctx, limit)
		again, err := e.try(attempt, run)
		if attempt.Err() != nil {
			limit *= 2
		}
		cancel()
		if !again {
			return err
		}
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
			return err
		}
	}
}

// try calls run once. again says that the server could not be reached.
func (e *Engine) try(ctx context.Context, run func(ctx context.Context, db database) error) (again bool, err error) {
	conn, err := e.pool.Acquire(ctx)
	if err != nil {
		return true, err
	}
	defer conn.Release()
	err = run(ctx, conn)
	return err != nil && isUnreachable(conn, err), err
}

// isUnreachable reports whether err came because the connection has been lost, or because the server is not ready. Fatal errors end the
// connection, too.
func isUnreachable(conn *pgxpool.Conn, err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && isDown(refused.Code) {
		return true
	}
	return conn.Conn().IsClosed()
}

// isDown reports whether a server that is shut down, has crashed, starts, or has lost a connection returns this code.
func isDown(code string) bool {
	return code == "57P01" || code == "57P02" || code == "57P03" || strings.HasPrefix(code, "08")
}
