package edgewstest

import (
	"context"
	"net"
	"sync"
)

// listener is a [net.Listener] in memory. It knows which of its connections the program under test has not closed.
type listener struct {
	conns  chan *Conn    // dialed, not accepted
	closed chan struct{} // closed by Close
	once   sync.Once

	mu      sync.Mutex
	changed sync.Cond // with mu
	// Guarded by mu.
	dialed   int // the number of connections so far
	called   int // the number of calls of the handler so far
	open     map[*link]*openConn
	handlers map[*handlerCall]bool
}

func newListener() *listener {
	l := &listener{
		conns: make(chan *Conn), closed: make(chan struct{}), open: make(map[*link]*openConn), handlers: make(map[*handlerCall]bool),
	}
	l.changed.L = &l.mu
	return l
}

// newConn returns the two ends of a new connection. If watchClient, the program under test has to close the client's end, otherwise the
// server's.
func (l *listener) newConn(watchClient bool) (client, server *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dialed++
	client, server = newConns(clientAddr(l.dialed), serverAddr)
	watched := server
	if watchClient {
		watched = client
	}
	l.open[watched.out.link] = &openConn{watched: watched, number: l.dialed}
	watched.onClose = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.open, watched.out.link)
		l.changed.Broadcast()
	}
	return client, server
}

// connect gives server, one end of a new connection, to Accept.
func (l *listener) connect(ctx context.Context, client, server *Conn) error {
	var err error
	select {
	case l.conns <- server:
		return nil
	case <-l.closed:
		err = net.ErrClosed
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	client.Close()
	server.Close()
	return &net.OpError{Op: "dial", Net: "memory", Addr: serverAddr, Err: err}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: "memory", Addr: serverAddr, Err: net.ErrClosed}
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return serverAddr }
