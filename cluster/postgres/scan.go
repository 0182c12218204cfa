package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"

	"github.com/edgews/edgews"
	"github.com/jackc/pgx/v5"
)

// A Scan reads portions, each with a statement of its own: a transaction for the whole loop would occupy a connection and a snapshot of the
// server until the loop ends. So that the loop shows one moment all the same, a commit through the same ObjectStore first has the loops that
// are running read the rest. Each portion checks that there was no other commit.
const (
	firstPortion = 32      // entries: many loops take few
	maxPortion   = 1024    // entries; each portion is four times as large as the one before
	portionBytes = 1 << 20 // of values, and one entry more
)

// portionStatement selects a portion of the keys from $2 up to $3, and the head of the object, in one statement and thus of one moment. There
// is one row even if there is no entry. read is how many entries were looked at: if it is less than $4 and all of them are here, there are
// no more.
const portionStatement = `
SELECT o.epoch::text, o.nonce, p.key, p.value, coalesce(p.read, 0)
FROM @.objects o LEFT JOIN LATERAL (
	SELECT key, CASE WHEN $6 THEN NULL ELSE value END AS value, count(*) OVER () AS read,
		row_number() OVER (ORDER BY key %[1]s) AS n,
		CASE WHEN $6 THEN 0 ELSE sum(octet_length(value)) OVER (ORDER BY key %[1]s ROWS UNBOUNDED PRECEDING) - octet_length(value) END AS before
	FROM (
		SELECT key, value FROM @.entries WHERE object = o.object AND key >= $2 AND ($3::bytea IS NULL OR key < $3) ORDER BY key %[1]s LIMIT $4
	) first
) p ON p.before < $5
WHERE o.object = $1 ORDER BY p.n`

var (
	portionForwards  = fmt.Sprintf(portionStatement, "ASC")
	portionBackwards = fmt.Sprintf(portionStatement, "DESC")
)

// errChanged: the contract has one ObjectStore at a time.
var errChanged = errors.New("edgews: PostgreSQL: the object was changed through another ObjectStore during a Scan")

// scan is a loop over a Scan. Its fields are guarded by object.busy.
type scan struct {
	o          *object
	r          edgews.Range
	first, end string         // what is to be read; end is "" if there is no upper bound
	left       int            // how many entries, at most
	portion    int            // size of the next one
	begun      bool           // nonce is set
	nonce      []byte         // of the head when the loop began
	read       []edgews.Entry // and not yet yielded
	err        error          // after those
	done       bool           // everything has been read
}

func (o *object) Scan(ctx context.Context, r edgews.Range) iter.Seq2[edgews.Entry, error] {
	return func(yield func(edgews.Entry, error) bool) {
		s := &scan{o: o, r: r, left: r.Limit, portion: firstPortion}
		s.first, s.end = r.Bounds()
		if s.left == 0 {
			s.left = math.MaxInt
		}
		defer s.forget()
		for {
			entries, done, err := s.next(ctx)
			for _, e := range entries {
				if ctx.Err() != nil {
					err, done = ctx.Err(), true
					break
				}
				if !yield(e, nil) {
					return
				}
			}
			if err != nil {
				yield(edgews.Entry{}, err)
			}
			if err != nil || done {
				return
			}
		}
	}
}

// next returns the next entries, and an error that comes after them. done means that there are no more.
func (s *scan) next(ctx context.Context) (entries []edgews.Entry, done bool, err error) {
	if err := s.o.lock(ctx); err != nil {
		return nil, false, err
	}
	defer s.o.unlock()
	if len(s.read) == 0 && !s.done {
		inner, leave, err := s.o.e.enter(ctx)
		if err != nil {
			return nil, false, err
		}
		defer leave()
		s.remember()
		if err := s.o.e.insist(inner, s.readPortion); err != nil {
			return nil, false, s.o.e.explain(ctx, "Scan", err)
		}
	}
	if s.done {
		s.forget()
	}
	entries, s.read = s.read, nil
	return entries, s.done, s.err
}

// remember has commits read the rest of the loop first.
func (s *scan) remember() {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	s.o.scans[s] = struct{}{}
}

// forget is called when the loop has ended, or needs nothing of the database any more. A commit may be reading for it.
func (s *scan) forget() {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	delete(s.o.scans, s)
}

// completeScans has all running loops read the rest, since a commit is about to change it.
func (o *object) completeScans(ctx context.Context) error {
	o.mu.Lock()
	running := slices.Collect(maps.Keys(o.scans))
	o.mu.Unlock()
	if len(running) == 0 {
		return nil
	}
	ctx, leave, err := o.e.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	for _, s := range running {
		for !s.done {
			if err := o.e.insist(ctx, s.readPortion); err != nil {
				return err
			}
		}
		s.forget()
	}
	return nil
}

// readPortion reads one portion. An error means that it can be read again; one that concerns only the loop is in s.err.
func (s *scan) readPortion(ctx context.Context, db database) error {
	if s.end != "" && s.end <= s.first {
		s.done = true
		return nil
	}
	statement, size := portionForwards, min(s.portion, s.left)
	if s.r.Reverse {
		statement = portionBackwards
	}
	var end []byte // NULL if there is none
	if s.end != "" {
		end = []byte(s.end)
	}
	rows, err := db.Query(ctx, s.o.e.sql.in(statement), s.o.row, []byte(s.first), end, size, portionBytes, s.r.KeysOnly)
	if err != nil {
		return err
	}
	var digits string
	var nonce, key, value []byte // each row gets memory of its own
	var entries []edgews.Entry
	heads, looked := 0, 0
	_, err = pgx.ForEachRow(rows, []any{&digits, &nonce, &key, &value, &looked}, func() error {
		heads++
		if key != nil {
			entries = append(entries, edgews.Entry{Key: string(key), Value: value})
		}
		return nil
	})
	var epoch uint64
	if err == nil && heads > 0 {
		err = parseUnsigned([]string{digits}, &epoch)
	}
	if err != nil {
		return err
	}
	if s.err = s.check(heads, epoch, nonce); s.err != nil {
		s.done = true
		return nil
	}
	s.take(entries, looked, size)
	return nil
}

// check returns an error if the head is no longer the one of the beginning.
func (s *scan) check(heads int, epoch uint64, nonce []byte) error {
	if !s.begun {
		s.begun, s.nonce = true, nonce
	}
	switch {
	case heads == 0:
		return s.o.refuse(errGoneBack("the object has no record"))
	case epoch > s.o.epoch:
		return s.o.refuse(edgews.ErrFenced)
	case epoch < s.o.epoch:
		return s.o.refuse(errGoneBack("the object's record is older than it was"))
	case !bytes.Equal(nonce, s.nonce):
		return errChanged
	}
	return nil
}

// take adds a portion to what has been read. looked is how many entries there were, of at most size.
func (s *scan) take(entries []edgews.Entry, looked, size int) {
	s.read = append(s.read, entries...)
	s.left -= len(entries)
	s.portion = min(4*s.portion, maxPortion)
	if s.left == 0 || len(entries) == 0 || looked < size && len(entries) == looked {
		s.done = true
		return
	}
	last := entries[len(entries)-1].Key
	if s.r.Reverse {
		s.end = last
	} else {
		s.first = last + "\x00"
	}
}
