package postgres

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// commitStatement changes everything, or nothing: each part takes its rows from head, which has a row only if the head of the object has the
// expected epoch and version. A head that is missing is never created here: that would accept any epoch.
//
// The parts see the entries as they were when the statement began. That is the state of the expected version, which was known before then.
// No key is in both the deletes and the puts, since PostgreSQL does not say which of two changes of a row in one statement remains.
const commitStatement = `
WITH head AS (
	UPDATE @.objects SET version = version + 1, nonce = $4 WHERE object = $1 AND epoch = $2 AND version = $3 RETURNING object, namespace, id
), emptied AS (
	DELETE FROM @.entries e USING head
	WHERE $5 AND e.object = head.object AND NOT EXISTS (SELECT FROM unnest($7::bytea[]) AS kept(key) WHERE kept.key = e.key)
), deleted AS (
	DELETE FROM @.entries e USING head WHERE NOT $5 AND e.object = head.object AND e.key = ANY($6::bytea[])
), put AS (
	INSERT INTO @.entries SELECT head.object, p.key, p.value FROM head, unnest($7::bytea[], $8::bytea[]) AS p(key, value)
	ON CONFLICT (object, key) DO UPDATE SET value = excluded.value
), unset AS (
	DELETE FROM @.alarms a USING head WHERE a.object = head.object AND $9
), set AS (
	INSERT INTO @.alarms SELECT object, namespace, id, $11::int, $12::bigint FROM head WHERE $10
	ON CONFLICT (object) DO UPDATE SET due = excluded.due
)
SELECT count(*) FROM head`

const (
	nonceLen = 16 // bytes; random, so that no two commits have the same
	attempts = 4  // at least so many fit into CommitTimeout
)

// errUnknown: nothing is known about a commit, and nothing may be assumed.
var errUnknown = errors.New("edgews: PostgreSQL: it is unknown whether a commit has happened; the object's storage must be opened again")

// Commit waits for a server that is down. When ctx ends, it goes on for CommitTimeout if it does not know its outcome.
func (o *object) Commit(ctx context.Context, b edgews.Batch) error {
	if err := o.e.beginCommit(ctx); err != nil {
		return err
	}
	defer o.e.commits.Done()
	if err := o.lock(ctx); err != nil {
		return err
	}
	defer o.unlock()
	inner, leave, err := o.e.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	commit, err := o.newCommit(inner, b)
	if err == nil {
		err = o.completeScans(inner)
	}
	if err != nil {
		return o.e.explain(ctx, "Commit", err)
	}
	return o.commitLocked(ctx, inner, commit)
}

// beginCommit has Close wait for a commit.
func (e *Engine) beginCommit(ctx context.Context) error {
	over := ctx.Err()
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case over != nil:
		return over
	case e.isClosed:
		return ErrClosed
	}
	e.commits.Add(1)
	return nil
}

// commit is a call of Commit.
type commit struct {
	nonce []byte
	args  []any // of commitStatement, from $5 on

	doubt bool // an attempt may have succeeded, or may still succeed as long as the head has the same version
}

func (o *object) newCommit(ctx context.Context, b edgews.Batch) (*commit, error) {
	c := &commit{nonce: make([]byte, nonceLen)}
	rand.Read(c.nonce) // it never fails
	keys, values := lastPuts(b.Puts)
	deletes := make([][]byte, 0, len(b.Deletes))
	if !b.DeleteAll {
		deletes = deletesOnly(b)
	}
	var set, unset bool
	var shard cluster.Shard
	var due int64
	if b.Alarm != nil {
		set, unset = !b.Alarm.Time.IsZero(), b.Alarm.Time.IsZero()
	}
	if set {
		var config cluster.Config
		err := o.e.insist(ctx, func(ctx context.Context, db database) (err error) {
			config, err = o.e.knownConfig(ctx, db)
			return err
		})
		if err != nil {
			return nil, err
		}
		shard, due = cluster.ShardOf(o.key, config.Shards), dueMillis(b.Alarm.Time)
	}
	c.args = []any{b.DeleteAll, deletes, keys, values, unset, set, int(shard), due}
	return c, nil
}

// lastPuts returns the keys and the values of puts, without those that a later one replaces.
func lastPuts(puts []edgews.Entry) (keys, values [][]byte) {
	keys, values = make([][]byte, 0, len(puts)), make([][]byte, 0, len(puts))
	seen := make(map[string]struct{}, len(puts))
	for _, p := range slices.Backward(puts) {
		if _, replaced := seen[p.Key]; replaced {
			continue
		}
		seen[p.Key] = struct{}{}
		keys, values = append(keys, []byte(p.Key)), append(values, append([]byte{}, p.Value...)) // nil would be NULL
	}
	return keys, values
}

// deletesOnly returns the keys that b deletes and does not put.
func deletesOnly(b edgews.Batch) [][]byte {
	puts := make(map[string]struct{}, len(b.Puts))
	for _, p := range b.Puts {
		puts[p.Key] = struct{}{}
	}
	keys := make([][]byte, 0, len(b.Deletes))
	for _, key := range b.Deletes {
		if _, put := puts[key]; !put {
			keys = append(keys, []byte(key))
		}
	}
	return keys
}

// commitLocked makes attempts until the outcome is known. All have the same nonce and expect the same version, so at most one succeeds.
// When inner ends, which is ctx after enter, a commit that has not happened ends, and one of unknown outcome goes on for CommitTimeout.
func (o *object) commitLocked(ctx, inner context.Context, c *commit) error {
	looking, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(inner, func() { time.AfterFunc(o.e.opts.CommitTimeout, cancel) })
	defer stop()
	for backoff := firstBackoff; ; backoff = min(2*backoff, maxBackoff) {
		again, err := o.attempt(looking, c)
		if !again {
			return err
		}
		over := inner.Done()
		if c.doubt {
			over = looking.Done()
		}
		select {
		case <-time.After(backoff):
		case <-over:
			if c.doubt {
				return o.refuse(fmt.Errorf("%w: %w", errUnknown, err))
			}
			return o.e.explain(ctx, "Commit", err)
		}
	}
}

// attempt executes the statement once. Without again, what it returns is the result of the commit.
func (o *object) attempt(ctx context.Context, c *commit) (again bool, err error) {
	// A connection that says nothing must not use up all of the time: the next attempt may reach the server.
	short, cancel := context.WithTimeout(ctx, o.e.opts.CommitTimeout/attempts)
	defer cancel()
	conn, err := o.e.pool.Acquire(short)
	if err != nil {
		return true, err
	}
	defer conn.Release()
	var applied int
	args := append([]any{o.row, unsigned(o.epoch), o.version, c.nonce}, c.args...)
	err = conn.QueryRow(short, o.e.sql.in(commitStatement), args...).Scan(&applied)
	switch {
	case err == nil && applied == 1:
		o.version++
		o.nonce = c.nonce
		return false, nil
	case err == nil:
		return o.resolve(short, conn, c)
	case isTransient(err):
		return true, err
	case !hasNoEffect(err):
		c.doubt = true
		return true, err
	case c.doubt:
		return true, err // it is the outcome of this attempt only
	}
	return false, fmt.Errorf("edgews: PostgreSQL: Commit: %w", err)
}

// hasNoEffect reports whether an error says that the statement has changed nothing and will not. A fatal error does not: it may come after
// the commit.
func hasNoEffect(err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Severity == "ERROR"
	}
	return pgconn.SafeToRetry(err)
}

// isTransient reports whether another attempt may succeed where this one had no effect.
func isTransient(err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Severity == "ERROR" && (refused.Code == "40001" || refused.Code == "40P01") // serialization failure, deadlock
	}
	return pgconn.SafeToRetry(err)
}

// resolve finds out what became of a commit when the head has not, or no longer, the expected version. No attempt can succeed any more.
func (o *object) resolve(ctx context.Context, conn querier, c *commit) (again bool, err error) {
	epoch, version, nonce, err := o.head(ctx, conn)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, o.refuse(errGoneBack("the object has no record"))
	case err != nil:
		return true, err
	case bytes.Equal(nonce, c.nonce): // an attempt has succeeded
		if err := o.confirm(ctx, conn); err != nil {
			return true, err // with the version of before, so that nothing applies twice
		}
		o.version, o.nonce = version, nonce
		return false, nil
	case epoch < o.epoch, epoch == o.epoch && version <= o.version:
		return false, o.refuse(errGoneBack("the object's record is older than it was"))
	}
	// Something else was committed since. If that was after an attempt that has succeeded, it has replaced the nonce.
	doubt := c.doubt && !bytes.Equal(nonce, o.nonce)
	switch fenced := epoch > o.epoch; {
	case fenced && doubt:
		o.refuse(edgews.ErrFenced)
		return false, fmt.Errorf("%w: %w", errUnknown, edgews.ErrFenced)
	case fenced:
		return false, o.refuse(edgews.ErrFenced)
	case doubt:
		return false, o.refuse(errUnknown)
	}
	// The object has been opened again with this epoch, or something was committed through another ObjectStore; this has not happened.
	o.version, o.nonce, c.doubt = version, nonce, false
	return true, nil
}

// confirm returns when a commit that is visible is also on the synchronous standbys, if there are any. It may not be: a statement that has
// been cancelled while it waited for them, as pgx does when a connection breaks, has been committed on the primary all the same. What is
// written after it waits for everything before.
func (o *object) confirm(ctx context.Context, conn querier) error {
	var row int64
	return conn.QueryRow(ctx, o.e.sql.in(`UPDATE @.objects SET nonce = nonce WHERE object = $1 RETURNING object`), o.row).Scan(&row)
}

// head reads the head of the object.
func (o *object) head(ctx context.Context, conn querier) (epoch uint64, version int64, nonce []byte, err error) {
	digits := make([]string, 1)
	err = conn.QueryRow(ctx, o.e.sql.in(`SELECT epoch::text, version, nonce FROM @.objects WHERE object = $1`), o.row).
		Scan(&digits[0], &version, &nonce)
	if err == nil {
		err = parseUnsigned(digits, &epoch)
	}
	return epoch, version, nonce, err
}
