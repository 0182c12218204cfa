package cluster

import (
	"context"
	"slices"
	"time"

	"github.com/edgews/edgews/cluster/internal/link"
)

// watchOwners announces the sockets of this node's clients to the owners of shards, whenever one changes.
func (c *Cluster) watchOwners() {
	last := make(map[Shard]*announcing)
	failed := make(chan Ownership)
	var members []Member
	for {
		changed := c.Changed()
		members = c.removeLinks(members)
		for i := range c.Config().Shards { // there may be one more than a Shard can count
			s := Shard(i)
			o, m, ok := c.Owner(s)
			if !ok || !c.mustTell(o) {
				continue
			}
			last[s] = c.beginAnnouncing(last[s], o, m, failed)
		}
		select {
		case <-changed:
		case o := <-failed:
			c.forgetTold(o)
			_ = c.awaitRetry(context.Background()) // the next attempt may fail at once, too
		case <-c.done:
			for _, a := range last {
				a.cancel()
				<-a.done
			}
			return
		}
	}
}

// announcing is an announcement that is under way, or over.
type announcing struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// beginAnnouncing announces the sockets of a shard to its owner, after the announcement to the owner before has been given up.
func (c *Cluster) beginAnnouncing(before *announcing, o Ownership, m Member, failed chan<- Ownership) *announcing {
	ctx, cancel := context.WithCancel(context.Background())
	a := &announcing{cancel, make(chan struct{})}
	if before != nil {
		before.cancel()
	}
	go func() {
		defer close(a.done)
		if before != nil {
			<-before.done
		}
		if c.announce(ctx, o, m) == nil {
			return
		}
		select {
		case failed <- o:
		case <-ctx.Done(): // there is a later owner
		}
	}()
	return a
}

// removeLinks ends the links with those of the members before that are gone, and returns the present ones. The sockets whose edge or home is
// gone learn of it. A member that leaves answers requests for a moment after it has gone, see drain.
func (c *Cluster) removeLinks(before []Member) []Member {
	now := c.Members()
	if c.draining.Load() {
		return now
	}
	for _, m := range before {
		switch {
		case slices.ContainsFunc(now, m.is):
		case m.Leaving:
			time.AfterFunc(2*drainTimeout, func() { c.links.Remove(m.ID, m.Incarnation) })
		default:
			c.links.Remove(m.ID, m.Incarnation)
		}
	}
	return now
}

// isMember reports whether a peer is a live member as far as this node knows.
func (c *Cluster) isMember(p link.Peer) bool {
	m, ok := c.view.Load().byID[p.ID]
	return ok && m.Incarnation == p.Incarnation
}

// mustTell notes that the sockets of a shard are announced to its owner. It returns false if they have been already.
func (c *Cluster) mustTell(o Ownership) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told[o.Shard] == o {
		return false
	}
	c.told[o.Shard] = o
	return true
}

// forgetTold has the sockets of a shard announced again.
func (c *Cluster) forgetTold(o Ownership) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told[o.Shard] == o {
		delete(c.told, o.Shard)
	}
}

// announce announces the sockets of a shard to its owner, and then says that these were all.
func (c *Cluster) announce(ctx context.Context, o Ownership, m Member) error {
	soon, cancel := context.WithTimeout(ctx, detachTimeout)
	defer cancel()
	c.awaitUpgrades(soon, o)
	for _, e := range c.socketsOf(o.Shard) {
		e.awaitDetached(soon)
		if err := e.moveTo(ctx, o, m); err != nil {
			return err
		}
	}
	end := &announcement{c: c, o: o}
	ch, err := c.open(ctx, m, greeting(kindEnd, endHead{o.Shard, o.Epoch}), end)
	if err != nil {
		return err
	}
	return ch.End(nil)
}

// beginUpgrade notes that q may become a socket; ended says that it has, or does not any more.
func (c *Cluster) beginUpgrade(q *edgeRequest) (ended func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.upgrades[q.shard] == nil {
		c.upgrades[q.shard] = make(map[*edgeRequest]chan struct{})
	}
	done := make(chan struct{})
	c.upgrades[q.shard][q] = done
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		close(done)
		delete(c.upgrades[q.shard], q)
		if len(c.upgrades[q.shard]) == 0 {
			delete(c.upgrades, q.shard)
		}
	}
}

// awaitUpgrades waits until the requests that earlier owners have got are sockets, or have ended, so that none is missing at the next home.
func (c *Cluster) awaitUpgrades(ctx context.Context, o Ownership) {
	var waiting []chan struct{}
	c.mu.Lock()
	for q, done := range c.upgrades[o.Shard] {
		if q.epoch < o.Epoch {
			waiting = append(waiting, done)
		}
	}
	c.mu.Unlock()
	for _, done := range waiting {
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}

// socketsOf returns the sockets of clients whose objects are in a shard.
func (c *Cluster) socketsOf(s Shard) []*edgeSocket {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*edgeSocket, 0, len(c.edges[s]))
	for e := range c.edges[s] {
		all = append(all, e)
	}
	return all
}

// announcement is the receiver of the channel that says that all sockets have been announced. If it fails, they are announced again.
type announcement struct {
	c *Cluster
	o Ownership
}

func (a *announcement) Message(uint64, []byte) bool { return true }
func (a *announcement) Ended([]byte)                {}
func (a *announcement) Writable()                   {}

// Closed implements link.Receiver.
func (a *announcement) Closed(err error) {
	if err != nil {
		a.c.forgetTold(a.o)
		a.c.changed.send()
	}
}

var _ link.Receiver = (*announcement)(nil)
