package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/edgews/edgews"
)

// Store implements edgews.Cluster: the storage of the objects whose home is this node.
func (c *Cluster) Store() edgews.Store { return &homeStore{c} }

// homeStore is the engine's Store, fenced by ownership. A pointer to it can be compared.
type homeStore struct{ c *Cluster }

// Open opens storage with the epoch of the object's shard.
func (s *homeStore) Open(ctx context.Context, o edgews.ObjectKey, _ edgews.Fence) (edgews.ObjectStore, error) {
	epoch, ok := s.c.epochOf(o)
	if !ok {
		return nil, fmt.Errorf("%w: this node is not the home of the object", edgews.ErrFenced)
	}
	return s.c.opts.Engine.Open(ctx, o, edgews.Fence{Epoch: epoch})
}

// DueAlarms returns the alarms of the objects whose home this node is. It asks for those of all objects first: often they are few.
func (s *homeStore) DueAlarms(ctx context.Context, namespace string, until time.Time, limit int) ([]edgews.DueAlarm, error) {
	ask := limit * 4
	due, err := s.c.opts.Engine.DueAlarms(ctx, namespace, until, ask)
	if err != nil {
		return nil, err
	}
	all := len(due) < ask
	due = slices.DeleteFunc(due, func(a edgews.DueAlarm) bool { return !s.c.IsHome(edgews.ObjectKey{Namespace: namespace, ID: a.ID}) })
	if all || len(due) >= limit {
		return due[:min(len(due), limit)], nil
	}
	return s.dueByShard(ctx, namespace, until, limit)
}

// dueByShard asks for the alarms of each shard that this node owns: most of those that are due belong to other nodes.
func (s *homeStore) dueByShard(ctx context.Context, namespace string, until time.Time, limit int) (due []edgews.DueAlarm, err error) {
	for _, shard := range s.c.readyShards() {
		some, err := s.c.opts.Engine.DueShardAlarms(ctx, namespace, shard, until, limit)
		if err != nil {
			return nil, err
		}
		due = append(due, some...)
	}
	slices.SortStableFunc(due, func(a, b edgews.DueAlarm) int { return a.Time.Compare(b.Time) })
	return due[:min(len(due), limit)], nil
}

// readyShards returns the shards whose objects run on this node.
func (c *Cluster) readyShards() (shards []Shard) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s, h := range c.homes {
		if h.isReady() {
			shards = append(shards, s)
		}
	}
	return shards
}

// Close does nothing: the engine is the program's.
func (s *homeStore) Close() error { return nil }
