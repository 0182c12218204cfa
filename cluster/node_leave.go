package cluster

import (
	"context"
	"errors"
	"fmt"
)

// Leave gives all shards to other members, and then leaves the cluster. If there is no other member that may own them, Losing is called and the
// shards have no owner. If ctx ends before, the remaining shards are lost as in Close, and Leave returns the context's error. Close ends it early
// too. Afterwards the node is closed.
func (n *Node) Leave(ctx context.Context) error { return n.leaveAfter(ctx, func() {}) }

// leaveAfter is Leave, and calls last when all shards have been given away, or ctx has ended, while the node is still a member.
func (n *Node) leaveAfter(ctx context.Context, last func()) error {
	n.mu.Lock()
	closing := n.closing
	n.leaving = true
	n.mu.Unlock()
	if closing {
		return ErrNodeClosed
	}
	notify(n.renewal) // first the others learn it, so that they do not give the shards back
	err := n.awaitSettled(ctx, n.nothingOwnedLocked)
	last()
	return errors.Join(err, n.stop(ctx))
}

// Close ends the node at once: it is fenced, Lost is called for its shards, and its record is removed so that others claim them. It returns
// when all hooks have returned and all goroutines have ended. Closing twice is no error.
func (n *Node) Close() error { return n.stop(context.Background()) }

// nothingOwnedLocked reports whether this node has given everything away, or has been closed.
func (n *Node) nothingOwnedLocked() bool {
	if n.closing {
		return true
	}
	for s := range n.shards {
		sh := &n.shards[s]
		if sh.busy || sh.told.Epoch != 0 || sh.record.Epoch >= sh.behind && n.self.owns(sh.record) && n.winnerLocked(Shard(s)) != "" {
			return false
		}
	}
	return true
}

// nothingToldLocked reports whether the program knows that it owns nothing.
func (n *Node) nothingToldLocked() bool {
	for s := range n.shards {
		if n.shards[s].busy || n.shards[s].told.Epoch != 0 {
			return false
		}
	}
	return true
}

// awaitSettled waits until done, which is called with the mutex held, returns true.
func (n *Node) awaitSettled(ctx context.Context, doneLocked func() bool) error {
	for {
		settled, changed := n.settled.next(), n.changed.next()
		n.mu.Lock()
		done := doneLocked()
		n.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-settled:
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("edgews: cluster node has not given all its shards away: %w", ctx.Err())
		}
	}
}

// stop ends the node. It waits for the hooks even if ctx has ended.
func (n *Node) stop(ctx context.Context) error {
	defer flushLogger(n.opts.Logger)
	n.mu.Lock()
	first := !n.closing
	n.closing = true
	if l := n.lease.Load(); l != nil {
		n.endLeaseLocked(l, "the node is closed")
	}
	n.mu.Unlock()
	n.poke()
	n.awaitSettled(context.Background(), n.nothingToldLocked)
	n.cancel()
	n.running.Wait()
	n.mu.Lock()
	n.endWaveLocked()
	n.mu.Unlock()
	n.view.Store(&memberView{})
	n.changed.send()
	if !first || n.beat == 0 { // it has never tried to join
		return nil
	}
	return n.removeSelf(ctx)
}

// removeSelf removes this node's record. A renewal or a Join of this node that arrives later makes a record that is never renewed.
func (n *Node) removeSelf(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.opts.RenewEvery)
	defer cancel()
	m := n.self // any beat
	if err := n.engine.Remove(ctx, m); err != nil {
		return fmt.Errorf("edgews: cluster node's record cannot be removed; the others remove it after its TTL: %w", err)
	}
	return nil
}
