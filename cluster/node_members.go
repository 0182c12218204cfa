package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// peer is a member as this node sees it; the node itself is one too.
type peer struct {
	member   Member
	seen     time.Duration // when member.Beat was first seen
	reported bool          // ReportRefused
	removing bool          // a call of Remove is under way
	retry    time.Duration // not to be removed before
	told     bool          // that it is incompatible
}

// watch follows the engine's changes until the node stops.
func (n *Node) watch() {
	for n.ctx.Err() == nil {
		ctx, cancel := context.WithCancel(n.ctx)
		n.mu.Lock()
		n.stopWatch = cancel
		n.stats.Watches++
		n.mu.Unlock()
		initial, synced := []Change(nil), false
		err := n.engine.Watch(ctx, func(c Change) {
			switch {
			case synced:
				n.see(c)
			case c.Synced:
				n.seeAll(initial)
				initial, synced = nil, true
			default:
				initial = append(initial, c)
			}
		})
		cancel()
		if n.ctx.Err() == nil {
			n.opts.Logger.Warn("edgews: cluster changes cannot be followed; trying again", "node", n.self.ID, "error", err)
			n.pause(n.ctx)
		}
	}
}

// pause waits before a failed call is made again. It reports whether ctx has not ended.
func (n *Node) pause(ctx context.Context) bool {
	return pause(ctx, n.opts.RenewEvery/retriesPerRenewal)
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// see takes note of one change.
func (n *Node) see(c Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seeLocked(c)
}

// seeAll takes note of all that there was when a Watch began. Members that it does not show have gone.
func (n *Node) seeAll(changes []Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	shown := make(map[string]bool)
	for _, c := range changes {
		if c.Member != nil {
			shown[c.Member.ID] = !c.Gone
		}
		n.seeLocked(c)
	}
	for id, p := range n.peers {
		if !shown[id] && !p.member.is(n.self) { // a renewal tells whether the node itself is still there
			n.past.member("member left", id, "")
			n.dropPeerLocked(id)
		}
	}
	n.publishLocked()
	select {
	case <-n.synced:
	default:
		close(n.synced)
	}
	n.poke()
}

func (n *Node) seeLocked(c Change) {
	switch {
	case c.Member != nil && c.Gone:
		n.seeGoneLocked(*c.Member)
	case c.Member != nil:
		n.seeMemberLocked(*c.Member)
	case c.Ownership != nil && int(c.Ownership.Shard) < len(n.shards):
		n.noteRecordLocked(*c.Ownership)
	}
}

func (n *Node) seeMemberLocked(m Member) {
	if m.is(n.self) {
		n.unshown.shown(m.Beat)
	}
	p := n.peers[m.ID]
	switch {
	case p == nil || !p.member.is(m):
		n.peers[m.ID] = &peer{member: m, seen: n.clock.now()}
		n.noteJoinedLocked(m)
	case m.Beat <= p.member.Beat: // shown again
		return
	default:
		was := p.member
		if m.Leaving && !was.Leaving && !m.is(n.self) {
			n.past.member("member leaving", m.ID, "")
		}
		was.Beat = m.Beat
		p.member, p.seen = m, n.clock.now()
		if was == m {
			n.publishLocked()
			return
		}
	}
	n.membersChangedLocked()
}

func (n *Node) seeGoneLocked(m Member) {
	if m.is(n.self) {
		l := n.lease.Load()
		if l != nil && (m.Beat == 0 || m.Beat >= l.beat) { // otherwise it is from before the node joined again
			n.removedLocked(l, "another member has removed this one")
		}
	}
	if n.peers[m.ID] != nil {
		if !m.is(n.self) {
			n.past.member("member left", m.ID, "")
		}
		n.dropPeerLocked(m.ID)
	}
}

func (n *Node) dropPeerLocked(id string) {
	delete(n.peers, id)
	n.membersChangedLocked()
}

func (n *Node) membersChangedLocked() {
	n.winners = nil
	n.publishLocked()
	n.changed.send()
	n.poke()
}

// removeDeadLocked begins to remove a member that is dead, and returns when to look at it again.
func (n *Node) removeDeadLocked(p *peer, now time.Duration) (next time.Duration) {
	switch dead := p.seen + DeadAfter(p.member.TTL); {
	case p.member.is(n.self) || p.removing:
		return never
	case now < p.retry:
		return p.retry
	case !p.reported && n.hasLostLease(): // perhaps no member could renew: the others are looked at again when this node is back
		return never
	case !p.reported && now < dead:
		return dead
	}
	p.removing = true
	reported := p.reported
	n.running.Go(func() { n.remove(p, reported) })
	return never
}

// hasLostLease reports whether the node had a lease, and has none now.
func (n *Node) hasLostLease() bool {
	l := n.lease.Load()
	return l != nil && !l.valid()
}

// countAnewLocked gives the other members the time until they are dead again: this node comes back after its lease was lost. If the engine could not
// be reached, they could not renew either.
func (n *Node) countAnewLocked() {
	now := n.clock.now()
	for _, p := range n.peers {
		p.seen = now
	}
}

// never is later than every moment.
const never = time.Duration(1<<63 - 1)

// remove removes a member, provided that the engine has not seen a renewal that this node has not. A member whose port refuses connections
// is removed in any case.
func (n *Node) remove(p *peer, reported bool) {
	n.mu.Lock()
	m := p.member
	n.mu.Unlock()
	arg := m
	if reported {
		arg.Beat = 0
	}
	ctx, cancel := context.WithTimeout(n.ctx, n.opts.RenewEvery)
	defer cancel()
	err := n.engine.Remove(ctx, arg)

	n.mu.Lock()
	defer n.mu.Unlock()
	p.removing = false
	switch {
	case err == nil && n.peers[m.ID] == p && p.member.Beat == m.Beat:
		n.stats.Removed++
		n.opts.Logger.Info("edgews: cluster member is dead", "node", n.self.ID, "member", m.ID, "incarnation", m.Incarnation, "refused", reported)
		n.noteRemovedLocked(m.ID, reported)
		n.dropPeerLocked(m.ID)
	case err != nil:
		p.retry = n.clock.now() + n.opts.RenewEvery
		if !errors.Is(err, ErrConflict) { // a conflict means that Watch is late
			n.opts.Logger.Warn("edgews: dead cluster member cannot be removed; trying again", "node", n.self.ID, "member", m.ID, "error", err)
		}
		n.poke()
	}
}

// candidatesLocked returns the IDs of the members that may own shards.
func (n *Node) candidatesLocked() (ids []string) {
	for id, p := range n.peers {
		m := p.member
		switch {
		case id == n.self.ID, m.EdgeOnly, m.Leaving, n.refused[id] == m.Incarnation:
		case !m.speaksWith(n.self):
			if !p.told {
				p.told = true
				n.opts.Logger.Error("edgews: cluster member gets no shards from this node",
					"node", n.self.ID, "member", id, "error", incompatible(n.self, m))
			}
		default:
			ids = append(ids, id)
		}
	}
	if !n.self.EdgeOnly && !n.announced {
		ids = append(ids, n.self.ID)
	}
	return ids
}

func incompatible(self, m Member) error {
	return fmt.Errorf("%w: this one speaks %d to %d, %s speaks %d to %d",
		ErrIncompatible, self.Versions[0], self.Versions[1], m.ID, m.Versions[0], m.Versions[1])
}
