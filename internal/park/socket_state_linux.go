package park

import (
	"crypto/tls"
	"net"
	"syscall"
	"time"
	"unsafe"
)

// Readable reports whether bytes have arrived that nobody has read. It is false where the system does not tell.
func (c *Conn) Readable() (readable bool) {
	c.withFD(func(fd int32) { readable = pollNow(fd, pollIn)&pollIn != 0 })
	return readable
}

// SinceAck returns how long ago the peer's system acknowledged something, or told that there is room for more, and whether the
// kernel still holds bytes that it has not acknowledged. ok is false for connections other than TCP.
func (c *Conn) SinceAck() (since time.Duration, pending, ok bool) {
	c.withFD(func(fd int32) {
		pending = unsentBytes(fd) > 0
		since, ok = sinceLastAck(fd)
	})
	return since, pending, ok
}

// withDescriptor calls fn with the descriptor, which is not closed meanwhile, if there is one.
func (c *Conn) withFD(fn func(fd int32)) {
	if s := c.stream.Load(); s != nil {
		if raw := rawOf(s.Conn); raw != nil {
			_ = raw.Control(func(fd uintptr) { fn(int32(fd)) })
		}
		return
	}
	if c.acquireFD() {
		fn(c.fd)
		c.releaseFD()
	}
}

// rawOf returns the socket under nc, or under TLS, or nil.
func rawOf(nc net.Conn) syscall.RawConn {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	if !isSocket(nc) {
		return nil
	}
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// POLLIN and POLLOUT, which package syscall does not have.
const (
	pollIn  = 0x1
	pollOut = 0x4
)

// pollNow returns which of the events have happened, without waiting.
func pollNow(fd int32, events int16) int16 {
	ask := struct {
		fd            int32
		events, found int16
	}{fd: fd, events: events}
	var now syscall.Timespec
	n, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&ask)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	if errno != 0 || n != 1 {
		return 0
	}
	return ask.found
}

// unsentBytes returns how many bytes the kernel holds that the peer has not acknowledged (SIOCOUTQ, which is TIOCOUTQ).
func unsentBytes(fd int32) int {
	var n int32
	_, _, errno := syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(fd), syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	if errno != 0 {
		return 0
	}
	return int(n)
}

// sinceLastAck returns how long ago the peer's system acknowledged something (tcp_info.tcpi_last_ack_recv, in milliseconds).
func sinceLastAck(fd int32) (d time.Duration, ok bool) {
	var info syscall.TCPInfo
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := syscall.RawSyscall6(sysGetsockopt, uintptr(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	return time.Duration(info.Last_ack_recv) * time.Millisecond, errno == 0
}
