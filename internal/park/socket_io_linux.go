//go:build linux && !race

package park

import (
	"syscall"
	"unsafe"
)

// rawIOLimit is the size in bytes of the largest read or write in a raw system call, of which the scheduler does not know. A read or
// write that does not wait takes a few microseconds; telling the scheduler, and finding a P again afterwards, is more work than the
// rest of an echo. But a garbage collection waits for the end of a raw system call, and above this limit copying takes too long for
// that.
//
// MSG_DONTWAIT makes sure that the call does not wait, even if the program has cleared O_NONBLOCK: (*os.File).Fd does so for the result
// of (*net.TCPConn).File, which shares the flag with our descriptor. A garbage collection would wait for the call, and all other
// goroutines for the garbage collection.
const rawIOLimit = largeBuffer

const (
	readFlags  = syscall.MSG_DONTWAIT
	writeFlags = syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL
)

func readSocket(fd int, p []byte) (int, syscall.Errno) {
	if len(p) > rawIOLimit {
		n, _, errno := syscall.Syscall6(sysRecvfrom, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), readFlags, 0, 0)
		return int(n), errno
	}
	n, _, errno := syscall.RawSyscall6(sysRecvfrom, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), readFlags, 0, 0)
	return int(n), errno
}

func writeSocket(fd int, p []byte) (int, syscall.Errno) {
	if len(p) > rawIOLimit {
		n, _, errno := syscall.Syscall6(sysSendto, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), writeFlags, 0, 0)
		return int(n), errno
	}
	n, _, errno := syscall.RawSyscall6(sysSendto, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), writeFlags, 0, 0)
	return int(n), errno
}

// noteBatchedWrite is for the race detector.
func noteBatchedWrite(int, []byte) {}
