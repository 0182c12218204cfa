package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edgews/edgews"
)

// enter makes the node a member for the first time.
func (n *Node) enter(ctx context.Context) error {
	select {
	case <-n.synced:
	case <-ctx.Done():
		return fmt.Errorf("edgews: cluster does not show its members: %w", ctx.Err())
	}
	if err := n.awaitCompatible(ctx); err != nil {
		return err
	}
	predecessor := uint64(0) // its beat when it was seen first
	for {
		changed := n.Changed()
		if p, exists := n.predecessor(); exists {
			predecessor = cmp.Or(predecessor, p.Beat)
			if p.Beat > predecessor+renewalsPerTTL { // some may have been on their way when the process died
				return fmt.Errorf("%w: %s at %s", ErrMemberExists, p.ID, p.Addr)
			}
		}
		err := n.renew(ctx, n.engine.Join)
		if err == nil && !n.Fenced() {
			return nil
		}
		if !n.await(ctx, changed) {
			return fmt.Errorf("edgews: cluster cannot be joined: %w", errors.Join(ctx.Err(), err))
		}
	}
}

// awaitCompatible returns when all members speak a version of the protocol that this one speaks. It returns an error if one that does not
// is alive: it renews its membership. One that is dead is removed meanwhile.
func (n *Node) awaitCompatible(ctx context.Context) error {
	beats := make(map[string]uint64) // when they were seen first
	for {
		changed := n.Changed()
		var err error
		for _, m := range n.Members() {
			if m.ID == n.self.ID || m.speaksWith(n.self) {
				continue
			}
			err = incompatible(n.self, m)
			if beats[m.ID] = cmp.Or(beats[m.ID], m.Beat); m.Beat != beats[m.ID] {
				return err
			}
		}
		if err == nil {
			return nil
		}
		if !n.await(ctx, changed) {
			return fmt.Errorf("edgews: cluster cannot be joined: %w", errors.Join(ctx.Err(), err))
		}
	}
}

// await waits for a change, but not for long. It reports whether ctx has not ended.
func (n *Node) await(ctx context.Context, changed <-chan struct{}) bool {
	t := time.NewTimer(n.opts.RenewEvery / retriesPerRenewal)
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	case <-ctx.Done():
		return false
	}
	return true
}

// predecessor returns the member that has this node's ID but is another process. If it had the same address, it is removed.
func (n *Node) predecessor() (m Member, exists bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[n.self.ID]
	if p == nil || p.member.is(n.self) {
		return m, false
	}
	if p.member.Addr != "" && p.member.Addr == n.self.Addr && !p.reported {
		p.reported = true
		n.poke()
	}
	return p.member, !p.reported
}

// renewAlways renews the membership until the node stops.
func (n *Node) renewAlways() {
	call := n.engine.Renew
	next := n.clock.now() + n.opts.RenewEvery
	for {
		timer := time.NewTimer(n.clock.timer(next))
		select {
		case <-timer.C:
		case <-n.renewal:
		case <-n.ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()

		sent := n.clock.now()
		err := n.renew(n.ctx, call)
		next = sent + n.opts.RenewEvery
		switch {
		case n.ctx.Err() != nil:
		case err == nil:
			call = n.engine.Renew
		case errors.Is(err, ErrNotMember):
			call = n.engine.Join
			next = n.rejoins()
		case errors.Is(err, ErrMemberExists):
			n.opts.Logger.Error("edgews: another process has taken this node's place in the cluster", "node", n.self.ID, "error", err)
		default:
			n.opts.Logger.Warn("edgews: cluster membership cannot be renewed; trying again", "node", n.self.ID, "error", err)
			next = n.clock.now() + n.opts.RenewEvery/retriesPerRenewal
		}
	}
}

// rejoins returns when the node may join again.
func (n *Node) rejoins() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rejoin
}

// renew makes one call of Join or Renew. Each has a beat of its own: if one was applied although its answer is lost, the others count from
// it, but this node counts from an earlier one.
func (n *Node) renew(ctx context.Context, call func(context.Context, Member) error) error {
	ctx, cancel := context.WithTimeout(ctx, n.opts.RenewEvery)
	defer cancel()
	m := n.self
	n.mu.Lock()
	n.beat++
	m.Beat, m.Leaving = n.beat, n.leaving
	n.mu.Unlock()
	sent := n.clock.now()
	err := call(ctx, m)

	n.mu.Lock()
	defer n.mu.Unlock()
	n.past.renewed(err)
	l := n.lease.Load()
	switch {
	case err == nil:
		if m.Leaving && !n.announced {
			n.announced, n.winners = true, nil
			n.poke()
		}
		n.renewedLocked(m.Beat, sent)
	case l != nil && (errors.Is(err, ErrNotMember) || errors.Is(err, ErrMemberExists)):
		n.removedLocked(l, err.Error())
	}
	return err
}

// renewedLocked takes note of an acknowledged renewal.
func (n *Node) renewedLocked(beat uint64, sent time.Duration) {
	if n.closing {
		return
	}
	now, until := n.clock.now(), sent+n.opts.TTL
	if n.unshown.acknowledged(beat, now, n.opts.TTL) {
		n.opts.Logger.Warn("edgews: cluster does not show this node's renewals; watching again", "node", n.self.ID)
		n.stopWatch()
	}
	l := n.lease.Load()
	switch {
	case l != nil && l.extend(until):
	case l != nil && !l.over.Load():
		n.endLeaseLocked(l, "it was not renewed in time")
	case beat < n.minBeat || until <= now: // perhaps removed since
		notify(n.renewal)
	default:
		n.stats.Leases++
		if l != nil {
			n.countAnewLocked()
		}
		n.past.add(edgews.ClusterEvent{Kind: "lease begun"})
		n.lease.Store(newLease(n.clock, until, beat, n.opts.UnsafeWithoutSelfFencing))
		n.opts.Logger.Info("edgews: joined the cluster", "node", n.self.ID, "incarnation", n.self.Incarnation, "beat", beat)
		n.poke()
	}
}

// removedLocked takes note that another member has removed this one. If that was not because of its TTL, its port refuses connections. Then
// it does not join again at once, so that it is not removed again and again.
func (n *Node) removedLocked(l *lease, why string) {
	if l.valid() {
		n.rejoin = n.clock.now() + n.opts.RenewEvery
	}
	n.endLeaseLocked(l, why)
}

// endLeaseLocked ends a lease: the node is fenced. The next lease begins with a renewal that is sent from now on, since an earlier one may
// have been applied before others removed the node.
func (n *Node) endLeaseLocked(l *lease, why string) {
	if !l.end() {
		return
	}
	n.minBeat = n.beat + 1
	n.past.add(edgews.ClusterEvent{Kind: "lease ended", Reason: why})
	if !n.closing {
		n.stats.Fenced++
		n.opts.Logger.Warn("edgews: cluster node is fenced: it has lost its lease", "node", n.self.ID, "reason", why)
		notify(n.renewal)
	}
	n.changed.send()
	n.poke()
}

// unshownRenewal watches over Watch: renewals that the engine has acknowledged must be shown too.
type unshownRenewal struct {
	beat  uint64        // of the first that has been acknowledged but not shown; 0: none
	since time.Duration // when it was acknowledged
	last  uint64        // the last that was shown
}

func (u *unshownRenewal) shown(beat uint64) {
	u.last = max(u.last, beat)
	if u.last >= u.beat {
		u.beat = 0
	}
}

// acknowledged reports whether nothing has been shown for longer than limit. Then it begins to count anew.
func (u *unshownRenewal) acknowledged(beat uint64, now, limit time.Duration) (stuck bool) {
	switch {
	case beat <= u.last:
	case u.beat == 0:
		u.beat, u.since = beat, now
	case now-u.since > limit:
		u.since = now
		return true
	}
	return false
}
