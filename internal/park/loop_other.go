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
func (*Conn) loopWrite([]byte) (int, error)       { return 0, ErrWouldBlock }
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

// OnLoop reports whether the loop reads the connection. There is none here.
func (*Conn) OnLoop() bool { return false }

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
