package cluster

import "github.com/edgews/edgews"

// Kill ends the links at once, as the death of the process does. The Node goes on, but does not reach its engine any more.
func (c *Cluster) Kill() { c.links.Close() }

// OpenSockets returns how many sockets of clients are open.
func (c *Cluster) OpenSockets() (n int) {
	for _, e := range c.allEdges() {
		if e.s.ReadyState() != edgews.Closed {
			n++
		}
	}
	return n
}

// Channels returns how many channels the node's links have.
func (c *Cluster) Channels() int { return c.links.Channels() }

// Unlink ends the links with another member, as if that were removed.
func (c *Cluster) Unlink(m Member) { c.links.Remove(m.ID, m.Incarnation) }
