//go:build !edgews_noloop

package park

import (
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// DetachedConn is a TCP connection that Detach has taken from a Conn on the loop. Its descriptor stays registered with the loop, so that
// Init and Start of another Conn take it over with a single system call; TryWrite works too. Every other method that may have to wait
// first makes a *net.TCPConn of it. Its methods may be called from any goroutine.
type DetachedConn struct {
	from *Conn // its slot has the descriptor

	mu     sync.Mutex
	moved  bool         // another Conn has the descriptor
	closed bool         // Close was called
	failed error        // there is no TCPConn
	tcp    *net.TCPConn // nil: not needed yet
}

// Detach takes the connection away from c, which must be on the loop. From now on the handler's ReadBuffer must return NoRead, and no
// method of c may be called or be running, except in the turn, where PeerEnded may be called.
func (c *Conn) Detach() *DetachedConn { return &DetachedConn{from: c} }

// TCPConn returns the connection as package net knows it. The DetachedConn then is the same connection.
func (d *DetachedConn) TCPConn() (*net.TCPConn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tcpConnLocked()
}

// tcpConnLocked is TCPConn. mu must be held.
func (d *DetachedConn) tcpConnLocked() (*net.TCPConn, error) {
	switch {
	case d.tcp != nil:
		return d.tcp, nil
	case d.failed != nil:
		return nil, d.failed
	case d.closed, d.moved:
		return nil, net.ErrClosed
	}
	l, fd := loopOf(d.from.fd), int(d.from.fd)
	_ = syscall.EpollCtl(l.epfd, syscall.EPOLL_CTL_DEL, fd, nil) // the duplicate would keep it registered
	l.table.remove(d.from)
	releaseLoop()
	keepAlive := keepAliveOfSocket(fd)
	file := os.NewFile(uintptr(fd), "connection")
	conn, err := net.FileConn(file) // duplicates the descriptor
	_ = file.Close()
	if err != nil {
		d.failed = err
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok { // a socket of Multipath TCP is one too
		_ = conn.Close()
		d.failed = net.UnknownNetworkError(conn.LocalAddr().Network())
		return nil, d.failed
	}
	if keepAlive != defaultKeepAlive {
		_ = tcp.SetKeepAliveConfig(keepAlive) // net.FileConn has set the default
	}
	d.tcp = tcp
	return tcp, nil
}

// keepAliveOfSocket returns the keep-alive of a socket.
func keepAliveOfSocket(fd int) (k net.KeepAliveConfig) {
	on, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
	if err != nil {
		return defaultKeepAlive
	}
	tcp := func(option int) int {
		value, _ := syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, option)
		return value
	}
	return net.KeepAliveConfig{
		Enable: on != 0,
		Idle:   time.Duration(tcp(syscall.TCP_KEEPIDLE)) * time.Second, Interval: time.Duration(tcp(syscall.TCP_KEEPINTVL)) * time.Second,
		Count: tcp(syscall.TCP_KEEPCNT),
	}
}

// takeFD returns the descriptor to a Conn that owns it from now on. It returns false if the descriptor is not the loop's any more.
func (d *DetachedConn) takeFD() (fd int, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.moved || d.closed || d.failed != nil || d.tcp != nil {
		return 0, false
	}
	d.moved = true
	return int(d.from.fd), true
}

// returnFD undoes takeFD.
func (d *DetachedConn) returnFD() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.moved = false
}

// madeTCPConn returns the TCPConn that d has become, or nil.
func (d *DetachedConn) madeTCPConn() *net.TCPConn {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tcp
}

// tryWrite writes as much as the kernel takes at once.
func (d *DetachedConn) tryWrite(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.tcp != nil:
		return TryWrite(d.tcp, p)
	case d.moved, d.closed, d.failed != nil:
		return 0, net.ErrClosed
	}
	return writeFD(int(d.from.fd), p)
}

// Close closes the connection, unless a Conn has taken it over.
func (d *DetachedConn) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.tcp != nil:
		return d.tcp.Close()
	case d.moved, d.closed, d.failed != nil:
		return net.ErrClosed
	}
	d.closed = true
	d.from.leaveLoop(loopOf(d.from.fd))
	return nil
}

// CloseWrite sends a FIN.
func (d *DetachedConn) CloseWrite() error {
	tcp, err := d.TCPConn()
	if err != nil {
		return err
	}
	return tcp.CloseWrite()
}

// Read implements [net.Conn].
func (d *DetachedConn) Read(p []byte) (int, error) {
	tcp, err := d.TCPConn()
	if err != nil {
		return 0, err
	}
	return tcp.Read(p)
}

// Write implements [net.Conn].
func (d *DetachedConn) Write(p []byte) (int, error) {
	tcp, err := d.TCPConn()
	if err != nil {
		return 0, err
	}
	return tcp.Write(p)
}

// LocalAddr implements [net.Conn].
func (d *DetachedConn) LocalAddr() net.Addr {
	local, _ := d.addrs()
	return local
}

// RemoteAddr implements [net.Conn].
func (d *DetachedConn) RemoteAddr() net.Addr {
	_, remote := d.addrs()
	return remote
}

func (d *DetachedConn) addrs() (local, remote net.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.tcp != nil:
		return d.tcp.LocalAddr(), d.tcp.RemoteAddr()
	case d.moved, d.closed, d.failed != nil:
		return &net.TCPAddr{}, &net.TCPAddr{}
	}
	return fdAddrs(int(d.from.fd))
}

// SetDeadline implements [net.Conn]. A DetachedConn has no deadlines at first, so that a zero t changes nothing.
func (d *DetachedConn) SetDeadline(t time.Time) error {
	return d.setDeadline(t, (*net.TCPConn).SetDeadline)
}

// SetReadDeadline implements [net.Conn].
func (d *DetachedConn) SetReadDeadline(t time.Time) error {
	return d.setDeadline(t, (*net.TCPConn).SetReadDeadline)
}

// SetWriteDeadline implements [net.Conn].
func (d *DetachedConn) SetWriteDeadline(t time.Time) error {
	return d.setDeadline(t, (*net.TCPConn).SetWriteDeadline)
}

func (d *DetachedConn) setDeadline(t time.Time, set func(*net.TCPConn, time.Time) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t.IsZero() && d.tcp == nil {
		return nil
	}
	tcp, err := d.tcpConnLocked()
	if err != nil {
		return err
	}
	return set(tcp, t)
}
