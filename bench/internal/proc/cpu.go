//go:build linux

package proc

import (
	"time"

	"golang.org/x/sys/unix"
)

// CPU returns the user and system time of a process, including ended threads. It reads the clock of clock_getcpuclockid(3), which has
// nanoseconds; /proc/PID/stat has hundredths of a second.
func CPU(pid int) (time.Duration, error) {
	const schedClock = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &ts); err != nil {
		return 0, err
	}
	return time.Duration(ts.Nano()), nil
}
