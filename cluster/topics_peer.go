package cluster

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster/internal/link"
)

// topicPeer is the sending side of topics to another member: it tells it which topics this node wants, and sends what is published to those
// that the other one wants. The channel is made when there is something to say. Guarded by topics.mu.
type topicPeer struct {
	t   *topics
	key peerKey
	m   Member

	channel  *topicChannel       // nil: there is none
	untold   map[uint64]struct{} // hashes of topics of which the member has to be told whether this node wants them
	queue    []queuedPiece
	size     int // of queue
	reserved int // for messages that are about to be queued
	behind   bool
	gone     bool          // it is no member any more
	room     chan struct{} // closed when there is room, or none is needed; nil: no call waits
}

// queuedPiece is a message of the channel that waits. The last one of a publication has its cost.
type queuedPiece struct {
	m    []byte
	cost int
}

// topicChannel is the receiver of the channel of a topicPeer.
type topicChannel struct {
	p    *topicPeer
	ch   *link.Channel // nil: connect is about to set it. Guarded by topics.mu
	over bool          // guarded by topics.mu
}

// watch opens the channels that are needed, and forgets the members that are gone.
func (t *topics) watch() {
	for {
		changed := t.c.Changed()
		t.setMembers(t.c.Members())
		var again <-chan time.Time
		if !t.connect() {
			again = time.After(reopenPause)
		}
		select {
		case <-changed:
		case <-t.connectSoon:
		case <-again:
		case <-t.c.done:
			t.setMembers(nil)
			return
		}
	}
}

// reopenPause is how long is waited before a channel is opened again: links survive broken connections, so the other node has refused it, or has
// restarted.
const reopenPause = time.Second

// setMembers makes the peers those members.
func (t *topics) setMembers(members []Member) {
	self := t.c.Self()
	now := make(map[peerKey]Member, len(members))
	for _, m := range members {
		if m.ID != self.ID {
			now[peerKey{m.ID, m.Incarnation}] = m
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, p := range t.peers {
		if _, ok := now[key]; !ok {
			p.gone = true
			p.dropLocked()
			delete(t.peers, key)
		}
	}
	for key, m := range now {
		if t.peers[key] == nil {
			t.peers[key] = &topicPeer{t: t, key: key, m: m}
		}
	}
}

// connect opens the channels that are needed. It returns false if it has to be called again.
func (t *topics) connect() (done bool) {
	done = true
	for _, p := range t.unconnected() {
		c := &topicChannel{p: p}
		t.mu.Lock()
		p.channel = c
		t.mu.Unlock()
		ch, err := t.c.openNow(p.m, greeting(kindTopics, struct{}{}), c)
		t.mu.Lock()
		switch {
		case err != nil:
			p.channel = nil
			done = false
		case !c.over:
			c.ch = ch
			p.untold = make(map[uint64]struct{}, len(t.hashes))
			for h := range t.hashes {
				p.untold[h] = struct{}{}
			}
			p.pumpLocked()
		}
		t.mu.Unlock()
	}
	return done
}

// unconnected returns the peers for which there is something to say, and no channel.
func (t *topics) unconnected() (found []*topicPeer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.peers {
		if p.channel == nil && (len(t.hashes) > 0 || len(p.queue) > 0) {
			found = append(found, p)
		}
	}
	return found
}

// tellLocked tells the others that this node wants the topics with that hash, or does not any more. mu must be held.
func (t *topics) tellLocked(hash uint64) {
	for _, p := range t.peers {
		if p.channel == nil {
			notify(t.connectSoon)
		} else if p.channel.ch != nil { // otherwise it is told all
			p.untold[hash] = struct{}{}
			p.pumpLocked()
		}
	}
}

// reserve waits for room for a message. It returns false if the member is behind, or gone.
func (p *topicPeer) reserve(ctx context.Context, cost int) (ok bool, err error) {
	var timer *time.Timer
	p.t.mu.Lock()
	for {
		switch {
		case ctx.Err() != nil:
			p.t.mu.Unlock()
			return false, ctx.Err()
		case p.behind, p.gone:
			p.t.dropped++
			p.t.mu.Unlock()
			return false, nil
		case p.size+p.reserved == 0 || p.size+p.reserved+cost <= maxTopicQueue:
			p.reserved += cost
			p.t.mu.Unlock()
			return true, nil
		}
		if p.room == nil {
			p.room = make(chan struct{})
		}
		room := p.room
		p.t.mu.Unlock()
		if timer == nil {
			timer = time.NewTimer(p.t.patience)
			defer timer.Stop()
		}
		isLate := false
		select {
		case <-room:
		case <-ctx.Done():
		case <-timer.C:
			isLate = true
		}
		p.t.mu.Lock()
		if isLate && room == p.room && !p.behind { // nothing has become free meanwhile
			p.behind = true
			p.t.c.opts.Logger.Warn("edgews: cluster member is behind, and misses messages of topics", "node", p.t.c.opts.Self.ID, "member", p.m.ID)
			p.wakeLocked()
		} else if isLate {
			timer.Reset(p.t.patience)
		}
	}
}

// pushLocked queues a message for which room was reserved. topics.mu must be held.
func (p *topicPeer) pushLocked(pieces [][]byte, cost int) {
	if p.gone {
		p.t.dropped++
		return
	}
	for i, m := range pieces {
		q := queuedPiece{m: m}
		if i == len(pieces)-1 {
			q.cost = cost
		}
		p.queue = append(p.queue, q)
	}
	p.size += cost
	if p.channel == nil {
		notify(p.t.connectSoon)
	}
	p.pumpLocked()
}

// untoldAtOnce is how many topics are in one message.
const untoldAtOnce = 512

// pumpLocked gives the channel what it has room for. topics.mu must be held.
func (p *topicPeer) pumpLocked() {
	if p.channel == nil || p.channel.ch == nil {
		return
	}
	ch := p.channel.ch
	for len(p.untold) > 0 {
		m := []byte{msgWanted}
		var told []uint64
		for h := range p.untold {
			m = binary.BigEndian.AppendUint64(m, h)
			wanted := byte(0)
			if p.t.hashes[h] > 0 {
				wanted = 1
			}
			m = append(m, wanted)
			if told = append(told, h); len(told) == untoldAtOnce {
				break
			}
		}
		if _, err := ch.TrySend(m); err != nil {
			return
		}
		for _, h := range told {
			delete(p.untold, h)
		}
	}
	for len(p.queue) > 0 {
		if _, err := ch.TrySend(p.queue[0].m); err != nil {
			return
		}
		if cost := p.queue[0].cost; cost > 0 {
			p.size -= cost
			p.t.sent++
		}
		p.queue[0] = queuedPiece{}
		p.queue = p.queue[1:]
		p.roomLocked()
	}
	p.queue = nil
}

// roomLocked is called when there is more room. topics.mu must be held.
func (p *topicPeer) roomLocked() {
	if p.size+p.reserved <= maxTopicQueue/2 {
		p.behind = false
	}
	p.wakeLocked()
}

// wakeLocked has those look again who wait for room. topics.mu must be held.
func (p *topicPeer) wakeLocked() {
	if p.room != nil {
		close(p.room)
		p.room = nil
	}
}

// dropLocked drops what is queued, when the channel is over: a part of a message may have been sent. topics.mu must be held.
func (p *topicPeer) dropLocked() {
	for _, q := range p.queue {
		if q.cost > 0 {
			p.t.dropped++
		}
	}
	p.queue, p.size = nil, 0
	p.roomLocked()
}

// Message implements link.Receiver.
func (c *topicChannel) Message(uint64, []byte) bool { return true }

// Ended implements link.Receiver.
func (c *topicChannel) Ended([]byte) {}

// Writable implements link.Receiver.
func (c *topicChannel) Writable() {
	c.p.t.mu.Lock()
	defer c.p.t.mu.Unlock()
	if c.p.channel == c {
		c.p.pumpLocked()
	}
}

// Closed implements link.Receiver.
func (c *topicChannel) Closed(error) {
	p := c.p
	p.t.mu.Lock()
	c.over = true
	if p.channel == c {
		p.channel = nil
		p.untold = nil
		p.dropLocked()
	}
	gone := p.gone
	p.t.mu.Unlock()
	if !gone {
		time.AfterFunc(reopenPause, func() { notify(p.t.connectSoon) })
	}
}

// encodePublication returns the messages of a channel that a publication is: parts of the data, and then the rest.
func encodePublication(p *edgews.ClusterPublication) (pieces [][]byte) {
	rest := p.Data
	for len(rest) > maxPart {
		pieces = append(pieces, bytesMessage(msgPublishedPart, rest[:maxPart]))
		rest = rest[maxPart:]
	}
	m := make([]byte, 0, 6+len(p.Namespace)+len(p.Topic)+len(rest))
	m = append(m, msgPublished, kindByte(p.Kind))
	for _, s := range []string{p.Namespace, p.Topic} {
		m = binary.BigEndian.AppendUint16(m, uint16(len(s)))
		m = append(m, s...)
	}
	return append(pieces, append(m, rest...))
}
