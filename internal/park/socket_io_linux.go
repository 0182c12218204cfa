//go:build linux && !race

package park

import (
	"syscall"
	"unsafe"
)

// Reading or writing a socket that never waits takes the kernel a few microseconds. To tell the scheduler of it, and to find a
// processor again afterwards, is more work than everything else that an echo needs. Above quickLimit copying takes so long that a
// garbage collection should not have to wait for it.
//
// It must not wait even if the program has made the descriptor a blocking one, as (*os.File).Fd does with what
// (*net.TCPConn).File returns, which shares its flags with ours: a garbage collection would wait for it, and everything for that.
const quickLimit = largeBuffer

const (
	readFlags  = syscall.MSG_DONTWAIT
	writeFlags = syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL
)

func readSocket(fd int, p []byte) (int, syscall.Errno) {
	if len(p) > quickLimit {
		n, _, errno := syscall.Syscall6(sysRecvfrom, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), readFlags, 0, 0)
		return int(n), errno
	}
	n, _, errno := syscall.RawSyscall6(sysRecvfrom, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), readFlags, 0, 0)
	return int(n), errno
}

func writeSocket(fd int, p []byte) (int, syscall.Errno) {
	if len(p) > quickLimit {
		n, _, errno := syscall.Syscall6(sysSendto, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), writeFlags, 0, 0)
		return int(n), errno
	}
	n, _, errno := syscall.RawSyscall6(sysSendto, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), writeFlags, 0, 0)
	return int(n), errno
}
