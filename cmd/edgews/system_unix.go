//go:build unix

package main

import (
	"math"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// openFiles returns how many files this process may have open. Go has raised the soft limit to the hard one.
func openFiles() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(uint64(limit.Cur), math.MaxInt32))
}

// processorTime returns the processor time that this process has used.
func processorTime() time.Duration {
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// smallReceiveBuffer makes the system buffer as little as it can of what the peer of a connection sends.
func smallReceiveBuffer(_, _ string, c syscall.RawConn) error {
	var err error
	const smallest = 1 // byte; the system raises it to its minimum
	failed := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, smallest) })
	if failed != nil {
		return failed
	}
	return err
}
