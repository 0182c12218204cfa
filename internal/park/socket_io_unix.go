//go:build unix && !linux

package park

import "syscall"

// The descriptor is one that does not block: see newRawConn. If the program makes it block later, these wait, which holds up one thread.

func readSocket(fd int, p []byte) (int, syscall.Errno) { return withErrno(syscall.Read(fd, p)) }

func writeSocket(fd int, p []byte) (int, syscall.Errno) { return withErrno(syscall.Write(fd, p)) }

// withErrno takes the number out of what package syscall makes an error of.
func withErrno(n int, err error) (int, syscall.Errno) {
	if err != nil {
		return 0, err.(syscall.Errno)
	}
	return n, 0
}
