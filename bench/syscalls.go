//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// countCalls counts the system calls of a process with strace during a further run.
func countCalls(pid int, s sample, work work) error {
	file, err := os.CreateTemp("", "strace")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	var said bytes.Buffer
	cmd := exec.Command("strace", "-f", "-c", "-o", file.Name(), "-p", strconv.Itoa(pid))
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return err
	}
	time.Sleep(50 * time.Millisecond) // strace reports when it has attached to the first thread, not to all
	r, err := work(100 * time.Millisecond)
	if err != nil {
		return err
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	_ = cmd.Wait() // its error is the interrupt
	n, err := totalCalls(file.Name())
	if err != nil {
		return fmt.Errorf("%w (%s)", err, bytes.TrimSpace(said.Bytes()))
	}
	s[calls] = float64(n) / float64(r.Messages)
	return nil
}

// totalCalls reads strace's summary. It leaves out the calls with which a runtime schedules its threads: strace causes most of them,
// since it makes every call look like one that blocks.
func totalCalls(file string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	total := 0
	for line := range strings.Lines(string(text)) {
		// % time, seconds, usecs/call, calls, maybe errors, name
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		n, err := strconv.Atoi(fields[3])
		if name := fields[len(fields)-1]; err != nil || name == "total" || slices.Contains(schedulerCalls, name) {
			continue
		}
		total += n
	}
	if total == 0 {
		return 0, fmt.Errorf("strace counts nothing: %q", text)
	}
	return total, nil
}

var schedulerCalls = []string{
	"futex", "nanosleep", "clock_nanosleep", "sched_yield", "getpid", "tgkill", "rt_sigreturn", "madvise",
}

// canTrace reports whether strace is installed and permitted.
func canTrace() bool {
	return exec.Command("strace", "-c", "-o", os.DevNull, "true").Run() == nil
}
