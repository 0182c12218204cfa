//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// countCalls lets strace count the system calls of a process while it works a little more.
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
	time.Sleep(50 * time.Millisecond) // strace says when it has the first thread, not when it has all
	r, err := work(100 * time.Millisecond)
	if err != nil {
		return err
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	_ = cmd.Wait() // interrupted, as it should be
	n, err := totalCalls(file.Name())
	if err != nil {
		return fmt.Errorf("%w (%s)", err, bytes.TrimSpace(said.Bytes()))
	}
	s[calls] = float64(n) / float64(r.Messages)
	return nil
}

// totalCalls reads the last line of strace's summary.
func totalCalls(file string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) > 3 && fields[len(fields)-1] == "total" {
			return strconv.Atoi(fields[3])
		}
	}
	return 0, fmt.Errorf("strace counts nothing: %q", text)
}

// canTrace says whether strace is there and may look.
func canTrace() bool {
	return exec.Command("strace", "-c", "-o", os.DevNull, "true").Run() == nil
}
