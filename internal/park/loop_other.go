//go:build !linux

package park

import (
	"net"
	"time"
)

// slot does not exist here: every connection is a stream.
type slot struct{}

const woken, givesWay = 0, 0

func lodges(net.Conn) bool { return false }

func (*Conn) lodge(net.Conn) bool             { return false }
func (*Conn) leave(uint32)                    {}
func (*Conn) write([]byte) (int, error)       { return 0, ErrWouldBlock }
func (*Conn) setAlarm(time.Duration)          {}
func (*Conn) recently() uint32                { return Now() }
func (*Conn) isCrowded() bool                 { return false }
func (*Conn) handOver()                       {}
func (*Conn) deferWrite() bool                { return false }
func (*Conn) cork(bool)                       {}
func (*Conn) shutdown(bool)                   {}
func (*Conn) release()                        {}
func (*Conn) hasRoom() bool                   { return false }
func (*Conn) addrs() (local, remote net.Addr) { return nil, nil }

// Readable is always false: only Linux is asked.
func (*Conn) Readable() bool { return false }

// SinceAck is never known: only Linux is asked.
func (*Conn) SinceAck() (since time.Duration, pending, ok bool) { return 0, false, false }

const tlsAtOnce = 0

// perch does not exist here either.
type perch struct{ raw any }

func (*stream) settle(*Conn) bool              { return false }
func (*stream) occupy(*Conn)                   {}
func (*stream) vacate(*Conn, bool) bool        { return false }
func (*stream) readPerched(*Conn, []byte) bool { return false }
func (*stream) fall(*Conn)                     {}
func (*stream) leavePerch(*Conn)               {}
