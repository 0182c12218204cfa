//go:build !edgews_noloop && race

package park

import (
	"runtime"
	"syscall"
	"unsafe"
)

// writeSocketGathered is the function of gather_linux.go for the race detector: see writeSocket.
func writeSocketGathered(fd int, head, p []byte) (int, syscall.Errno) {
	_, _ = syscall.Write(fd, nil)
	parts := [iovecs]syscall.Iovec{iovec(head), iovec(p)}
	message := syscall.Msghdr{Iov: &parts[0], Iovlen: iovecs}
	n, _, errno := syscall.Syscall(sysSendmsg, uintptr(fd), uintptr(unsafe.Pointer(&message)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
	if errno != 0 {
		return 0, errno
	}
	if n > 0 {
		runtime.RaceReadRange(unsafe.Pointer(unsafe.SliceData(head)), min(int(n), len(head)))
	}
	if inP := int(n) - len(head); inP > 0 {
		runtime.RaceReadRange(unsafe.Pointer(unsafe.SliceData(p)), inP)
	}
	return int(n), 0
}
