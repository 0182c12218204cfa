package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/edgews/edgews/cluster"
	"github.com/jackc/pgx/v5"
)

// keepGone is how many removed members are kept for Watch. One that has missed more removals between two polls begins anew.
const keepGone = 1000

// Each statement below changes a row only if it is as the call expects. nextval runs when the row is locked: PostgreSQL evaluates what is set
// again if it had to wait for the row. So of two changes of a row the later one has the larger seq.

const joinStatement = `
INSERT INTO @.members AS m VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, false, nextval('@.changes'), pg_current_xact_id())
ON CONFLICT (id) DO UPDATE SET (incarnation, beat, ttl, addr, version_min, version_max, edge_only, leaving, gone, seq, tx) =
	($2, $3, $4, $5, $6, $7, $8, $9, false, nextval('@.changes'), pg_current_xact_id())
WHERE m.gone OR m.incarnation = $2 AND m.beat < $3`

const renewStatement = `
UPDATE @.members SET (beat, ttl, addr, version_min, version_max, edge_only, leaving, seq, tx) =
	($3, $4, $5, $6, $7, $8, $9, nextval('@.changes'), pg_current_xact_id())
WHERE id = $1 AND incarnation = $2 AND NOT gone AND beat < $3`

const removeStatement = `
UPDATE @.members SET gone = true, seq = nextval('@.changes'), tx = pg_current_xact_id()
WHERE id = $1 AND incarnation = $2 AND NOT gone AND ($3 = 0::numeric OR beat = $3)`

// forgetStatement touches no row that another transaction has just changed: that row has a new seq, or is not gone.
const forgetStatement = `
DELETE FROM @.members WHERE gone AND seq <= (SELECT seq FROM @.members WHERE gone ORDER BY seq DESC OFFSET $1 LIMIT 1)`

// memberArgs returns the parameters of joinStatement and renewStatement.
func memberArgs(m cluster.Member) []any {
	return []any{
		[]byte(m.ID), unsigned(m.Incarnation), unsigned(m.Beat), int64(m.TTL), []byte(m.Addr), m.Versions[0], m.Versions[1], m.EdgeOnly, m.Leaving,
	}
}

func (e *Engine) Join(ctx context.Context, m cluster.Member) error {
	return e.changeMember(ctx, "Join", joinStatement, memberArgs(m), m, func(present *cluster.Member) (final bool, err error) {
		switch {
		case present == nil:
			return false, nil
		case present.Incarnation != m.Incarnation:
			return true, fmt.Errorf("%w: %s", cluster.ErrMemberExists, m.ID)
		}
		return present.Beat >= m.Beat, nil
	})
}

func (e *Engine) Renew(ctx context.Context, m cluster.Member) error {
	return e.changeMember(ctx, "Renew", renewStatement, memberArgs(m), m, func(present *cluster.Member) (final bool, err error) {
		if present == nil || present.Incarnation != m.Incarnation {
			return true, fmt.Errorf("%w: %s", cluster.ErrNotMember, m.ID)
		}
		return present.Beat >= m.Beat, nil
	})
}

func (e *Engine) Remove(ctx context.Context, m cluster.Member) error {
	args := memberArgs(m)[:3]
	defer e.forgetGone(ctx)
	return e.changeMember(ctx, "Remove", removeStatement, args, m, func(present *cluster.Member) (final bool, err error) {
		switch {
		case present == nil || present.Incarnation != m.Incarnation:
			return true, nil
		case m.Beat != 0 && m.Beat != present.Beat:
			return true, fmt.Errorf("%w: %s has renewed its membership", cluster.ErrConflict, m.ID)
		}
		return false, nil
	})
}

// forgetGone deletes the oldest of the records of members that have been removed. If it fails, a later one does.
func (e *Engine) forgetGone(ctx context.Context) {
	if ctx, leave, err := e.enter(ctx); err == nil {
		_, _ = e.pool.Exec(ctx, e.sql.in(forgetStatement), keepGone)
		leave()
	}
}

// changeMember executes a statement that changes m's row. If it changes nothing, refused says what the record that is there means for the
// call. It is not final if the record has become, since the statement, one that the statement would change.
func (e *Engine) changeMember(
	ctx context.Context, call, statement string, args []any, m cluster.Member, refused func(present *cluster.Member) (final bool, err error),
) error {
	inner, leave, err := e.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	for {
		done, err := e.pool.Exec(inner, e.sql.in(statement), args...)
		if err != nil {
			return e.explain(ctx, call, err)
		}
		if done.RowsAffected() > 0 {
			e.hint()
			return nil
		}
		present, err := e.member(inner, m.ID)
		if err != nil {
			return e.explain(ctx, call, err)
		}
		if final, err := refused(present); final {
			return err
		}
	}
}

// member returns the ID, the incarnation and the beat of a member, or nil if there is none with this ID.
func (e *Engine) member(ctx context.Context, id string) (*cluster.Member, error) {
	m, digits := cluster.Member{ID: id}, make([]string, 2)
	err := e.pool.QueryRow(ctx, e.sql.in(`SELECT incarnation::text, beat::text FROM @.members WHERE id = $1 AND NOT gone`), []byte(id)).
		Scan(&digits[0], &digits[1])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &m, parseUnsigned(digits, &m.Incarnation, &m.Beat)
}

// hint has others told that there is a change.
func (e *Engine) hint() {
	select {
	case e.hints <- struct{}{}:
	default:
	}
}

// sendHints notifies others of changes, until Close begins. It does so after the transaction with the change, since PostgreSQL makes
// transactions with notifications wait for each other, and one notification tells of many changes.
func (e *Engine) sendHints() {
	for {
		select {
		case <-e.hints:
		case <-e.closing.Done():
			return
		}
		ctx, cancel := context.WithTimeout(e.closing, hintTimeout)
		_, _ = e.pool.Exec(ctx, `SELECT pg_notify($1, '')`, e.opts.Schema) // if it fails, others poll
		cancel()
	}
}
