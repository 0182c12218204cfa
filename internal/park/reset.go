package park

import (
	"crypto/tls"
	"net"
)

// CloseReset is Close, except that the peer of a TCP connection sees a reset, and that what has not been sent is dropped.
func (c *Conn) CloseReset() {
	if s := c.offLoop.Load(); s != nil {
		s.discardOnClose()
		s.close(c)
		return
	}
	c.loopDiscardOnClose()
	c.loopClose()
}

// discardOnClose makes closing the connection reset it. TLS would send close_notify before: the connection below it is closed first.
func (s *offLoop) discardOnClose() {
	switch conn := s.Conn.(type) {
	case *net.TCPConn:
		_ = conn.SetLinger(0)
	case *tls.Conn:
		if below, ok := conn.NetConn().(*net.TCPConn); ok {
			_ = below.SetLinger(0)
			_ = below.Close()
		}
	}
}
