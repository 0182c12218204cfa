//go:build linux

package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Busy returns the time that a core has not been idle since the machine started, in steps of 10 ms.
func Busy(core int) (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	prefix := fmt.Sprintf("cpu%d ", core)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, prefix) {
			return busy(strings.Fields(line)[1:])
		}
	}
	return 0, fmt.Errorf("/proc/stat knows no core %d", core)
}

func busy(fields []string) (time.Duration, error) {
	const idle, iowait, guest = 3, 4, 8 // user time includes guest time
	var total time.Duration
	for i, f := range fields {
		if i == idle || i == iowait || i >= guest {
			continue
		}
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		total += time.Duration(n) * 10 * time.Millisecond
	}
	return total, nil
}
