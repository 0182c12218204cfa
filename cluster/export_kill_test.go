package cluster

// Kill ends the links at once, as the death of the process does. The Node goes on, but does not reach its engine any more.
func (c *Cluster) Kill() { c.links.Close() }

// Channels returns how many channels the node's links have.
func (c *Cluster) Channels() int { return c.links.Channels() }
