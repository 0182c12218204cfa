//go:build !linux

package park

import "time"

// Readable always returns false: the kernel is asked on Linux only.
func (*Conn) Readable() bool { return false }

// SinceAck always returns false: the kernel is asked on Linux only.
func (*Conn) SinceAck() (since time.Duration, pending, ok bool) { return 0, false, false }
