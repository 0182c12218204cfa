//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// inOwnGroup gives the process of cmd a process group of its own, all of which is killed with it. An interrupt from the keyboard does not reach
// it: its stdin is closed when the server stops.
func inOwnGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
