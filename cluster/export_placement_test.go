package cluster

// Winner returns the ID of the member that should own a shard.
func Winner(ids []string, s Shard) string { return newPlacement(ids).winner(s) }
