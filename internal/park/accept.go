package park

import (
	"net/netip"
	"time"
)

// AcceptHandler is told of the connections that a [Listener] accepts. Its methods run on the loop, one at a time.
type AcceptHandler interface {
	// Accepted is called with a connection. The handler passes it to Conn.StartAccepted, or discards it.
	Accepted(a Accepted)
	// AcceptFailed is called when accepting has failed. If it returns a positive duration, the Listener tries again after that.
	// Otherwise it accepts nothing more.
	AcceptFailed(err error) (retryAfter time.Duration)
}

// Accepted is a TCP connection that a [Listener] has accepted and that no Conn owns yet.
type Accepted struct {
	fd     int
	Remote netip.AddrPort // the peer's address
}
