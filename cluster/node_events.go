package cluster

import (
	"time"

	"github.com/edgews/edgews"
)

// past is what a node remembers of what has happened, for Cluster.Info and for its log. Guarded by Node.mu.
type past struct {
	renewals, failures int64
	failure            error // of the last renewal that has failed
	failedAt           time.Time

	claims, conflicts          int64
	handoverTime, lastHandover time.Duration

	events []edgews.ClusterEvent // the oldest first
	wave   wave

	unchanged   int           // attempts to change a record that have failed and are not in the log
	unchangedAt time.Duration // the next one is put into the log from then on
}

// handedOver counts a shard that has been given away.
func (p *past) handedOver(began, now time.Duration) {
	p.wave.changed(&p.wave.given, now)
	p.lastHandover = now - began
	p.handoverTime += p.lastHandover
}

// countConflict counts a change of a record for which another member was faster.
func (n *Node) countConflict() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.past.conflicts++
}

// maxEvents is how many events a node remembers.
const maxEvents = 100

// add remembers e.
func (p *past) add(e edgews.ClusterEvent) {
	e.At = time.Now()
	if len(p.events) == maxEvents {
		p.events = append(p.events[:0], p.events[1:]...)
	}
	p.events = append(p.events, e)
}

// member remembers that something has happened to a member.
func (p *past) member(kind, id, reason string) {
	p.add(edgews.ClusterEvent{Kind: kind, Member: id, Reason: reason})
}

// wave is changes of this node's shards that follow one another. They are told together: when a member comes or goes, hundreds of shards change.
type wave struct {
	gained, given, lost int
	began, last         time.Duration // as clock.now, of the first and of the last change
}

const (
	// waveQuiet is how long after the last change a wave is over.
	waveQuiet = time.Second
	// waveMost is after how long a wave is told though it is not over.
	waveMost = 15 * time.Second
)

// changed counts a change in *count, which is one of w.
func (w *wave) changed(count *int, now time.Duration) {
	if w.isEmpty() {
		w.began = now
	}
	*count, w.last = *count+1, now
}

func (w *wave) isEmpty() bool { return w.gained+w.given+w.lost == 0 }

// due returns when the wave is to be told: never if there is none, and not before waveMost while shards are still changing.
func (w *wave) due(changing bool) time.Duration {
	switch {
	case w.isEmpty():
		return never
	case changing:
		return w.began + waveMost
	}
	return min(w.last+waveQuiet, w.began+waveMost)
}

// tellWaveLocked tells a wave that is due, and returns when to look again. changing says that a goroutine acts on a shard.
func (n *Node) tellWaveLocked(now time.Duration, changing bool) (next time.Duration) {
	if due := n.past.wave.due(changing); now < due {
		return due
	}
	n.endWaveLocked()
	return never
}

// endWaveLocked tells the changes since the last wave, if there are any.
func (n *Node) endWaveLocked() {
	w := n.past.wave
	if w.isEmpty() {
		return
	}
	n.past.wave = wave{}
	n.past.add(edgews.ClusterEvent{Kind: "shards changed", Gained: w.gained, Given: w.given, Lost: w.lost, Took: w.last - w.began})
	log := n.opts.Logger.Info
	if w.lost > 0 {
		log = n.opts.Logger.Warn
	}
	log("edgews: shards of this cluster node have changed", "node", n.self.ID, "gained", w.gained, "given", w.given, "lost", w.lost,
		"owned", n.ownedLocked(), "took", w.last-w.began)
}

// ownedLocked returns how many shards this node owns.
func (n *Node) ownedLocked() (owned int) {
	for s := range n.held {
		if n.held[s].Load().valid() {
			owned++
		}
	}
	return owned
}

// tellUnchanged logs that a record could not be changed. Of the many that fail while the engine does, it logs one for each RenewEvery.
func (n *Node) tellUnchanged(prev Ownership, to Member, err error) {
	n.mu.Lock()
	p, now := &n.past, n.clock.now()
	p.unchanged++
	attempts := p.unchanged
	isDue := now >= p.unchangedAt
	if isDue {
		p.unchanged, p.unchangedAt = 0, now+n.opts.RenewEvery
	}
	n.mu.Unlock()
	if isDue {
		n.opts.Logger.Warn("edgews: owners of a cluster's shards cannot be changed; trying again",
			"node", n.self.ID, "shard", prev.Shard, "to", to.ID, "error", err, "attempts", attempts)
	}
}

// renewed counts a renewal.
func (p *past) renewed(err error) {
	if err == nil {
		p.renewals++
		return
	}
	p.failures++
	p.failure, p.failedAt = err, time.Now()
}

// noteJoinedLocked remembers that a member has come.
func (n *Node) noteJoinedLocked(m Member) {
	if !m.is(n.self) {
		n.past.member("member joined", m.ID, "")
	}
}

// noteRemovedLocked remembers that this node has removed a member.
func (n *Node) noteRemovedLocked(id string, refused bool) {
	reason := "it was not renewed in time"
	if refused {
		reason = "its address refused connections"
	}
	n.past.member("member removed", id, reason)
}
