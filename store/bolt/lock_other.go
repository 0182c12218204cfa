//go:build (!linux || android) && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd

package bolt

import (
	"os"
	"time"
)

// locksFirst says whether lockFile locks.
const locksFirst = false

// lockFile does nothing where a lock cannot be taken twice: bbolt takes it. A file that another process is about to make may
// look damaged for a moment.
func lockFile(*os.File, bool, time.Duration) error { return nil }

// unlockAndClose gives up a file that may be mapped for ever.
func unlockAndClose(file *os.File) error { return file.Close() }
