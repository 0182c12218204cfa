package enginetest_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/memory"
)

// naive is an engine that is obviously right, unless it is told to have a fault. All its connections share one mutex, and each Watch looks
// for changes every millisecond.
type naive struct {
	fault   string
	store   *memory.Memory // only its storage is used
	mu      sync.Mutex
	config  cluster.Config
	members []entry[cluster.Member]
	owners  []entry[cluster.Ownership]
	changes int // the number of the last change
}

// entry is a record and the number of the change that made it. Records that have been removed stay.
type entry[T any] struct {
	record T
	gone   bool
	change int
	older  *T // the record that this one has replaced; nil: there was none
}

func newNaive(fault string) *naive {
	n := &naive{fault: fault, store: memory.New()}
	if fault == "has no fence" {
		n.store.UnsafeIgnoreFences()
	}
	return n
}

func (n *naive) connect() cluster.Engine {
	return &naiveConn{Store: n.store.Connect(), n: n, closed: make(chan struct{})}
}

type naiveConn struct {
	edgews.Store
	n      *naive
	closed chan struct{}
}

var errClosed = errors.New("closed")

func (c *naiveConn) may(ctx context.Context) error {
	select {
	case <-c.closed:
		if c.n.fault != "ignores Close" {
			return errClosed
		}
	default:
	}
	if c.n.fault == "ignores contexts" {
		return nil
	}
	return ctx.Err()
}

func (c *naiveConn) Close() error {
	close(c.closed)
	return c.Store.Close()
}

func (c *naiveConn) DueShardAlarms(ctx context.Context, namespace string, s cluster.Shard, until time.Time, limit int) ([]edgews.DueAlarm, error) {
	if err := c.may(ctx); err != nil {
		return nil, err
	}
	all, err := c.Store.DueAlarms(ctx, namespace, until, 1<<30)
	if c.n.fault == "limits alarms before it looks at shards" {
		all = all[:min(limit, len(all))]
	}
	all = slices.DeleteFunc(all, func(a edgews.DueAlarm) bool {
		return c.n.fault != "ignores the shards of alarms" && cluster.ShardOf(edgews.ObjectKey{Namespace: namespace, ID: a.ID}, c.n.config.Shards) != s
	})
	return all[:min(limit, len(all))], err
}

func (c *naiveConn) Setup(ctx context.Context, config cluster.Config) (cluster.Config, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if err := c.may(ctx); err != nil {
		return config, err
	}
	if c.n.config.Shards == 0 || c.n.fault == "takes every configuration" {
		c.n.config = config
	}
	return c.n.config, nil
}

// find returns the entry of a member, or nil.
func (n *naive) find(id string) *entry[cluster.Member] {
	for i := range n.members {
		if n.members[i].record.ID == id && !n.members[i].gone {
			return &n.members[i]
		}
	}
	return nil
}

func (n *naive) put(m cluster.Member) {
	n.changes++
	now := entry[cluster.Member]{record: m, change: n.changes}
	n.members = slices.DeleteFunc(n.members, func(e entry[cluster.Member]) bool {
		if e.record.ID == m.ID {
			now.older = &e.record
		}
		return e.record.ID == m.ID
	})
	n.members = append(n.members, now)
}

func (c *naiveConn) Join(ctx context.Context, m cluster.Member) error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if err := c.may(ctx); err != nil {
		return err
	}
	present := c.n.find(m.ID)
	switch {
	case present == nil:
		if c.n.fault == "reads before it writes" {
			c.n.yield()
		}
		c.n.put(m)
	case present.record.Incarnation != m.Incarnation && c.n.fault != "lets another incarnation join":
		return cluster.ErrMemberExists
	case present.record.Beat < m.Beat:
		c.n.put(m)
	}
	return nil
}

// yield lets others change what has been read.
func (n *naive) yield() {
	n.mu.Unlock()
	time.Sleep(100 * time.Microsecond)
	n.mu.Lock()
}

func (c *naiveConn) Renew(ctx context.Context, m cluster.Member) error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if err := c.may(ctx); err != nil {
		return err
	}
	present := c.n.find(m.ID)
	if c.n.fault == "lets others than members renew" {
		c.n.put(m)
		return nil
	}
	if present == nil || present.record.Incarnation != m.Incarnation {
		return cluster.ErrNotMember
	}
	if c.n.fault == "reads before it renews" {
		c.n.yield()
	}
	if present.record.Beat < m.Beat || c.n.fault == "lets late renewals replace newer ones" {
		c.n.put(m)
	}
	return nil
}

func (c *naiveConn) Remove(ctx context.Context, m cluster.Member) error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if err := c.may(ctx); err != nil {
		return err
	}
	present := c.n.find(m.ID)
	switch {
	case present == nil:
		return nil
	case present.record.Incarnation != m.Incarnation && c.n.fault != "removes any incarnation":
		return nil
	case m.Beat != 0 && m.Beat != present.record.Beat && c.n.fault != "removes any beat":
		return cluster.ErrConflict
	}
	c.n.changes++
	present.gone, present.change = true, c.n.changes
	if c.n.fault == "does not show what has gone" {
		present.change = 0
	}
	return nil
}

func (c *naiveConn) Claim(ctx context.Context, prev cluster.Ownership, to cluster.Member) (cluster.Ownership, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if err := c.may(ctx); err != nil {
		return cluster.Ownership{}, err
	}
	if int(prev.Shard) >= c.n.config.Shards && c.n.fault != "has more shards" {
		return cluster.Ownership{}, errors.New("no such shard")
	}
	present := cluster.Ownership{Shard: prev.Shard}
	for _, e := range c.n.owners {
		if e.record.Shard == prev.Shard {
			present = e.record
		}
	}
	if present.Epoch != prev.Epoch && c.n.fault != "takes claims from any epoch" {
		if c.n.fault == "does not say who was first" {
			present = cluster.Ownership{Shard: prev.Shard}
		}
		return present, cluster.ErrConflict
	}
	if c.n.fault == "reads before it claims" {
		c.n.yield()
	}
	o := cluster.Ownership{Shard: prev.Shard, Owner: to.ID, Incarnation: to.Incarnation, Epoch: max(prev.Epoch+1, c.n.config.FirstEpoch())}
	switch c.n.fault {
	case "forgets the generation":
		o.Epoch = prev.Epoch + 1
	case "keeps the epoch of the same owner":
		if present.Owner == to.ID && present.Incarnation == to.Incarnation {
			o.Epoch = prev.Epoch
		}
	case "forgets incarnations":
		o.Incarnation = 1
	}
	c.n.changes++
	c.n.owners = slices.DeleteFunc(c.n.owners, func(e entry[cluster.Ownership]) bool { return e.record.Shard == o.Shard })
	c.n.owners = append(c.n.owners, entry[cluster.Ownership]{record: o, change: c.n.changes})
	return o, nil
}

func (c *naiveConn) Watch(ctx context.Context, fn func(cluster.Change)) error {
	if err := c.may(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	shown, synced := 0, false
	if c.n.fault == "syncs before it shows" {
		fn(cluster.Change{Synced: true})
		synced = true
	}
	for {
		changes, last := c.n.since(shown)
		if shown == 0 && c.n.fault == "forgets what happens during a sync" {
			time.Sleep(5 * time.Millisecond)
			_, last = c.n.since(shown)
		}
		for _, change := range changes {
			fn(change)
		}
		shown = last
		if !synced {
			fn(cluster.Change{Synced: true})
			synced = true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.closed:
			return errClosed
		}
	}
}

// since returns the changes after a number, and the number of the last one.
func (n *naive) since(shown int) (changes []cluster.Change, last int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	members := func() {
		for _, e := range n.members {
			if e.change > shown && (shown > 0 || !e.gone) {
				changes = append(changes, cluster.Change{Member: &e.record, Gone: e.gone})
				if n.fault == "shows an older record again" && e.older != nil {
					changes = append(changes, cluster.Change{Member: e.older})
				}
			}
		}
	}
	if n.fault != "shows owners before members" {
		members()
	}
	for _, e := range n.owners {
		if e.change > shown {
			changes = append(changes, cluster.Change{Ownership: &e.record})
		}
	}
	if n.fault == "shows owners before members" {
		members()
	}
	return changes, n.changes
}
