package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/edgews/edgews"
	"github.com/jackc/pgx/v5"
)

// firstEpoch is the epoch of the zero Fence.
const firstEpoch = 1

// openStatement makes the head of an object, or gives it the epoch. Also with the same epoch the version grows: a commit whose outcome was
// never found out, and that the server may still execute, then no longer applies.
const openStatement = `
INSERT INTO @.objects AS o (namespace, id, epoch, version, nonce) VALUES ($1, $2, $3, 1, '')
ON CONFLICT (namespace, id) DO UPDATE SET epoch = $3, version = o.version + 1 WHERE o.epoch <= $3
RETURNING object, version, nonce`

// Open writes to the head of the object each time.
func (e *Engine) Open(ctx context.Context, key edgews.ObjectKey, f edgews.Fence) (edgews.ObjectStore, error) {
	inner, leave, err := e.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	o := &object{e: e, key: key, epoch: max(f.Epoch, firstEpoch), busy: make(chan struct{}, 1), scans: make(map[*scan]struct{})}
	err = e.insist(inner, func(ctx context.Context, db database) error {
		return db.QueryRow(ctx, e.sql.in(openStatement), []byte(key.Namespace), idBytes(key.ID), unsigned(o.epoch)).Scan(&o.row, &o.version, &o.nonce)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, edgews.ErrFenced
	}
	if err != nil {
		return nil, e.explain(ctx, "Open", err)
	}
	return o, nil
}

// object is an object's storage under one epoch.
type object struct {
	e     *Engine
	key   edgews.ObjectKey
	row   int64 // of the table of objects
	epoch uint64

	busy chan struct{} // has an element while a commit or a portion of a Scan is under way: a mutex that a context ends waiting for

	// Guarded by busy.
	version int64
	nonce   []byte // of the last commit

	mu    sync.Mutex
	scans map[*scan]struct{} // loops that have not read everything

	refusal atomic.Pointer[error] // why no call succeeds any more
}

var (
	_ edgews.ObjectStore = (*object)(nil)
	_ edgews.ManyGetter  = (*object)(nil)
)

// lock waits for busy, and returns the refusal if there is one. Without an error, unlock is called at the end.
func (o *object) lock(ctx context.Context) error {
	if err := o.e.ended(ctx); err != nil {
		return err
	}
	select {
	case o.busy <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-o.e.closing.Done():
		return ErrClosed
	}
	err := o.e.ended(ctx)
	if err == nil {
		err = o.refused()
	}
	if err != nil {
		o.unlock()
	}
	return err
}

func (o *object) unlock() { <-o.busy }

// refuse has all later calls return err, and returns it.
func (o *object) refuse(err error) error {
	o.refusal.Store(&err)
	return err
}

func (o *object) refused() error {
	if err := o.refusal.Load(); err != nil {
		return *err
	}
	return nil
}

func (o *object) Get(ctx context.Context, key string) (value []byte, err error) {
	inner, leave, err := o.e.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := o.refused(); err != nil {
		return nil, err
	}
	err = o.e.insist(inner, func(ctx context.Context, db database) error {
		return db.QueryRow(ctx, o.e.sql.in(`SELECT value FROM @.entries WHERE object = $1 AND key = $2`), o.row, []byte(key)).Scan(&value)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, edgews.ErrKeyNotFound
	}
	return value, o.e.explain(ctx, "Get", err)
}

// GetMany implements edgews.ManyGetter.
func (o *object) GetMany(ctx context.Context, keys []string) (map[string][]byte, error) {
	inner, leave, err := o.e.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := o.refused(); err != nil {
		return nil, err
	}
	wanted := make([][]byte, len(keys))
	for i, key := range keys {
		wanted[i] = []byte(key)
	}
	values := make(map[string][]byte)
	err = o.e.insist(inner, func(ctx context.Context, db database) error {
		rows, err := db.Query(ctx, o.e.sql.in(`SELECT key, value FROM @.entries WHERE object = $1 AND key = ANY($2)`), o.row, wanted)
		if err != nil {
			return err
		}
		clear(values)
		var key, value []byte
		_, err = pgx.ForEachRow(rows, []any{&key, &value}, func() error {
			values[string(key)] = value // each row has memory of its own
			return nil
		})
		return err
	})
	if err != nil {
		return nil, o.e.explain(ctx, "GetMany", err)
	}
	return values, nil
}

// Release does nothing: an object holds nothing of the database.
func (o *object) Release() {}

// errGoneBack: the head is older than this owner knows it.
func errGoneBack(what string) error {
	return fmt.Errorf("%w: the database has gone back to an earlier state: %s", edgews.ErrFenced, what)
}
