package park

import (
	"crypto/tls"
	"net"
	"syscall"
	"time"
	"unsafe"
)

// Readable reports whether bytes have arrived that have not been read. It returns false if the system cannot tell.
func (c *Conn) Readable() (readable bool) {
	c.withFD(func(fd int32) { readable = pollNow(fd, pollIn)&pollIn != 0 })
	return readable
}

// SinceAck returns how long ago the peer's system last acknowledged bytes or updated its window, and whether the kernel still holds
// bytes that have not been acknowledged. ok is false for connections other than TCP.
func (c *Conn) SinceAck() (since time.Duration, pending, ok bool) {
	c.withFD(func(fd int32) {
		pending = unackedBytes(fd) > 0
		since, ok = sinceLastAck(fd)
	})
	return since, pending, ok
}

// withFD calls fn with the connection's descriptor, if it has one. The descriptor is not closed meanwhile.
func (c *Conn) withFD(fn func(fd int32)) {
	if s := c.offLoop.Load(); s != nil {
		if raw := rawSocket(s.Conn); raw != nil {
			_ = raw.Control(func(fd uintptr) { fn(int32(fd)) })
		}
		return
	}
	c.loopWithFD(fn)
}

// rawSocket returns the socket that is nc or is under TLS, or nil.
func rawSocket(nc net.Conn) syscall.RawConn {
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

// POLLIN and POLLOUT, which package syscall lacks.
const (
	pollIn  = 0x1
	pollOut = 0x4
)

// pollNow returns which of the events are ready, without waiting.
func pollNow(fd int32, events int16) int16 {
	poll := struct {
		fd              int32
		events, revents int16
	}{fd: fd, events: events}
	var timeout syscall.Timespec
	n, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, uintptr(unsafe.Pointer(&timeout)), 0, 0, 0)
	if errno != 0 || n != 1 {
		return 0
	}
	return poll.revents
}

// unackedBytes returns how many bytes in the send queue the peer has not acknowledged (SIOCOUTQ, which equals TIOCOUTQ).
func unackedBytes(fd int32) int {
	var n int32
	_, _, errno := syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(fd), syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	if errno != 0 {
		return 0
	}
	return int(n)
}

// sinceLastAck returns how long ago the last acknowledgement arrived (tcp_info.tcpi_last_ack_recv, in milliseconds). ok is false for
// connections other than TCP, and under an emulator that returns only the beginning of tcp_info, as qemu-user does.
func sinceLastAck(fd int32) (d time.Duration, ok bool) {
	var info syscall.TCPInfo
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := syscall.RawSyscall6(sysGetsockopt, uintptr(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	known := errno == 0 && uintptr(size) >= unsafe.Offsetof(info.Last_ack_recv)+unsafe.Sizeof(info.Last_ack_recv)
	return time.Duration(info.Last_ack_recv) * time.Millisecond, known
}
