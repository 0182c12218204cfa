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

// lockFile locks a file as bbolt does, which may then lock it again: the lock is that of the open file. 0 waits for ever.
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

// unlockAndClose gives up a file that may be mapped for ever: a mapping keeps the lock of a closed file.
func unlockAndClose(file *os.File) error {
	return errors.Join(syscall.Flock(int(file.Fd()), syscall.LOCK_UN), file.Close())
}
