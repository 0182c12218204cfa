package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster/internal/link"
)

// topics has the subscriptions of this node: of the connections of its clients, which outlive the homes of their objects, and of its objects'
// other sockets, which edgews keeps. What is published is sent once to each node that wants it. For that each node tells the others the hashes
// of the topics that have subscribers there: topicPeer is the sending side of that, topicReceiver the receiving side. topics_edge.go has the
// connections.
type topics struct {
	c *Cluster

	mu sync.Mutex // under the mutexes of edgeSockets and of edgews. Under it, only those of links are locked

	// Guarded by mu.
	local      map[topicKey]*localTopic
	hashes     map[uint64]int // how many topics in local have that hash
	peers      map[peerKey]*topicPeer
	wants      map[peerKey]*topicReceiver // what other members want
	unreported map[*edgeSocket]topicTally // what homes have not been told yet
	sent       uint64                     // messages to other nodes
	dropped    uint64                     // messages that others did not get

	connectSoon chan struct{} // has one element if a channel has to be opened
	patience    time.Duration // publishPatience, except in tests
}

// topicKey is a topic of a namespace.
type topicKey struct{ namespace, topic string }

// localTopic is a topic with subscribers on this node.
type localTopic struct {
	edges   map[*edgeSocket]struct{} // connections of this node's clients
	objects bool                     // sockets of this node's objects that are not at an edge
}

type peerKey struct {
	id          string
	incarnation uint64
}

func newTopics(c *Cluster) *topics {
	return &topics{
		c: c, local: make(map[topicKey]*localTopic), hashes: make(map[uint64]int), peers: make(map[peerKey]*topicPeer),
		wants: make(map[peerKey]*topicReceiver), unreported: make(map[*edgeSocket]topicTally), connectSoon: make(chan struct{}, 1), patience: publishPatience,
	}
}

// hash is what nodes tell each other of the topic. If two topics have the same one, nodes get messages that they have no subscribers for.
func (k topicKey) hash() uint64 {
	h := uint64(fnvOffset)
	for _, s := range []string{k.namespace, k.topic} {
		for i := range len(s) {
			h = fnv(h, s[i])
		}
		h = fnv(h, 0)
	}
	return mix(h)
}

// localLocked returns the topic, which it makes if it has no subscribers: others are told. mu must be held.
func (t *topics) localLocked(key topicKey) *localTopic {
	found := t.local[key]
	if found == nil {
		found = &localTopic{}
		t.local[key] = found
		h := key.hash()
		if t.hashes[h]++; t.hashes[h] == 1 {
			t.tellLocked(h)
		}
	}
	return found
}

// forgetLocked forgets the topic if it has no subscribers. mu must be held.
func (t *topics) forgetLocked(key topicKey, of *localTopic) {
	if of.objects || len(of.edges) > 0 {
		return
	}
	delete(t.local, key)
	h := key.hash()
	if t.hashes[h]--; t.hashes[h] == 0 {
		delete(t.hashes, h)
		t.tellLocked(h)
	}
}

// Subscribed implements edgews.Cluster.
func (c *Cluster) Subscribed(namespace, topic string, subscribed bool) {
	t, key := c.topics, topicKey{namespace, topic}
	t.mu.Lock()
	defer t.mu.Unlock()
	of := t.localLocked(key)
	of.objects = subscribed
	t.forgetLocked(key, of)
}

// ErrPublicationTooLarge: a message that is published has at most 32 MiB.
var ErrPublicationTooLarge = fmt.Errorf("edgews: published message is too large for the cluster: %w", link.ErrTooLarge)

const (
	// maxTopicQueue is how many bytes may wait for another node, besides the window of the channel; an empty queue takes one message of any size.
	maxTopicQueue = 1 << 20

	// publishPatience is how long Publish waits for another node. Then that node is behind: it does not get what is published until half of its
	// queue is free.
	publishPatience = 5 * time.Second
)

// Publish implements edgews.Cluster.
func (c *Cluster) Publish(ctx context.Context, p edgews.ClusterPublication) error {
	t, key := c.topics, topicKey{p.Namespace, p.Topic}
	if len(p.Data) > maxClientMessage {
		return fmt.Errorf("%w: it has %d bytes, and the limit is %d", ErrPublicationTooLarge, len(p.Data), maxClientMessage)
	}
	to, err := t.reserve(ctx, key.hash(), len(p.Data)+publicationCost)
	if err != nil {
		return err
	}
	if len(to) > 0 {
		t.send(to, encodePublication(&p), len(p.Data)+publicationCost)
	}
	t.deliver(key, p.Message, len(p.Data))
	return nil
}

// publicationCost is what a message in a queue needs besides its data, in bytes, about.
const publicationCost = 256

// reserve reserves room in the queues of all nodes that want a topic, except those that are behind. With an error nothing is reserved.
func (t *topics) reserve(ctx context.Context, hash uint64, cost int) (to []*topicPeer, err error) {
	for _, p := range t.wanting(hash) {
		ok, err := p.reserve(ctx, cost)
		if err != nil {
			t.mu.Lock()
			defer t.mu.Unlock()
			for _, p := range to {
				p.reserved -= cost
				p.roomLocked()
			}
			return nil, err
		}
		if ok {
			to = append(to, p)
		}
	}
	return to, nil
}

// wanting returns the nodes that want a topic.
func (t *topics) wanting(hash uint64) (found []*topicPeer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, r := range t.wants {
		if _, ok := r.wants[hash]; !ok {
			continue
		}
		if p := t.peers[key]; p != nil {
			found = append(found, p)
		} else {
			t.dropped++
		}
	}
	return found
}

// send puts a message into the queues in which there is room reserved for it.
func (t *topics) send(to []*topicPeer, pieces [][]byte, cost int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range to {
		p.reserved -= cost
		p.pushLocked(pieces, cost)
	}
}

// deliver sends a message of n bytes to the subscribers on this node.
func (t *topics) deliver(key topicKey, m *edgews.Prepared, n int) {
	t.mu.Lock()
	of := t.local[key]
	if of == nil {
		t.mu.Unlock()
		return
	}
	edges := make([]*edgeSocket, 0, len(of.edges))
	for e := range of.edges {
		edges = append(edges, e)
	}
	objects := of.objects
	t.mu.Unlock()
	sent := edges[:0]
	for _, e := range edges {
		if e.publish(m, n) {
			sent = append(sent, e)
		}
	}
	t.count(sent, n)
	if host := t.c.host(key.namespace); objects && host != nil {
		host.Deliver(key.topic, m)
	}
}

// TopicCounts returns how many messages this node has sent to other nodes because of edgews.Namespace.Publish, one to each node for each
// message, and how many it has not, because the other node was behind or could not be reached.
func (c *Cluster) TopicCounts() (sent, dropped uint64) {
	c.topics.mu.Lock()
	defer c.topics.mu.Unlock()
	return c.topics.sent, c.topics.dropped
}
