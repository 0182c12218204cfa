// Package memory has an engine for clusters whose members are nodes of one process: for tests and demonstrations. It keeps everything in
// memory, and injects faults: requests and answers that are slow or lost, requests that arrive when their caller has given up, nodes that
// are cut off, and views that are stale.
//
//	m := memory.New()
//	defer m.Close()
//	a, b := m.Connect(), m.Connect()
//	...
//	a.Partition(true) // the node that uses a reaches the engine no longer
//
// In a bubble of testing/synctest its delays are virtual.
package memory

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
)

// ErrClosed: the connection, or the whole Memory, has been closed.
var ErrClosed = errors.New("edgews: memory engine is closed")

// Memory is what all nodes share. Its methods may be called concurrently.
type Memory struct {
	store    edgews.Store
	unfenced atomic.Bool // UnsafeIgnoreFences

	closed chan struct{}  // closed by Close
	inAir  sync.WaitGroup // requests that may outlive their callers

	mu       sync.Mutex
	isClosed bool // as closed says; guards inAir.Add
	config   cluster.Config
	members  map[string]cluster.Member
	owners   map[cluster.Shard]cluster.Ownership
	watchers map[*watcher]struct{}
}

// New returns a Memory that is empty. Close it at the end.
func New() *Memory {
	return &Memory{
		store: edgews.NewMemoryStore(), closed: make(chan struct{}),
		members: make(map[string]cluster.Member), owners: make(map[cluster.Shard]cluster.Ownership), watchers: make(map[*watcher]struct{}),
	}
}

// Connect returns an engine that shares everything with the other connections, but has faults of its own. Each node gets one.
func (m *Memory) Connect() *Engine {
	return &Engine{m: m, closed: make(chan struct{}), changed: make(chan struct{})}
}

// Close drops everything and ends all calls. It returns when no request is on its way any more.
func (m *Memory) Close() error {
	m.mu.Lock()
	first := !m.isClosed
	m.isClosed = true
	m.mu.Unlock()
	if !first {
		return nil
	}
	close(m.closed)
	m.inAir.Wait()
	return m.store.Close()
}

// UnsafeIgnoreFences has the storage accept every epoch. It must be called before any object is opened. It is for tests that must fail
// without the fence.
func (m *Memory) UnsafeIgnoreFences() { m.unfenced.Store(true) }

// Engine is one connection to a Memory. Its methods may be called concurrently.
type Engine struct {
	m      *Memory
	closed chan struct{} // closed by Close

	mu          sync.Mutex
	isClosed    bool
	partitioned bool
	held        bool          // HoldWatch
	plan        Plan          // nil: no faults
	broken      int           // how often BreakWatch was called
	changed     chan struct{} // closed, and replaced, when one of the fields above changes
}

var _ cluster.Engine = (*Engine)(nil)

// Close ends the connection: its calls and watches return ErrClosed. Requests that are on their way arrive nevertheless, as when a
// process is killed.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.isClosed {
		e.isClosed = true
		close(e.closed)
	}
	return nil
}

func (e *Engine) Setup(ctx context.Context, c cluster.Config) (cluster.Config, error) {
	return call(ctx, e, "Setup", func() (cluster.Config, error) {
		e.m.mu.Lock()
		defer e.m.mu.Unlock()
		if e.m.config == (cluster.Config{}) {
			if err := c.Validate(); err != nil {
				return cluster.Config{}, err
			}
			e.m.config = c
		}
		return e.m.config, nil
	})
}

func (e *Engine) Join(ctx context.Context, m cluster.Member) error {
	return e.change(ctx, "Join", func() error {
		present, exists := e.m.members[m.ID]
		switch {
		case exists && present.Incarnation != m.Incarnation:
			return fmt.Errorf("%w: %s", cluster.ErrMemberExists, m.ID)
		case !exists || present.Beat < m.Beat:
			e.m.putLocked(m)
		}
		return nil
	})
}

func (e *Engine) Renew(ctx context.Context, m cluster.Member) error {
	return e.change(ctx, "Renew", func() error {
		present, exists := e.m.members[m.ID]
		switch {
		case !exists || present.Incarnation != m.Incarnation:
			return fmt.Errorf("%w: %s", cluster.ErrNotMember, m.ID)
		case present.Beat < m.Beat:
			e.m.putLocked(m)
		}
		return nil
	})
}

func (e *Engine) Remove(ctx context.Context, m cluster.Member) error {
	return e.change(ctx, "Remove", func() error {
		present, exists := e.m.members[m.ID]
		switch {
		case !exists || present.Incarnation != m.Incarnation:
			return nil
		case m.Beat != 0 && m.Beat != present.Beat:
			return fmt.Errorf("%w: %s has renewed its membership", cluster.ErrConflict, m.ID)
		}
		delete(e.m.members, m.ID)
		e.m.showLocked(cluster.Change{Member: &present, Gone: true})
		return nil
	})
}

func (m *Memory) putLocked(member cluster.Member) {
	m.members[member.ID] = member
	m.showLocked(cluster.Change{Member: &member})
}

func (e *Engine) Claim(ctx context.Context, prev cluster.Ownership, to cluster.Member) (cluster.Ownership, error) {
	return call(ctx, e, "Claim", func() (cluster.Ownership, error) {
		e.m.mu.Lock()
		defer e.m.mu.Unlock()
		if int(prev.Shard) >= e.m.config.Shards {
			return cluster.Ownership{}, fmt.Errorf("%w: shard %d of %d", cluster.ErrConfig, prev.Shard, e.m.config.Shards)
		}
		present := e.m.owners[prev.Shard]
		if present.Epoch != prev.Epoch {
			return present, fmt.Errorf("%w: shard %d", cluster.ErrConflict, prev.Shard)
		}
		o := cluster.Ownership{
			Shard: prev.Shard, Owner: to.ID, Incarnation: to.Incarnation, Epoch: max(prev.Epoch+1, e.m.config.FirstEpoch()),
		}
		e.m.owners[o.Shard] = o
		e.m.showLocked(cluster.Change{Ownership: &o})
		return o, nil
	})
}

// change makes a call that changes the records of members. apply is called with the mutex of the Memory held.
func (e *Engine) change(ctx context.Context, method string, apply func() error) error {
	_, err := call(ctx, e, method, func() (struct{}, error) {
		e.m.mu.Lock()
		defer e.m.mu.Unlock()
		return struct{}{}, apply()
	})
	return err
}

func (e *Engine) DueAlarms(ctx context.Context, namespace string, until time.Time, limit int) ([]edgews.DueAlarm, error) {
	if err := e.enterStore(ctx, "DueAlarms"); err != nil {
		return nil, err
	}
	return e.m.store.DueAlarms(ctx, namespace, until, limit)
}

func (e *Engine) DueShardAlarms(
	ctx context.Context, namespace string, s cluster.Shard, until time.Time, limit int,
) ([]edgews.DueAlarm, error) {
	if err := e.enterStore(ctx, "DueShardAlarms"); err != nil {
		return nil, err
	}
	e.m.mu.Lock()
	shards := e.m.config.Shards
	e.m.mu.Unlock()
	if int(s) >= shards {
		return nil, fmt.Errorf("%w: shard %d of %d", cluster.ErrConfig, s, shards)
	}
	due, err := e.m.store.DueAlarms(ctx, namespace, until, math.MaxInt)
	due = slices.DeleteFunc(due, func(a edgews.DueAlarm) bool {
		return cluster.ShardOf(edgews.ObjectKey{Namespace: namespace, ID: a.ID}, shards) != s
	})
	return due[:min(max(limit, 0), len(due))], err
}
