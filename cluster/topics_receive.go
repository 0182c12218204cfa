package cluster

import (
	"bytes"
	"encoding/binary"
	"sync"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster/internal/link"
)

// topicReceiver is the receiving side of topics from another member.
type topicReceiver struct {
	t    *topics
	from peerKey
	ch   *link.Channel

	wants map[uint64]struct{} // the hashes of the topics that the member wants; guarded by topics.mu

	// Owned by run.
	part     []byte // of a message whose last part has not arrived
	tooLarge bool   // that message has more bytes than a member may send: all of it is dropped

	mu      sync.Mutex
	queue   []earlyMessage // bounded by the window of the channel
	running bool           // a goroutine handles queue
}

// acceptTopics takes the channel of a member. It replaces an earlier one: the member tells all again.
func (c *Cluster) acceptTopics(from link.Peer, ch *link.Channel) link.Receiver {
	r := &topicReceiver{t: c.topics, from: peerKey{from.ID, from.Incarnation}, ch: ch, wants: make(map[uint64]struct{})}
	c.topics.mu.Lock()
	defer c.topics.mu.Unlock()
	c.topics.wants[r.from] = r
	return r
}

// Message implements link.Receiver. Others handle the message: sending to many sockets takes time, in which the link goes on.
func (r *topicReceiver) Message(seq uint64, p []byte) (consumed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, earlyMessage{seq, bytes.Clone(p)})
	if !r.running {
		r.running = true
		go r.run()
	}
	return false
}

// run handles what has arrived, in order.
func (r *topicReceiver) run() {
	for {
		r.mu.Lock()
		if len(r.queue) == 0 {
			r.queue, r.running = nil, false
			r.mu.Unlock()
			return
		}
		m := r.queue[0]
		r.queue[0] = earlyMessage{}
		r.queue = r.queue[1:]
		r.mu.Unlock()
		r.handle(m.p)
		r.ch.Consume(m.seq)
	}
}

func (r *topicReceiver) handle(p []byte) {
	if len(p) == 0 {
		return
	}
	switch content := p[1:]; p[0] {
	case msgWanted:
		r.noteWanted(content)
	case msgPublishedPart:
		if r.tooLarge = r.tooLarge || len(r.part)+len(content) > maxClientMessage; !r.tooLarge {
			r.part = append(r.part, content...)
		}
	case msgPublished:
		if !r.tooLarge {
			r.deliver(content)
		}
		r.part, r.tooLarge = nil, false
	}
}

// noteWanted notes which topics the member wants, and which it does not want any more.
func (r *topicReceiver) noteWanted(content []byte) {
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	for ; len(content) >= 9; content = content[9:] {
		if h := binary.BigEndian.Uint64(content); content[8] == 1 {
			r.wants[h] = struct{}{}
		} else {
			delete(r.wants, h)
		}
	}
}

// deliver sends a message to the subscribers on this node.
func (r *topicReceiver) deliver(content []byte) {
	if len(content) == 0 {
		return
	}
	kind := edgews.Binary
	if content[0] == msgText {
		kind = edgews.Text
	}
	content = content[1:]
	var names [2]string
	for i := range names {
		if len(content) < 2 {
			return
		}
		n := int(binary.BigEndian.Uint16(content))
		if content = content[2:]; len(content) < n {
			return
		}
		names[i], content = string(content[:n]), content[n:]
	}
	data := append(r.part, content...)
	r.t.deliver(topicKey{names[0], names[1]}, edgews.Prepare(kind, data), len(data))
}

// Ended implements link.Receiver.
func (r *topicReceiver) Ended([]byte) { _ = r.ch.End(nil) }

// Writable implements link.Receiver.
func (r *topicReceiver) Writable() {}

// Closed implements link.Receiver: nothing is known of the member any more.
func (r *topicReceiver) Closed(error) {
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	if r.t.wants[r.from] == r {
		delete(r.t.wants, r.from)
	}
}
