// Package memnet is a network in memory for the tests of the examples. It works in synctest bubbles, and no other program can take its
// addresses.
package memnet

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
)

// Network is a network of listeners, by address. The zero value is an empty one. All methods may be called from any goroutine.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*listener
	conns     map[string][]net.Conn // the dialed ends of connections, by the address of their listener
}

// Listen returns a listener at addr, which may be any text of the form host:port. It fails while another one listens there.
func (n *Network) Listen(addr string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[addr] != nil {
		return nil, fmt.Errorf("memnet: listen %s: %w", addr, syscall.EADDRINUSE)
	}
	if n.listeners == nil {
		n.listeners = make(map[string]*listener)
	}
	l := &listener{network: n, addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[addr] = l
	return l, nil
}

// Client returns a client whose connections lead to the listeners of the network. It keeps none of them for further requests.
func (n *Network) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: n.dial, DisableKeepAlives: true}}
}

// Cut cuts all connections to addr, as when the machine there loses its power.
func (n *Network) Cut(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns[addr] {
		c.Close()
	}
	delete(n.conns, addr)
}

// dial returns a new connection to the listener at addr.
func (n *Network) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[addr]
	n.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("memnet: dial %s: %w", addr, syscall.ECONNREFUSED)
	}
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.conns == nil {
			n.conns = make(map[string][]net.Conn)
		}
		n.conns[addr] = append(n.conns[addr], here)
		return here, nil
	case <-l.closed:
		return nil, fmt.Errorf("memnet: dial %s: %w", addr, syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// listener is a net.Listener. Its own address is a net.Addr.
type listener struct {
	network *Network
	addr    string
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once // for Close
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.network.mu.Lock()
		delete(l.network.listeners, l.addr)
		l.network.mu.Unlock()
	})
	return nil
}

func (l *listener) Addr() net.Addr  { return l }
func (l *listener) Network() string { return "memory" }
func (l *listener) String() string  { return l.addr }
