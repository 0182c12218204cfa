package cluster

// SetClockRate lets the clock of a node run faster or slower than that of the test.
func (o *Options) SetClockRate(rate float64) { o.clockRate = rate }

// Winner returns the ID of the member that should own a shard.
func Winner(ids []string, s Shard) string { return newPlacement(ids).winner(s) }
