package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// network is a TCP proxy in front of the server, whose connections the test cuts.
type network struct {
	l       net.Listener
	backend string

	mu    sync.Mutex
	links []*link // guarded by mu
}

// link is a connection through the network.
type link struct {
	client, server *net.TCPConn
	silent         atomic.Bool // nothing passes any more, and no end learns of it
}

func newNetwork(t *testing.T, backend string) *network {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{l: l, backend: backend}
	go n.accept()
	t.Cleanup(func() {
		l.Close()
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, link := range n.links {
			link.reset()
		}
	})
	return n
}

func (n *network) addr() string { return n.l.Addr().String() }

func (n *network) accept() {
	for {
		client, err := n.l.Accept()
		if err != nil {
			return
		}
		go n.connect(client.(*net.TCPConn))
	}
}

// connect connects a client to the server. If there is none, the client's connection is reset.
func (n *network) connect(client *net.TCPConn) {
	server, err := net.Dial("tcp", n.backend)
	if err != nil {
		client.SetLinger(0)
		client.Close()
		return
	}
	l := &link{client: client, server: server.(*net.TCPConn)}
	n.mu.Lock()
	n.links = append(n.links, l)
	n.mu.Unlock()
	var pumps sync.WaitGroup
	pumps.Go(func() { l.pump(l.server, l.client) })
	pumps.Go(func() { l.pump(l.client, l.server) })
	pumps.Wait()
	client.Close()
	server.Close()
	n.remove(l)
}

func (n *network) remove(l *link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, other := range n.links {
		if other == l {
			n.links = append(n.links[:i:i], n.links[i+1:]...)
			return
		}
	}
}

// pump forwards what src sends, and how it ends.
func (l *link) pump(dst, src *net.TCPConn) {
	p := make([]byte, 16<<10)
	for {
		n, err := src.Read(p)
		if l.silent.Load() {
			if err != nil && src == l.client { // it has noticed
				l.reset()
			}
			if err != nil {
				return
			}
			continue
		}
		if _, failed := dst.Write(p[:n]); err == nil {
			err = failed
		}
		switch {
		case errors.Is(err, io.EOF):
			dst.CloseWrite()
			return
		case err != nil:
			l.reset()
			return
		}
	}
}

// reset resets the connection for both ends.
func (l *link) reset() {
	for _, c := range []*net.TCPConn{l.client, l.server} {
		c.SetLinger(0)
		c.Close()
	}
}

// cut cuts some of the connections, or all. A part of them ends silently: for a time nothing passes, unless the client notices it.
func (n *network) cut(r *rand.Rand) {
	n.mu.Lock()
	defer n.mu.Unlock()
	share := []float64{0.2, 0.5, 1}[r.IntN(3)]
	for _, l := range n.links {
		switch {
		case r.Float64() >= share:
		case r.IntN(2) == 0:
			l.reset()
		default:
			l.silent.Store(true)
			time.AfterFunc(500*time.Millisecond+time.Duration(r.IntN(1000))*time.Millisecond, l.reset)
		}
	}
}
