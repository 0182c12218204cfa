//go:build linux && race

package park

import (
	"runtime"
	"syscall"
	"unsafe"
)

// These are the functions of socket_io_linux.go for the race detector. It must see that what one end of a connection does before a
// write happens before what the other end does after the read. Read and Write of package syscall tell it so; they are called here
// without bytes.

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

// noteBatchedWrite tells the race detector of a write in a ring.
func noteBatchedWrite(fd int, p []byte) {
	_, _ = syscall.Write(fd, nil)
	if len(p) > 0 {
		runtime.RaceReadRange(unsafe.Pointer(unsafe.SliceData(p)), len(p))
	}
}
