package cluster

import "time"

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
