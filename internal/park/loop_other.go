//go:build !linux || edgews_noloop

package park

import (
	"errors"
	"net"
	"time"
)

// HasLoop says whether this build has the event loop: on Linux, without the build tag edgews_noloop.
const HasLoop = false

// slot is empty without the event loop: every connection is an offLoop.
type slot struct{}

const pendingWake, turnYielded = 0, 0

func canMoveToLoop(net.Conn) bool { return false }

func (*Conn) moveToLoop(net.Conn) bool            { return false }
func (*Conn) notify(uint32)                       {}
func (*Conn) loopSetTimer(time.Duration)          {}
func (*Conn) loopNow() uint32                     { return Now() }
func (*Conn) loopOthersWait() bool                { return false }
func (*Conn) loopWorkHandedOff()                  {}
func (*Conn) loopDeferWrite() bool                { return false }
func (*Conn) loopCork(bool)                       {}
func (*Conn) loopShutdown(bool)                   {}
func (*Conn) loopClose()                          {}
func (*Conn) loopAddrs() (local, remote net.Addr) { return nil, nil }
func (*Conn) loopForgetsPeer() bool               { return false }
func (*Conn) loopWithFD(func(fd int32))           {}
func (*Conn) writableNow() bool                   { return false }
func (*Conn) loopDiscardOnClose()                 {}
func (*Conn) loopTryTurn() bool                   { return false }
func (*Conn) loopReturnTurn()                     {}

// TryWrite writes as much of p as the kernel takes at once and returns the number of bytes written. If that is not all, the error
// is ErrWouldBlock; Writable follows when there is room, if NotifiesWritable returns true. One goroutine at a time may write.
func (c *Conn) TryWrite(p []byte) (int, error) { return c.offLoop.Load().tryWrite(c, p) }

// TryWriteInTurn is TryWrite for callers in the connection's turn.
func (c *Conn) TryWriteInTurn(p []byte) (int, error) { return c.TryWrite(p) }

// OnLoop reports whether the loop reads the connection. There is none here.
func (*Conn) OnLoop() bool { return false }

func (c *Conn) TryWriteGathered(head, p []byte) (int, error) { return 0, ErrWouldBlock }

// SpliceTo needs the loop.
func (*Conn) SpliceTo(pipe, n int) (int, error) { return 0, errors.ErrUnsupported }

// SpliceFrom needs the loop.
func (*Conn) SpliceFrom(pipe, n int) (int, error) { return 0, errors.ErrUnsupported }

const tlsWriteLimit = 0

// tlsWatch is unused without the event loop: raw is always nil.
type tlsWatch struct{ raw any }

func (*offLoop) watchTLSLocked(*Conn) bool       { return false }
func (*offLoop) startReaderLocked(*Conn)         {}
func (*offLoop) releaseTLSTurn(*Conn, bool) bool { return false }
func (*offLoop) readTLS(*Conn, []byte) bool      { return false }
func (*offLoop) shutdownTLS(*Conn)               {}
func (*offLoop) unwatchTLS(*Conn)                {}
func (*offLoop) tryTLSTurn() bool                { return false }
func (*offLoop) returnTLSTurn(*Conn)             {}

// CanListen reports whether Listen may be called.
func CanListen() bool { return false }

// Listener is unused without the event loop.
type Listener struct{}

// Listen fails without the event loop.
func Listen(*net.TCPListener, AcceptHandler) (*Listener, error) { return nil, errors.ErrUnsupported }

// Close does nothing.
func (*Listener) Close() {}

// LocalAddr returns nil without the event loop.
func (Accepted) LocalAddr() net.Addr { return nil }

// Discard does nothing.
func (Accepted) Discard() {}

// StartAccepted fails without the event loop.
func (*Conn) StartAccepted(Accepted, Handler) error { return errors.ErrUnsupported }

// DetachedConn is unused without the event loop.
type DetachedConn struct{ net.Conn }

func (*DetachedConn) tryWrite([]byte) (int, error) { return 0, ErrWouldBlock }

// TCPConn fails without the event loop.
func (*DetachedConn) TCPConn() (*net.TCPConn, error) { return nil, errors.ErrUnsupported }

// Detach must not be called without the event loop.
func (*Conn) Detach() *DetachedConn { return nil }

// PeerEnded returns false without the event loop.
func (*Conn) PeerEnded() bool { return false }

// AtEnd returns false without the event loop.
func (*Conn) AtEnd() bool { return false }

// LocalAddr returns nil without the event loop.
func (*Conn) LocalAddr() net.Addr { return nil }
