//go:build unix

package faultrun

import (
	"os"
	"syscall"
)

// CanStop says whether processes can be stopped and continued on this system.
const CanStop = true

// Stop has a process run no more until Continue: it does not notice.
func Stop(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }

// Continue is the opposite of Stop.
func Continue(p *os.Process) error { return p.Signal(syscall.SIGCONT) }

// quit has a process print what its goroutines do, and end.
func quit(p *os.Process) error { return p.Signal(syscall.SIGQUIT) }
