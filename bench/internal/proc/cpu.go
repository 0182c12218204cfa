//go:build linux

package proc

import (
	"time"

	"golang.org/x/sys/unix"
)

// CPU returns the processor time that a process has used, user and system, ended threads included. It is what
// clock_getcpuclockid(3) reads: nanoseconds, where /proc/PID/stat counts in hundredths of a second.
func CPU(pid int) (time.Duration, error) {
	const schedClock = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &ts); err != nil {
		return 0, err
	}
	return time.Duration(ts.Nano()), nil
}
