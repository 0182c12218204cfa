//go:build unix

package cluster_test

import (
	"syscall"
	"time"
)

// cpuTime returns how long the process has used processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
