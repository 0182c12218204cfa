package edgews

import "net"

// RemoteAddr returns the address of the peer, for logs, limits and audit trails. It is never nil, and stays the same after the end of the
// socket.
//
// For a network connection it is what [net.Conn.RemoteAddr] returned: a [*net.TCPAddr] over TCP and TLS. Behind a proxy, that is the
// address of the proxy; a handler finds the client's in the headers of its request. A connection of another kind has the address that
// it says itself. If that is nil, Network and String return "unknown".
//
// For an end of a pair, Network and String return "pair". When [Respond] has given a connection to the other end, that has the addresses
// of the connection. For a socket of [NewWebSocket] that has no connection yet, or never gets one, Network and String return
// "unconnected".
//
// An open TCP connection on Linux does not keep the addresses: each call asks the operating system, which takes less than a
// microsecond.
func (s *Socket) RemoteAddr() net.Addr { return s.addrs().remote }

// LocalAddr returns the address of this end of the connection, under the same rules as [Socket.RemoteAddr].
func (s *Socket) LocalAddr() net.Addr { return s.addrs().local }

// addrs are the addresses of the two ends of a connection.
type addrs struct{ local, remote net.Addr }

// orUnknown returns a with unknownAddr in place of nil.
func (a addrs) orUnknown() addrs {
	if a.local == nil {
		a.local = unknownAddr
	}
	if a.remote == nil {
		a.remote = unknownAddr
	}
	return a
}

// addrs returns the addresses of both ends.
func (s *Socket) addrs() addrs {
	s.mu.Lock()
	l, kept := s.link, s.keptAddrs
	s.mu.Unlock()
	if kept != nil {
		return *kept
	}
	return l.addrs()
}

// keepAddrsLocked makes a the addresses of the socket, from now on and after the end. mu must be held.
func (s *Socket) keepAddrsLocked(a addrs) { s.extraLocked().keptAddrs = &a }

// namedAddr stands for an address where there is none.
type namedAddr string

const (
	pairAddr        namedAddr = "pair"
	unconnectedAddr namedAddr = "unconnected"
	unknownAddr     namedAddr = "unknown"
)

func (a namedAddr) Network() string { return string(a) }
func (a namedAddr) String() string  { return string(a) }
