//go:build unix && !linux

package park

import "syscall"

// These expect a descriptor with O_NONBLOCK (see setNonblock). If the program clears it later, they wait, which holds up one thread.

func readSocket(fd int, p []byte) (int, syscall.Errno) { return toErrno(syscall.Read(fd, p)) }

func writeSocket(fd int, p []byte) (int, syscall.Errno) { return toErrno(syscall.Write(fd, p)) }

// toErrno converts the error of a system call back to its number.
func toErrno(n int, err error) (int, syscall.Errno) {
	if err != nil {
		return 0, err.(syscall.Errno)
	}
	return n, 0
}
