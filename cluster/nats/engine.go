// Package edgewsnats is an engine for clusters that keeps everything in NATS JetStream: the records of members and owners, and the storage of
// objects.
//
//	engine, err := edgewsnats.Connect(ctx, edgewsnats.Options{URLs: []string{"nats://n1:4222", "nats://n2:4222", "nats://n3:4222"}})
//	if err != nil {
//		return err
//	}
//	c, err := cluster.Join(ctx, cluster.JoinOptions{Options: cluster.Options{Engine: engine, ...}, ...})
//
// It needs three NATS servers of version 2.15 or later, as processes of their own. The README says how they must be configured, and what
// survives which failure.
//
// The entries of an object are in memory while the object is open.
package edgewsnats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edgews/edgews/cluster"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrClosed: the engine has been closed.
var ErrClosed = errors.New("edgews: NATS engine is closed")

// ErrServer: the NATS servers cannot be used as they are: they are too old, JetStream is off, or a stream has other settings than this
// package needs.
var ErrServer = errors.New("edgews: NATS servers are unsuitable")

// Options configures an Engine.
type Options struct {
	// URLs are the addresses of NATS servers. There should be all three, so that one that is down keeps no process from starting.
	URLs []string

	// Name is the first part of the names of all streams and subjects, so that several clusters can share NATS servers; default "edgews".
	// It consists of letters, digits, hyphens and underscores.
	Name string

	// Streams is the number of streams that a new cluster spreads its objects over; default 4. Each has a leader of its own. It cannot be
	// changed later: a cluster that exists keeps the number that it was created with.
	Streams int

	// BatchesAtOnce is the number of atomic batches to one stream that this process has under way at most; default 8. A server allows 50 for
	// each stream, by all processes together.
	BatchesAtOnce int

	// NATS are further options of the connection, for example for credentials and TLS. What this package depends on is set after them:
	// pings, time limits and reconnections.
	NATS []nats.Option

	// System is a connection with the system account, which Connect asks whether all servers have sync_interval "always". It is not
	// closed. If nil, Connect logs that it does not know.
	System *nats.Conn

	// UnsafeReplicas is the number of copies of new streams; 0 means 3. With fewer, the loss of one server loses objects. It is for tests
	// and demonstrations.
	UnsafeReplicas int

	// Logger gets warnings, and the errors of the connection if NATS sets no handler for them; nil means slog.Default.
	Logger *slog.Logger
}

const (
	defaultName          = "edgews"
	defaultStreams       = 4
	maxStreams           = 256
	defaultBatchesAtOnce = 8
	maxBatchesAtOnce     = 49 // a server allows 50, and drops the first message of one that is too many
	safeReplicas         = 3

	// pingInterval is how often the connection is tested. After two pings without an answer it goes to another server. NATS's default of
	// 2 minutes would outlast every lease.
	pingInterval = time.Second
	maxPingsOut  = 2

	reconnectWait  = 100 * time.Millisecond
	connectTimeout = 2 * time.Second

	// writeTimeout is how long the connection may need for what NATS has buffered, before it is given up. A write holds the connection's mutex,
	// so that every call waits for it, whatever its context says, and no ping finds out. NATS's default is a minute.
	writeTimeout = 2 * time.Second

	// attemptTimeout is how long one request waits for its answer before it is made again. Elections of leaders take 4 to 10 s, in which
	// there is none; shorter attempts find the new leader sooner.
	attemptTimeout = 2 * time.Second
)

// Engine is a cluster.Engine. Its methods may be called concurrently.
type Engine struct {
	o       Options
	id      nonce // of this Engine, chosen at random
	nc      *nats.Conn
	js      jetstream.JetStream
	closing context.Context // ends when Close begins
	refuse  context.CancelFunc
	closed  context.Context // ends when no commit is under way any more
	close   context.CancelFunc
	chores  chan chore
	workers sync.WaitGroup
	stored  atomic.Uint64 // the largest number of a message in the stream of records that this Engine has stored

	mu      sync.Mutex
	commits sync.WaitGroup  // that are under way; nothing is added after Close has begun
	config  cluster.Config  // zero before Setup
	batches []chan struct{} // for each stream of objects, a place for each batch that is under way; nil before Setup
}

var _ cluster.Engine = (*Engine)(nil)

// Connect connects to NATS servers and checks that they can be used. It creates nothing: Setup does. The caller closes the Engine.
func Connect(ctx context.Context, o Options) (*Engine, error) {
	if err := o.resolve(); err != nil {
		return nil, err
	}
	e := &Engine{o: o, id: newNonce(), chores: make(chan chore, choresWaiting)}
	e.closed, e.close = context.WithCancel(context.Background())
	e.closing, e.refuse = context.WithCancel(e.closed)
	var err error
	if e.nc, err = connect(o); err != nil {
		e.close()
		return nil, fmt.Errorf("edgews: connecting to NATS: %w", err)
	}
	if err = e.checkServers(ctx); err == nil {
		e.js, err = jetstream.New(e.nc, jetstream.WithDefaultTimeout(attemptTimeout))
	}
	if err != nil {
		e.close()
		e.nc.Close()
		return nil, err
	}
	for range choreWorkers {
		e.workers.Go(e.work)
	}
	return e, nil
}

func connect(o Options) (*nats.Conn, error) {
	c := nats.GetDefaultOptions()
	c.Servers = o.URLs
	for _, option := range o.NATS {
		if err := option(&c); err != nil {
			return nil, err
		}
	}
	if c.AsyncErrorCB == nil { // NATS's own handler prints
		c.AsyncErrorCB = func(nc *nats.Conn, _ *nats.Subscription, err error) {
			o.Logger.Warn("edgews: error of a NATS connection", "server", nc.ConnectedUrlRedacted(), "error", err)
		}
	}
	c.PingInterval, c.MaxPingsOut = pingInterval, maxPingsOut
	c.AllowReconnect, c.MaxReconnect, c.ReconnectWait, c.RetryOnFailedConnect = true, -1, reconnectWait, false
	c.ReconnectBufSize = -1 // what cannot be sent now is not sent later, when no call waits for it any more
	c.Timeout = connectTimeout
	c.FlusherTimeout, c.ReconnectOnFlusherError = writeTimeout, true
	return c.Connect()
}

// resolve checks the options and sets the defaults.
func (o *Options) resolve() error {
	if o.Name == "" {
		o.Name = defaultName
	}
	if o.Streams == 0 {
		o.Streams = defaultStreams
	}
	if o.BatchesAtOnce == 0 {
		o.BatchesAtOnce = defaultBatchesAtOnce
	}
	if o.UnsafeReplicas == 0 {
		o.UnsafeReplicas = safeReplicas
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	switch {
	case len(o.URLs) == 0:
		return errors.New("edgews: Options.URLs is empty")
	case !isToken(o.Name):
		return fmt.Errorf("edgews: Options.Name is %q; it must consist of letters, digits, hyphens and underscores", o.Name)
	case o.Streams < 1 || o.Streams > maxStreams:
		return fmt.Errorf("edgews: Options.Streams is %d, not between 1 and %d", o.Streams, maxStreams)
	case o.BatchesAtOnce < 1 || o.BatchesAtOnce > maxBatchesAtOnce:
		return fmt.Errorf("edgews: Options.BatchesAtOnce is %d, not between 1 and %d", o.BatchesAtOnce, maxBatchesAtOnce)
	}
	return nil
}

func isToken(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// closeTimeout is how long Close waits for commits. It is longer than an election of a leader.
const closeTimeout = 15 * time.Second

// Close ends the connection. It waits for commits whose outcome is not known yet, for 15 s at most, and all other calls that are under way
// return ErrClosed. A second Close does nothing.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.refuse()
	e.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		e.commits.Wait()
		close(ended)
	}()
	timeout := time.NewTimer(closeTimeout)
	defer timeout.Stop()
	select {
	case <-ended:
	case <-timeout.C:
	}
	e.close()
	<-ended
	e.workers.Wait()
	e.nc.Close()
	return nil
}

// beginCommit reports whether a commit may begin. If so, its end must call e.commits.Done.
func (e *Engine) beginCommit() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing.Err() != nil {
		return false
	}
	e.commits.Add(1)
	return true
}

// enter returns why a call cannot begin, and otherwise a context that also ends with the engine. The caller calls leave.
func (e *Engine) enter(ctx context.Context) (inner context.Context, leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if e.closing.Err() != nil {
		return nil, nil, ErrClosed
	}
	inner, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(e.closing, cancel)
	return inner, func() { stop(); cancel() }, nil
}

// ended returns why a call whose context has ended failed: ErrClosed or the error of the caller's context. Otherwise it returns err.
func (e *Engine) ended(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case e.closing.Err() != nil:
		return ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return err
}
