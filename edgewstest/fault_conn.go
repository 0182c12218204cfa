package edgewstest

import (
	"io"
	"net"
	"syscall"
	"time"
)

// FaultConn returns a connection that passes on what conn reads and writes, with faults: in for what is read from the connection, out for
// what is written to it. The faults can be changed at any time, and the connection be cut or reset, with the methods of the [Conn].
// conn is of any kind, and at either side: wrap what a dialer returns, or what a listener accepts. It belongs to the returned Conn and
// must not be used otherwise. Closing the Conn closes it, at the latest 10 s after the last delay; in a
// synctest bubble, let that time pass before the end of the test, or close the other side too.
//
// A Write returns when the bytes are in the buffer of the direction, as with TCP. The connections of a [Server] can have faults
// without FaultConn: see [Server.Conn].
func FaultConn(conn net.Conn, in, out Faults) *Conn {
	near, far := newConns(conn.LocalAddr(), conn.RemoteAddr())
	near.in.Set(in)
	near.out.Set(out)
	b := &bridge{conn: conn, near: near, far: far}
	near.onClose = b.closing
	go b.copyOut()
	go b.copyIn()
	return near
}

// bridge copies between conn and far, whose other end, near, the program uses. Each of its two goroutines ends when near is closed.
type bridge struct {
	conn      net.Conn
	near, far *Conn
}

// closeGrace is how long a closed FaultConn goes on writing what its peer does not read.
const closeGrace = 10 * time.Second

// closing is called when near is closed.
func (b *bridge) closing() {
	l := b.near.out.link
	l.mu.Lock()
	delay := b.near.out.faults.Delay
	l.mu.Unlock()
	time.AfterFunc(delay+closeGrace, func() {
		b.far.Close()
		b.conn.Close()
	})
}

// copyOut writes to conn what the program writes. It closes conn.
func (b *bridge) copyOut() {
	defer b.conn.Close()
	_, err := io.Copy(b.conn, b.far)
	switch {
	case b.isBroken():
	case err != nil: // conn takes no more
		b.end(b.near.out, io.EOF, err)
	default:
		b.closeWrite()
	}
	select {
	case <-b.near.closed:
	case <-b.near.out.link.broken:
	}
	if b.wasReset() {
		b.reset()
	}
}

// copyIn gives to the program what conn reads.
func (b *bridge) copyIn() {
	_, err := io.Copy(b.far, b.conn)
	if err != nil && !b.isBroken() {
		b.end(b.near.in, err, syscall.EPIPE)
	}
	b.far.CloseWrite()
	if b.peerHasGone(err) {
		if err != nil {
			b.end(b.near.out, io.EOF, err)
		}
		b.far.Close() // what is delayed or held for the peer has nowhere to go
	}
}

// peerHasGone reports whether the peer takes nothing more, after reading from conn has ended with err, or with io.EOF if that is nil. A
// peer that has ended only its own direction may still read.
func (b *bridge) peerHasGone(err error) bool {
	switch conn := b.conn.(type) {
	case *Conn:
		return conn.out.hasEnded()
	case interface{ CloseWrite() error }:
		return err != nil
	}
	return true // a connection without CloseWrite ends in both directions
}

// end ends one direction with the error that conn has returned.
func (b *bridge) end(f *Flow, reader, writer error) {
	f.link.mu.Lock()
	defer f.link.mu.Unlock()
	f.endLocked(reader, writer)
	f.link.changed.Broadcast()
}

// isBroken reports whether the connection has been cut or reset by a fault.
func (b *bridge) isBroken() bool {
	select {
	case <-b.near.out.link.broken:
		return true
	default:
		return false
	}
}

func (b *bridge) wasReset() bool {
	l := b.near.out.link
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wasReset
}

// closeWrite ends the direction to the peer, or the whole connection if conn has no CloseWrite.
func (b *bridge) closeWrite() {
	if half, ok := b.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		return
	}
	b.conn.Close()
}

// reset resets conn if it can be reset.
func (b *bridge) reset() {
	switch conn := b.conn.(type) {
	case *Conn:
		conn.out.link.reset(conn.out) // what was written before can be read
	case interface{ SetLinger(sec int) error }:
		_ = conn.SetLinger(0) // Close sends a RST
	}
}
