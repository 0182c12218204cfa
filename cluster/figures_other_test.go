//go:build !unix

package cluster_test

import "time"

// cpuTime returns how long the process has used processors: it is not measured here.
func cpuTime() time.Duration { return 0 }
