//go:build !edgews_noloop

package park

import (
	"cmp"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"reflect"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Listener accepts the connections of a TCP listener on the loop. It is the [Handler] of the listening socket: ReadBuffer accepts
// connections, and nothing is ever read.
type Listener struct {
	conn      Conn
	h         AcceptHandler
	keepAlive net.KeepAliveConfig
	paused    atomic.Bool // accepting has failed, and not been tried again yet
	checked   bool        // noDelay is known; owned by the turn, like noDelay
	noDelay   bool        // accepted sockets inherit the options of the listening one
}

// Listen begins to accept connections of l on the loop. l stays open and usable; Close of l alone does not end the Listener. Listen
// fails if l is not a socket of the operating system any more, or if there are no descriptors left.
func Listen(l *net.TCPListener, h AcceptHandler) (*Listener, error) {
	fd, ok := duplicateFD(l)
	if !ok {
		return nil, net.ErrClosed
	}
	ln := &Listener{h: h, keepAlive: keepAliveOf(l)}
	ln.setTCPOptions(fd) // which the accepted sockets inherit
	loop, ok := acquireLoop(fd)
	if !ok {
		_ = syscall.Close(fd)
		return nil, syscall.EMFILE
	}
	ln.conn.h = ln
	if err := ln.conn.enterLoop(loop, fd, syscall.EPOLL_CTL_ADD); err != nil {
		ln.conn.leaveLoop(loop)
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	if !ln.conn.releaseTurn() {
		go ln.conn.serveInGoroutine()
	}
	return ln, nil
}

// Close ends the Listener: connections that have not been accepted are reset, and new ones are refused, also for the listener that was
// given to Listen, whose socket it is. It may be called from any goroutine, and several times.
func (ln *Listener) Close() { ln.conn.loopShutdown(true) }

// acceptBatch is how many connections are accepted before other connections have their turns.
const acceptBatch = 32

// ReadBuffer implements [Handler].
func (ln *Listener) ReadBuffer() (into []byte, size ReadSize) {
	switch {
	case ln.conn.hangup: // Close was called; without a free descriptor, accept does not say so
		ln.conn.loopClose()
		return nil, NoRead
	case ln.paused.Load(): // connections that arrive meanwhile would fail at once
		return nil, NoRead
	}
	for range acceptBatch {
		fd, remote, errno := accept(int(ln.conn.fd))
		switch errno {
		case 0:
			ln.inheritOptions(fd)
			ln.h.Accepted(Accepted{fd: fd, Remote: remote})
		case syscall.EAGAIN:
			return nil, NoRead
		case syscall.EINTR, syscall.ECONNABORTED: // the peer has reset the connection before it was accepted
		case syscall.EINVAL: // Close was called
			ln.conn.loopClose()
			return nil, NoRead
		default:
			ln.paused.Store(true)
			if retry := ln.h.AcceptFailed(os.NewSyscallError("accept4", errno)); retry > 0 {
				ln.conn.SetTimer(retry)
			}
			return nil, NoRead
		}
	}
	ln.conn.YieldTurn()
	return nil, NoRead
}

// TimerFired implements [Handler]: it tries again after accept has failed.
func (ln *Listener) TimerFired() {
	ln.paused.Store(false)
	ln.conn.Wake()
}

// Woken implements [Handler]. ReadBuffer follows.
func (ln *Listener) Woken() { ln.conn.mayRead = true }

// Received implements [Handler].
func (ln *Listener) Received([]byte, *any) bool { return false }

// ReadEnded implements [Handler].
func (ln *Listener) ReadEnded(error) {}

// Writable implements [Handler].
func (ln *Listener) Writable() {}

// Flush implements [Handler].
func (ln *Listener) Flush(*Batch) {}

// inheritOptions sets the options of an accepted socket, unless it has inherited them, as it does under TCP. Sockets of Multipath TCP
// may not.
func (ln *Listener) inheritOptions(fd int) {
	if !ln.checked {
		value, err := syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY)
		ln.checked, ln.noDelay = true, err == nil && value != 0
	}
	if !ln.noDelay {
		ln.setTCPOptions(fd)
	}
}

// keepAlivePeriod and keepAliveCount are those of package net.
const (
	keepAlivePeriod = 15 * time.Second
	keepAliveCount  = 9
)

var defaultKeepAlive = net.KeepAliveConfig{Enable: true, Idle: keepAlivePeriod, Interval: keepAlivePeriod, Count: keepAliveCount}

// keepAliveOf returns the keep-alive that the net.ListenConfig of l asks for, as package net understands it. Should a version of Go keep
// it elsewhere, it is the default.
func keepAliveOf(l *net.TCPListener) (k net.KeepAliveConfig) {
	field := reflect.ValueOf(l).Elem().FieldByName("lc")
	if field.IsValid() && field.Type() == reflect.TypeFor[net.ListenConfig]() {
		lc := (*net.ListenConfig)(field.Addr().UnsafePointer())
		if k = lc.KeepAliveConfig; !k.Enable {
			k = net.KeepAliveConfig{Enable: lc.KeepAlive >= 0, Idle: lc.KeepAlive}
		}
	} else {
		k.Enable = true
	}
	k.Idle, k.Interval = cmp.Or(k.Idle, keepAlivePeriod), cmp.Or(k.Interval, keepAlivePeriod)
	k.Count = cmp.Or(k.Count, keepAliveCount)
	return k
}

// setTCPOptions sets what package net sets for the connections that it accepts.
func (ln *Listener) setTCPOptions(fd int) {
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	setKeepAlive(fd, ln.keepAlive)
}

// setKeepAlive sets keep-alive if k.Enable is true. What is negative stays as it is.
func setKeepAlive(fd int, k net.KeepAliveConfig) {
	if !k.Enable {
		return
	}
	_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1)
	seconds := func(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
	for option, value := range map[int]int{
		syscall.TCP_KEEPIDLE: seconds(k.Idle), syscall.TCP_KEEPINTVL: seconds(k.Interval), syscall.TCP_KEEPCNT: k.Count,
	} {
		if value > 0 {
			_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, option, value)
		}
	}
}

// accept accepts a connection, without waiting.
func accept(fd int) (accepted int, remote netip.AddrPort, errno syscall.Errno) {
	var addr syscall.RawSockaddrAny
	size := uint32(syscall.SizeofSockaddrAny)
	n, _, errno := syscall.RawSyscall6(sysAccept4, uintptr(fd), uintptr(unsafe.Pointer(&addr)), uintptr(unsafe.Pointer(&size)),
		syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, netip.AddrPort{}, errno
	}
	return int(n), addrPort(&addr), 0
}

// addrPort returns an address of TCP, without the prefix of an IPv4 address in IPv6.
func addrPort(addr *syscall.RawSockaddrAny) netip.AddrPort {
	port := func(field *uint16) uint16 { return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(field))[:]) }
	switch addr.Addr.Family {
	case syscall.AF_INET:
		a := (*syscall.RawSockaddrInet4)(unsafe.Pointer(addr))
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), port(&a.Port))
	case syscall.AF_INET6:
		a := (*syscall.RawSockaddrInet6)(unsafe.Pointer(addr))
		ip := netip.AddrFrom16(a.Addr).Unmap()
		if a.Scope_id != 0 {
			ip = ip.WithZone(zoneName(int(a.Scope_id)))
		}
		return netip.AddrPortFrom(ip, port(&a.Port))
	}
	return netip.AddrPort{}
}

// zoneName returns the name of a network interface.
func zoneName(index int) string {
	if i, err := net.InterfaceByIndex(index); err == nil {
		return i.Name
	}
	return strconv.Itoa(index)
}

// StartAccepted puts a connection on the loop and begins to read it. The Conn must not have been initialised. If it fails, the connection
// is closed and no method of h is called.
func (c *Conn) StartAccepted(a Accepted, h Handler) error {
	l, ok := acquireLoop(a.fd)
	if !ok {
		_ = syscall.Close(a.fd)
		return syscall.EMFILE
	}
	c.h = h
	if err := c.enterLoop(l, a.fd, syscall.EPOLL_CTL_ADD); err != nil {
		c.leaveLoop(l)
		return err
	}
	if !c.releaseTurn() {
		go c.serveInGoroutine()
	}
	return nil
}

// LocalAddr returns the local address of the connection.
func (a Accepted) LocalAddr() net.Addr {
	local, _ := fdAddrs(a.fd)
	return local
}

// Discard closes an accepted connection that is not started.
func (a Accepted) Discard() { _ = syscall.Close(a.fd) }

// enterLoop puts c on the loop l, with its turn taken. op is EPOLL_CTL_ADD, or EPOLL_CTL_MOD for a descriptor that is registered already,
// of which the kernel then reports everything again.
func (c *Conn) enterLoop(l *loop, fd int, op int) error {
	c.fd = int32(fd)
	c.pending.Store(turnTaken)
	l.table.add(c)
	c.offLoop.Store(nil) // before events can arrive
	return l.register(c, op, syscall.EPOLLIN)
}

// leaveLoop undoes enterLoop, and closes the descriptor.
func (c *Conn) leaveLoop(l *loop) {
	l.table.remove(c)
	_ = syscall.Close(int(c.fd))
	releaseLoop()
}
