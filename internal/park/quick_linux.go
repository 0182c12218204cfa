//go:build linux && !race

package park

import (
	"syscall"
	"unsafe"
)

// Reading or writing a socket that never waits takes the kernel a few microseconds. To tell the scheduler of it, and to find a
// processor again afterwards, is more work than everything else that an echo needs. Above quickLimit copying takes so long that a
// garbage collection should not have to wait for it.
const quickLimit = largeBuffer

func readSocket(fd int, p []byte) (int, syscall.Errno) {
	if len(p) > quickLimit {
		return withErrno(syscall.Read(fd, p))
	}
	n, _, errno := syscall.RawSyscall6(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0, 0, 0)
	return int(n), errno
}

func writeSocket(fd int, p []byte) (int, syscall.Errno) {
	if len(p) > quickLimit {
		return withErrno(syscall.Write(fd, p))
	}
	n, _, errno := syscall.RawSyscall6(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0, 0, 0)
	return int(n), errno
}
