//go:build linux && race

package park

import (
	"runtime"
	"syscall"
	"unsafe"
)

// These do what those of socket_io_linux.go do, and tell the race detector. It has to see what one end of a connection has done before
// the other end reads of it: package syscall tells it in Read and Write, here with nothing to read or to write.

func readSocket(fd int, p []byte) (int, syscall.Errno) {
	at := unsafe.Pointer(unsafe.SliceData(p))
	n, _, errno := syscall.Syscall6(sysRecvfrom, uintptr(fd), uintptr(at), uintptr(len(p)), syscall.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	_, _ = syscall.Read(fd, nil)
	if n > 0 {
		runtime.RaceWriteRange(at, int(n))
	}
	return int(n), 0
}

func writeSocket(fd int, p []byte) (int, syscall.Errno) {
	_, _ = syscall.Write(fd, nil)
	at := unsafe.Pointer(unsafe.SliceData(p))
	n, _, errno := syscall.Syscall6(sysSendto, uintptr(fd), uintptr(at), uintptr(len(p)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	if n > 0 {
		runtime.RaceReadRange(at, int(n))
	}
	return int(n), 0
}
