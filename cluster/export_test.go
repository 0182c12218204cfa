package cluster

import (
	"strconv"
	"time"

	"github.com/edgews/edgews"
)

// SetClockRate lets the clock of a node run faster or slower than that of the test.
func (o *Options) SetClockRate(rate float64) { o.clockRate = rate }

// Describe returns what Cluster.Info takes from its Node.
func (n *Node) Describe() (info edgews.ClusterInfo) {
	n.describe(&info)
	return info
}

// RememberEvents returns what a node remembers of so many events.
func RememberEvents(n int) []edgews.ClusterEvent {
	var p past
	for i := range n {
		p.member("member joined", strconv.Itoa(i), "")
	}
	return p.events
}

// Wanting returns how many other nodes want a topic, as far as this one knows.
func (c *Cluster) Wanting(namespace, topic string) int {
	return len(c.topics.wanting(topicKey{namespace, topic}.hash()))
}

// SetPublishPatience changes publishPatience.
func (c *Cluster) SetPublishPatience(d time.Duration) {
	c.topics.mu.Lock()
	defer c.topics.mu.Unlock()
	c.topics.patience = d
}

// LocalTopics returns how many topics have subscribers on this node.
func (c *Cluster) LocalTopics() int {
	c.topics.mu.Lock()
	defer c.topics.mu.Unlock()
	return len(c.topics.local)
}

// MaxTopicQueue is maxTopicQueue.
const MaxTopicQueue = maxTopicQueue
