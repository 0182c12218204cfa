//go:build linux

package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// RSS returns the resident memory of a process in bytes.
func RSS(pid int) (int64, error) {
	n, err := status(fmt.Sprintf("/proc/%d/status", pid), "VmRSS:")
	return n << 10, err
}

// Switches returns the number of voluntary and involuntary context switches of the threads of a process, without threads that have
// ended.
func Switches(pid int) (int64, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		return 0, err
	}
	var total int64
	for _, t := range threads {
		n, err := status(t, "voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:")
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// status returns the sum of the named lines.
func status(file string, names ...string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	var total int64
	for line := range strings.Lines(string(text)) {
		for _, name := range names {
			rest, ok := strings.CutPrefix(line, name)
			if !ok {
				continue
			}
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				return 0, err
			}
			total += n
		}
	}
	return total, nil
}
