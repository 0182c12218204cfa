//go:build !unix

package faultrun

import (
	"errors"
	"os"
)

// CanStop says whether processes can be stopped and continued on this system.
const CanStop = false

// Stop returns errors.ErrUnsupported.
func Stop(*os.Process) error { return errors.ErrUnsupported }

// Continue returns errors.ErrUnsupported.
func Continue(*os.Process) error { return errors.ErrUnsupported }

// quit ends a process.
func quit(p *os.Process) error { return p.Kill() }
