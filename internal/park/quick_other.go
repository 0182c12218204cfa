//go:build unix && (!linux || race)

package park

import "syscall"

// The race detector has to see what one end of a connection has done before the other end reads of it.

func readSocket(fd int, p []byte) (int, syscall.Errno) { return withErrno(syscall.Read(fd, p)) }

func writeSocket(fd int, p []byte) (int, syscall.Errno) { return withErrno(syscall.Write(fd, p)) }
