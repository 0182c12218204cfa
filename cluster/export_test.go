package cluster

import (
	"log/slog"
	"strconv"

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

// Winner returns the ID of the member that should own a shard.
func Winner(ids []string, s Shard) string { return newPlacement(ids).winner(s) }

// NewQueuedLogger and FlushLogger are those that nodes use.
func NewQueuedLogger(l *slog.Logger) *slog.Logger { return newQueuedLogger(l) }

func FlushLogger(l *slog.Logger) { flushLogger(l) }
