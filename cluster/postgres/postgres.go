// Package postgres is an engine for clusters that keeps everything in a PostgreSQL database: the members, the owners of shards, and the
// storage of objects.
//
//	engine, err := postgres.Open(ctx, "postgres://edgews@db.example/edgews", nil)
//	if err != nil {
//		return err
//	}
//	defer engine.Close() // after the node has left the cluster
//	c, err := cluster.Join(ctx, cluster.JoinOptions{Options: cluster.Options{Engine: engine, …}, …})
//
// A commit that has returned nil is on the disk of the server, and on that of its synchronous standbys if it has any. A failover to
// another standby may lose it; see the README.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/edgews/edgews/cluster"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	// ErrClosed: the engine has been closed.
	ErrClosed = errors.New("edgews: postgres engine is closed")

	// ErrSettings: the server has settings with which commits could be lost, or is a standby, or too old.
	ErrSettings = errors.New("edgews: unsuitable PostgreSQL server")

	// ErrLayout: the tables have been changed by a newer version of this package.
	ErrLayout = errors.New("edgews: PostgreSQL tables have an unknown layout")
)

// Options configures an Engine. A nil pointer means the zero value, which is recommended and safe.
type Options struct {
	// Schema is the schema of the tables, and the name of the channel for NOTIFY; default "edgews". All members of a cluster have the
	// same, and other clusters others. At most 63 bytes.
	Schema string

	// PollEvery is how often Watch asks for changes; default 1 s. A notification makes it ask earlier, but none can be relied on: a
	// connection pooler may swallow them. It must be shorter than TTL/6 of the members.
	PollEvery time.Duration

	// CommitTimeout is how long a commit whose context has ended, or whose engine is closed, goes on looking for its outcome; default 10 s.
	// Afterwards the storage of the object refuses all calls until it is opened again. A quarter of it is how long one attempt may take.
	CommitTimeout time.Duration
}

const (
	defaultSchema        = "edgews"
	defaultPollEvery     = time.Second
	defaultCommitTimeout = 10 * time.Second

	maxSchemaLen   = 63               // NAMEDATALEN - 1 of PostgreSQL
	connectTimeout = 5 * time.Second  // unless the connection string has one
	pgxTimeout     = 2 * time.Minute  // the one that pgx puts in its place
	minVersion     = 13_00_00         // xid8 and pg_current_snapshot
	hintTimeout    = 10 * time.Second // for a notification, which may be lost
	pollTimeout    = 10 * time.Second // for a poll, after which Watch ends
)

func (o *Options) orDefaults() (Options, error) {
	var all Options
	if o != nil {
		all = *o
	}
	if all.Schema == "" {
		all.Schema = defaultSchema
	}
	if all.PollEvery == 0 {
		all.PollEvery = defaultPollEvery
	}
	if all.CommitTimeout == 0 {
		all.CommitTimeout = defaultCommitTimeout
	}
	switch {
	case len(all.Schema) > maxSchemaLen:
		return all, fmt.Errorf("edgews: Options.Schema has %d bytes, more than %d", len(all.Schema), maxSchemaLen)
	case all.PollEvery < 0:
		return all, fmt.Errorf("edgews: Options.PollEvery is %v", all.PollEvery)
	case all.CommitTimeout < 0:
		return all, fmt.Errorf("edgews: Options.CommitTimeout is %v", all.CommitTimeout)
	}
	return all, nil
}

// Engine is a cluster.Engine in a database. Its methods may be called concurrently. While the server cannot be reached, the calls for the
// storage of objects and for alarms wait until it can, or until their contexts end; those for members and owners return errors.
type Engine struct {
	opts Options
	sql  statements
	pool *pgxpool.Pool

	closing context.Context // ends when Close begins
	close   func() error    // runs once
	hints   chan struct{}   // has one element if a notification is to be sent
	hinting sync.WaitGroup  // the goroutine that sends them

	mu       sync.Mutex
	isClosed bool           // guards commits.Add
	commits  sync.WaitGroup // commits under way
	config   cluster.Config // zero: not known yet
}

var _ cluster.Engine = (*Engine)(nil)

// Open connects to a database, and creates the schema and its tables if there are none yet. Several processes may do so at once. conn is a
// connection string of PostgreSQL, as a URL or as a list of key=value; it may also have the options of pgxpool, such as pool_max_conns.
//
// Open returns ErrSettings if the server does not keep what it has acknowledged, or cannot be written to, and ErrLayout if a newer version
// of this package has changed the tables. It does not notice that the database has no synchronous standby.
func Open(ctx context.Context, conn string, opts *Options) (*Engine, error) {
	o, err := opts.orDefaults()
	if err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(conn)
	if err != nil {
		return nil, fmt.Errorf("edgews: PostgreSQL: %w", err)
	}
	if config.ConnConfig.ConnectTimeout == 0 || config.ConnConfig.ConnectTimeout == pgxTimeout {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	config.AfterConnect = checkSettings
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("edgews: PostgreSQL: %w", err)
	}
	e := &Engine{opts: o, sql: newStatements(o.Schema), pool: pool, hints: make(chan struct{}, 1)}
	if err := e.migrate(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	closing, beginClosing := context.WithCancel(context.Background())
	e.closing = closing
	e.close = sync.OnceValue(func() error {
		e.mu.Lock()
		e.isClosed = true
		e.mu.Unlock()
		beginClosing()
		e.commits.Wait()
		e.hinting.Wait()
		e.pool.Close()
		return nil
	})
	e.hinting.Go(e.sendHints)
	return e, nil
}

// Close waits for the commits that have begun, at most for CommitTimeout, and closes all connections. All other calls end with ErrClosed. A
// second Close does nothing.
func (e *Engine) Close() error { return e.close() }

// enter returns the context for a call: it ends with ctx, and when Close begins. leave is called at the end.
func (e *Engine) enter(ctx context.Context) (_ context.Context, leave func(), err error) {
	if err := e.ended(ctx); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(e.closing, cancel)
	return ctx, func() { stop(); cancel() }, nil
}

// ended returns why no call can begin: ctx has ended, or the engine is closed.
func (e *Engine) ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if e.closing.Err() != nil {
		return ErrClosed
	}
	return nil
}

// explain returns what a call returns whose context ctx was, before enter, when the database has returned err.
func (e *Engine) explain(ctx context.Context, call string, err error) error {
	if err == nil {
		return nil
	}
	if ended := e.ended(ctx); ended != nil {
		return ended
	}
	return fmt.Errorf("edgews: PostgreSQL: %s: %w", call, err)
}

// checkSettings returns ErrSettings if the server, or the session, is such that commits could be lost.
func checkSettings(ctx context.Context, conn *pgx.Conn) error {
	var version int
	var standby bool
	var syncCommit, fsync, isolation string
	err := conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, pg_is_in_recovery(), current_setting('synchronous_commit'),
		current_setting('fsync'), current_setting('transaction_isolation')`).Scan(&version, &standby, &syncCommit, &fsync, &isolation)
	switch {
	case err != nil:
		return err
	case version < minVersion:
		return fmt.Errorf("%w: its version is %d, and at least %d is needed", ErrSettings, version, minVersion)
	case standby:
		return fmt.Errorf("%w: it is a standby; add target_session_attrs=read-write to the connection string", ErrSettings)
	case syncCommit != "on" && syncCommit != "remote_apply":
		return fmt.Errorf("%w: synchronous_commit is %s, and must be on or remote_apply", ErrSettings, syncCommit)
	case fsync != "on":
		return fmt.Errorf("%w: fsync is %s, and must be on", ErrSettings, fsync)
	case isolation != "read committed":
		return fmt.Errorf("%w: default_transaction_isolation is %s, and must be read committed", ErrSettings, isolation)
	}
	return nil
}
