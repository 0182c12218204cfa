package faultrun

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
)

// nodeEngine is the engine of a node: it holds calls at phases, and fails calls of this node alone.
type nodeEngine struct {
	cluster.Engine
	holds         *holds
	self          string // ID of the node
	ignoresFences bool   // the mutation: what the fence refuses is stored nevertheless

	blind    atomic.Bool  // renewals and claims do not arrive
	refused  atomic.Int64 // commits that the fence has refused
	mu       sync.Mutex
	heldBack chan struct{} // closed when watches go on; nil: they are not held back
}

// errBlind is what calls return that do not arrive.
var errBlind = errors.New("the test has lost the request")

// holdWatch has watches show nothing new, or lets them go on.
func (e *nodeEngine) holdWatch(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case on && e.heldBack == nil:
		e.heldBack = make(chan struct{})
	case !on && e.heldBack != nil:
		close(e.heldBack)
		e.heldBack = nil
	}
}

func (e *nodeEngine) awaitWatch(ctx context.Context) {
	e.mu.Lock()
	held := e.heldBack
	e.mu.Unlock()
	if held == nil {
		return
	}
	select {
	case <-held:
	case <-ctx.Done():
	}
}

func (e *nodeEngine) Watch(ctx context.Context, fn func(cluster.Change)) error {
	return e.Engine.Watch(ctx, func(c cluster.Change) {
		e.awaitWatch(ctx)
		if ctx.Err() == nil {
			fn(c)
		}
	})
}

func (e *nodeEngine) Renew(ctx context.Context, m cluster.Member) error {
	if e.blind.Load() {
		return errBlind
	}
	return e.Engine.Renew(ctx, m)
}

func (e *nodeEngine) Join(ctx context.Context, m cluster.Member) error {
	if e.blind.Load() {
		return errBlind
	}
	return e.Engine.Join(ctx, m)
}

func (e *nodeEngine) Claim(ctx context.Context, prev cluster.Ownership, to cluster.Member) (cluster.Ownership, error) {
	if e.blind.Load() {
		return cluster.Ownership{}, errBlind
	}
	begins, returns := ClaimBegins, ClaimReturns
	if to.ID != e.self {
		begins, returns = HandOverBegins, HandOverReturns
	}
	e.holds.atShard(begins, prev.Shard)
	o, err := e.Engine.Claim(ctx, prev, to)
	e.holds.atShard(returns, prev.Shard)
	return o, err
}

func (e *nodeEngine) Open(ctx context.Context, key edgews.ObjectKey, f edgews.Fence) (edgews.ObjectStore, error) {
	inner, err := e.Engine.Open(ctx, key, f)
	if e.ignoresFences && errors.Is(err, edgews.ErrFenced) {
		inner, err = e.Engine.Open(ctx, key, farFence)
	}
	if err != nil {
		return nil, err
	}
	return &nodeStore{ObjectStore: inner, e: e, key: key}, nil
}

// farFence has an epoch that no owner reaches. Two opened stores that have it fence each other, the later one the earlier one.
var farFence = edgews.Fence{Epoch: 1 << 62}

// nodeStore is the storage of an object on a node.
type nodeStore struct {
	edgews.ObjectStore
	e   *nodeEngine
	key edgews.ObjectKey
}

func (s *nodeStore) Commit(ctx context.Context, b edgews.Batch) error {
	s.e.holds.at(CommitBegins, s.key.ID)
	err := s.ObjectStore.Commit(ctx, b)
	if errors.Is(err, edgews.ErrFenced) {
		s.e.refused.Add(1)
	}
	for s.e.ignoresFences && errors.Is(err, edgews.ErrFenced) { // another zombie may open it again before the commit
		err = s.commitAnyway(ctx, b)
	}
	if err == nil {
		s.e.holds.at(CommitReturns, s.key.ID)
	}
	return err
}

// commitAnyway is the mutation: a commit without a fence.
func (s *nodeStore) commitAnyway(ctx context.Context, b edgews.Batch) error {
	again, err := s.e.Engine.Open(ctx, s.key, farFence)
	if err != nil {
		return err
	}
	s.ObjectStore.Release()
	s.ObjectStore = again
	return again.Commit(ctx, b)
}
