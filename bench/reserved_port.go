//go:build linux

package main

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// reservedPort is a port of the loopback interface that a socket is bound to which does not listen. Another process can listen there if it
// sets SO_REUSEPORT, too; the kernel gives the port to no other one.
type reservedPort struct {
	addr string
	fd   int
}

func reservePort() (reservedPort, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return reservedPort{}, os.NewSyscallError("socket", err)
	}
	p := reservedPort{fd: fd}
	if p.addr, err = bindShared(fd); err != nil {
		p.release()
		return reservedPort{}, err
	}
	return p, nil
}

// bindShared binds a socket to a free port and returns the address.
func bindShared(fd int) (string, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return "", os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return "", os.NewSyscallError("bind", err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return "", os.NewSyscallError("getsockname", err)
	}
	bound := sa.(*unix.SockaddrInet4)
	return netip.AddrPortFrom(netip.AddrFrom4(bound.Addr), uint16(bound.Port)).String(), nil
}

func (p reservedPort) release() { unix.Close(p.fd) }
