//go:build (linux && !android) || darwin || dragonfly || freebsd || netbsd || openbsd

package bolt

import (
	"errors"
	"os"
	"syscall"
	"time"

	bbolterrors "go.etcd.io/bbolt/errors"
)

// locksFirst says whether lockFile locks.
const locksFirst = true

// lockFile locks a file as bbolt does. bbolt can then lock it again, because the lock belongs to the open file. A timeout of 0 waits
// for ever.
func lockFile(file *os.File, exclusive bool, timeout time.Duration) error {
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	for begin := time.Now(); ; time.Sleep(lockRetry) {
		err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
		if err != syscall.EWOULDBLOCK {
			return err
		}
		if timeout != 0 && time.Since(begin) > timeout-lockRetry {
			return bbolterrors.ErrTimeout
		}
	}
}

// unlockAndClose unlocks and closes a file that may stay mapped: a mapping keeps the lock of a closed file.
func unlockAndClose(file *os.File) error {
	return errors.Join(syscall.Flock(int(file.Fd()), syscall.LOCK_UN), file.Close())
}
