package link

import "net"

// selfConn is an end of a connection of a node with itself: it stays in the process, so it needs no protection.
type selfConn struct{ net.Conn }

// dialPeer returns a connection to the peer, which may be this node.
func (m *Manager) dialPeer(p Peer) (net.Conn, error) {
	if p.key() != m.options.Self.key() {
		return m.options.Dial(m.ctx, p.Addr)
	}
	dialled, accepted := net.Pipe()
	m.admit(selfConn{accepted})
	return selfConn{dialled}, nil
}
