package cluster

import (
	"context"
	"errors"
	"time"
)

// shard is what a node knows about a shard.
type shard struct {
	record Ownership // as Watch has shown it, or as this node's own claim has made it; Epoch 0: none

	// behind is an epoch that another call has shown to exist. Until Watch has shown it too, record is out of date. The other call's
	// answer is not taken for record, because its owner may be a member that Watch has not shown yet, which must not be taken for dead.
	behind uint64

	told Ownership // Gained has been called with it, and neither Losing nor Lost have returned since; Epoch 0: none
	busy bool      // a goroutine acts on it
}

// reconcileAlways does what is to be done about leases, members and shards until the node stops.
func (n *Node) reconcileAlways() {
	for {
		timer := time.NewTimer(n.clock.timer(n.reconcile()))
		select {
		case <-n.wake:
		case <-timer.C:
		case <-n.ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// reconcile begins all that is to be done now, and returns when to call it again at the latest.
func (n *Node) reconcile() (next time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.clock.now()
	next = now + n.opts.TTL
	l := n.lease.Load()
	if l != nil && !l.over.Load() && !l.unbounded {
		if !l.valid() {
			n.endLeaseLocked(l, "it was not renewed in time")
		} else {
			next = min(next, time.Duration(l.until.Load()))
		}
	}
	if !n.closing {
		for _, p := range n.peers {
			next = min(next, n.removeDeadLocked(p, now))
		}
	}
	changing := false
	for s := range n.shards {
		n.actLocked(Shard(s), l)
		changing = changing || n.shards[s].busy
	}
	return min(next, n.tellWaveLocked(now, changing))
}

// actLocked begins what is to be done about a shard.
func (n *Node) actLocked(s Shard, l *lease) {
	sh := &n.shards[s]
	if sh.busy {
		return
	}
	h := n.held[s].Load()
	switch {
	case sh.told.Epoch != 0 && !h.valid():
		n.loseLocked(s)
		return
	case l == nil || !l.valid() || n.closing:
		return
	case sh.told.Epoch != 0:
		if to := n.winnerLocked(s); to != n.self.ID && n.handovers < n.opts.HandoversAtOnce {
			n.handOverLocked(s, l, to)
		}
		return
	case sh.record.Epoch < sh.behind:
		return
	}
	owner := n.peers[sh.record.Owner]
	mine := n.self.owns(sh.record) // given by another member, or claimed in an earlier lease
	switch winner := n.winnerLocked(s); {
	case !mine && owner != nil && owner.member.owns(sh.record):
	case winner == n.self.ID && n.claims < claimsAtOnce:
		n.claimLocked(s, l)
	case mine && winner != "" && winner != n.self.ID && n.handovers < n.opts.HandoversAtOnce:
		n.handOverLocked(s, l, winner)
	}
}

// winnerLocked returns the ID of the member that should own s, and "" if none can.
func (n *Node) winnerLocked(s Shard) string {
	if n.winners == nil {
		p := newPlacement(n.candidatesLocked())
		n.winners = make([]string, len(n.shards))
		for s := range n.winners {
			n.winners[s] = p.winner(Shard(s))
		}
	}
	return n.winners[s]
}

// claimLocked makes this node the owner of a shard whose owner is not a member, or that is this node's already but not in this lease.
func (n *Node) claimLocked(s Shard, l *lease) {
	sh := &n.shards[s]
	prev := sh.record
	sh.busy = true
	n.claims++
	n.past.claims++
	n.running.Go(func() {
		got, err := n.change(l, prev, n.self)
		n.mu.Lock()
		gained := err == nil && sh.record.Epoch == got.Epoch && l.valid() && !n.closing
		if gained {
			n.stats.Gained++
			n.past.wave.changed(&n.past.wave.gained, n.clock.now())
			sh.told = got
			n.held[s].Store(&holding{got.Epoch, l})
			n.changed.send()
		}
		n.mu.Unlock()
		if gained {
			n.opts.Gained(l.ctx, got)
		}
		n.mu.Lock()
		n.claims--
		n.doneAndUnlock(sh)
	})
}

// handOverLocked gives a shard to another member, or to none if to is "". The record changes after Losing.
func (n *Node) handOverLocked(s Shard, l *lease, to string) {
	sh := &n.shards[s]
	var member Member
	if p := n.peers[to]; p != nil {
		member = p.member
	}
	told, prev := sh.told, sh.record
	sh.busy = true
	n.handovers++
	began := n.clock.now()
	if told.Epoch != 0 {
		n.stats.Given++
	}
	n.held[s].Store(nil)
	n.running.Go(func() {
		if told.Epoch != 0 {
			n.opts.Losing(l.ctx, told)
		}
		if to != "" && l.valid() {
			n.change(l, prev, member) // if it fails, the record says what is to be done
		}
		n.mu.Lock()
		sh.told = Ownership{}
		if told.Epoch != 0 {
			n.past.handedOver(began, n.clock.now())
		}
		n.handovers--
		n.doneAndUnlock(sh)
	})
}

// loseLocked tells the program that it does not own a shard any more.
func (n *Node) loseLocked(s Shard) {
	sh := &n.shards[s]
	told := sh.told
	n.stats.Lost++
	n.past.wave.changed(&n.past.wave.lost, n.clock.now())
	sh.busy = true
	n.held[s].Store(nil)
	n.changed.send()
	n.running.Go(func() {
		n.opts.Lost(told)
		n.mu.Lock()
		sh.told = Ownership{}
		n.doneAndUnlock(sh)
	})
}

// doneAndUnlock ends an action on a shard.
func (n *Node) doneAndUnlock(sh *shard) {
	sh.busy = false
	n.mu.Unlock()
	n.settled.send()
	n.poke()
}

// change changes the record of a shard from prev. If the outcome of a call is unknown, it makes the same call again until it has an
// answer or the lease ends. If an earlier one has been applied, the record names to already.
func (n *Node) change(l *lease, prev Ownership, to Member) (Ownership, error) {
	for {
		ctx, cancel := context.WithTimeout(l.ctx, n.opts.RenewEvery)
		got, err := n.engine.Claim(ctx, prev, to)
		cancel()
		conflict := errors.Is(err, ErrConflict) && got.Epoch > prev.Epoch
		switch {
		case err == nil, conflict && to.owns(got):
			n.learn(got)
			return got, nil
		case conflict:
			n.learn(got)
			n.countConflict()
			return got, err
		case l.ctx.Err() != nil:
			return got, err
		}
		n.tellUnchanged(prev, to, err)
		if !n.pause(l.ctx) {
			return got, err
		}
	}
}

// learn takes note of a record that a call has returned.
func (n *Node) learn(o Ownership) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.self.owns(o) {
		n.noteRecordLocked(o)
		return
	}
	sh := &n.shards[o.Shard]
	sh.behind = max(sh.behind, o.Epoch)
}

// noteRecordLocked takes note of a shard's record, unless a newer one is known.
func (n *Node) noteRecordLocked(o Ownership) {
	sh := &n.shards[o.Shard]
	if o.Epoch <= sh.record.Epoch {
		return
	}
	sh.record = o
	n.owners[o.Shard].Store(&o)
	if h := n.held[o.Shard].Load(); h != nil && h.epoch < o.Epoch {
		n.held[o.Shard].Store(nil)
	}
	n.changed.send()
	n.poke()
}
