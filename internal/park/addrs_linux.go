//go:build !edgews_noloop

package park

import (
	"encoding/binary"
	"net"
	"sync"
	"syscall"
	"unsafe"
)

// A connection on the loop does not keep its addresses: the kernel knows them as long as the descriptor is open.

func (c *Conn) loopAddrs() (local, remote net.Addr) {
	if !c.acquireFD() {
		return nil, nil
	}
	defer c.releaseFD()
	return fdAddrs(int(c.fd))
}

// fdAddrs returns the local address of a socket and the peer's.
func fdAddrs(fd int) (local, remote net.Addr) {
	if sa, err := syscall.Getsockname(fd); err == nil {
		local = netAddr(sa)
	}
	sa, err := syscall.Getpeername(fd)
	if err != nil {
		sa = peerAfterEnd(int32(fd))
	}
	return local, netAddr(sa)
}

// loopForgetsPeer reports whether Addrs no longer knows the peer's address when the connection has ended.
func (c *Conn) loopForgetsPeer() bool { return !tellsPeerAfterEnd() }

// soPeername is SO_PEERNAME, which package syscall lacks. Unlike getpeername(2), it also tells the address after a reset, and after both
// sides have closed the connection: getpeername then fails with ENOTCONN.
const soPeername = 28

// tellsPeerAfterEnd reports whether there is SO_PEERNAME. Linux has it, but gVisor and qemu-user do not.
var tellsPeerAfterEnd = sync.OnceValue(func() bool {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer syscall.Close(fd)
	_, errno := peername(int32(fd), syscall.SizeofSockaddrInet4)
	return errno == syscall.ENOTCONN
})

// peerAfterEnd returns the peer's address of a TCP connection that has ended, or nil.
func peerAfterEnd(fd int32) syscall.Sockaddr {
	a, errno := peername(fd, syscall.SizeofSockaddrInet6)
	if errno == syscall.EINVAL { // the buffer must not be larger than the address
		a, errno = peername(fd, syscall.SizeofSockaddrInet4)
	}
	if errno != 0 {
		return nil
	}
	port := int(binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&a.Port))[:]))
	switch a.Family {
	case syscall.AF_INET:
		v4 := (*syscall.RawSockaddrInet4)(unsafe.Pointer(&a))
		return &syscall.SockaddrInet4{Port: port, Addr: v4.Addr}
	case syscall.AF_INET6:
		return &syscall.SockaddrInet6{Port: port, Addr: a.Addr, ZoneId: a.Scope_id}
	}
	return nil
}

// peername reads SO_PEERNAME into a buffer of the given size, which is that of an IPv4 or of an IPv6 address.
func peername(fd int32, size uint32) (a syscall.RawSockaddrInet6, errno syscall.Errno) {
	_, _, errno = syscall.RawSyscall6(sysGetsockopt, uintptr(fd), syscall.SOL_SOCKET, soPeername,
		uintptr(unsafe.Pointer(&a)), uintptr(unsafe.Pointer(&size)), 0)
	return a, errno
}

// netAddr returns the address of a socket as package net represents it, or nil.
func netAddr(sa syscall.Sockaddr) net.Addr {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return &net.TCPAddr{IP: append(net.IP(nil), sa.Addr[:]...), Port: sa.Port}
	case *syscall.SockaddrInet6:
		a := &net.TCPAddr{IP: append(net.IP(nil), sa.Addr[:]...), Port: sa.Port}
		if sa.ZoneId != 0 {
			if i, err := net.InterfaceByIndex(int(sa.ZoneId)); err == nil {
				a.Zone = i.Name
			}
		}
		return a
	case *syscall.SockaddrUnix:
		return &net.UnixAddr{Name: sa.Name, Net: "unix"}
	}
	return nil
}
