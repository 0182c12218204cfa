//go:build !edgews_noloop && !race

package park

import (
	"syscall"
	"unsafe"
)

// writeSocketGathered is writeSocket for head and, right behind it, p. Neither may be empty.
func writeSocketGathered(fd int, head, p []byte) (int, syscall.Errno) {
	parts := [iovecs]syscall.Iovec{iovec(head), iovec(p)}
	message := syscall.Msghdr{Iov: &parts[0], Iovlen: iovecs}
	if len(head)+len(p) > rawIOLimit {
		n, _, errno := syscall.Syscall(sysSendmsg, uintptr(fd), uintptr(unsafe.Pointer(&message)), writeFlags)
		return int(n), errno
	}
	n, _, errno := syscall.RawSyscall(sysSendmsg, uintptr(fd), uintptr(unsafe.Pointer(&message)), writeFlags)
	return int(n), errno
}
