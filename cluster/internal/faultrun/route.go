package faultrun

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// Way is a direction of a route.
type Way int

const (
	Requests Way = iota // from the end that connects
	Answers             // to it
)

// Route is what connections from one place to another pass. Faults are injected into it.
type Route struct {
	mu      sync.Mutex
	held    [2]bool          // by Way: bytes are kept, as in a network that loses packets
	delay   [2]time.Duration // by Way
	refuses bool             // new connections fail
	changed chan struct{}    // closed when one of these changes
	conns   map[net.Conn]struct{}
}

func newRoute() *Route {
	return &Route{changed: make(chan struct{}), conns: make(map[net.Conn]struct{})}
}

func (r *Route) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	close(r.changed)
	r.changed = make(chan struct{})
}

// Hold has the bytes in one direction wait, or lets them go on. Connections stay.
func (r *Route) Hold(w Way, on bool) { r.set(func() { r.held[w] = on }) }

// HoldBoth is Hold in both directions.
func (r *Route) HoldBoth(on bool) { r.set(func() { r.held = [2]bool{on, on} }) }

// Delay has the bytes in one direction wait for d.
func (r *Route) Delay(w Way, d time.Duration) { r.set(func() { r.delay[w] = d }) }

// Refuse has new connections fail.
func (r *Route) Refuse(on bool) { r.set(func() { r.refuses = on }) }

// Break closes the connections that there are. What they hold is lost.
func (r *Route) Break() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		c.Close()
	}
	clear(r.conns)
}

func (r *Route) isRefusing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refuses
}

func (r *Route) add(c net.Conn, on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if on {
		r.conns[c] = struct{}{}
	} else {
		delete(r.conns, c)
	}
}

// join passes bytes between two connections until one of them ends, and closes both.
func (r *Route) join(from, to net.Conn) {
	over := make(chan struct{})
	once := sync.OnceFunc(func() {
		close(over)
		from.Close()
		to.Close()
	})
	r.add(from, true)
	defer r.add(from, false)
	var pumps sync.WaitGroup
	pumps.Go(func() { r.pump(from, to, Requests, over); once() })
	pumps.Go(func() { r.pump(to, from, Answers, over); once() })
	pumps.Wait()
}

func (r *Route) pump(from, to net.Conn, w Way, over <-chan struct{}) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && r.await(w, over) {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// await waits until bytes may pass. It returns false when the connection is over.
func (r *Route) await(w Way, over <-chan struct{}) bool {
	r.mu.Lock()
	held, delay, changed := r.held[w], r.delay[w], r.changed
	r.mu.Unlock()
	if delay > 0 {
		t := time.NewTimer(delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-over:
			return false
		}
	}
	for held {
		select {
		case <-changed:
		case <-over:
			return false
		}
		r.mu.Lock()
		held, changed = r.held[w], r.changed
		r.mu.Unlock()
	}
	return true
}

// forward connects everything that a listener accepts to an address. It returns when the listener is closed.
func (r *Route) forward(l net.Listener, network, addr string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			if r.isRefusing() {
				return
			}
			to, err := net.Dial(network, addr)
			if err != nil {
				return
			}
			r.join(c, to)
		}()
	}
}

// relay connects what one node dials to other nodes. route returns the route to an address, or nil.
func relay(l net.Listener, route func(addr string) *Route) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			addr, err := readAddr(c)
			if err != nil {
				return
			}
			answer := byte(relayFailed)
			r := route(addr)
			var to net.Conn
			if r != nil && !r.isRefusing() {
				to, err = net.Dial("tcp", addr)
				switch {
				case err == nil:
					answer = relayConnected
				case errors.Is(err, syscall.ECONNREFUSED):
					answer = relayRefused
				}
			}
			if _, err := c.Write([]byte{answer}); err != nil || to == nil {
				if to != nil {
					to.Close()
				}
				return
			}
			r.join(c, to)
		}()
	}
}
