package main

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/edgews/edgews"
)

// chatServer is the upstream: it sends each message that it gets to all its connections, as it is. In this example it is a part of the
// program, so that a button of the page can stop and start it; elsewhere it would be
// a server of another owner.
type chatServer struct {
	listen func(addr string) (net.Listener, error)

	mu   sync.Mutex // held while it starts and while it stops
	addr string     // if it ends in :0, the first start replaces it
	halt func()     // nil: it does not run
}

// url returns the URL for relays, which stays valid after a restart. Call start first.
func (c *chatServer) url() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return "ws://" + c.addr
}

// start starts the server at its address, if it does not run.
func (c *chatServer) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.halt != nil {
		return nil
	}
	l, err := c.listen(c.addr)
	if err != nil {
		return err
	}
	c.addr = l.Addr().String()
	halls := edgews.NewNamespace("halls", newHall, &edgews.NamespaceOptions{ShutdownCode: edgews.StatusGoingAway})
	server := &http.Server{Handler: halls.Get(halls.IDFromName("hall")), ReadHeaderTimeout: 10 * time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(l) })
	c.halt = func() {
		server.Close()
		serving.Wait()
		now, cancel := context.WithCancel(context.Background())
		cancel()
		halls.Shutdown(now) // it does not wait for the relays
	}
	return nil
}

// stop stops the server, if it runs.
func (c *chatServer) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.halt != nil {
		c.halt()
		c.halt = nil
	}
}

// hall is the only object of the chat server.
type hall struct{ st *edgews.State }

func newHall(_ context.Context, st *edgews.State) (edgews.Object, error) { return &hall{st}, nil }

func (h *hall) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return // answered already
	}
	if err := h.st.AcceptWebSocket(s); err != nil {
		s.Accept()
		s.Close(edgews.StatusTryAgainLater, err.Error())
	}
}

func (h *hall) WebSocketMessage(_ context.Context, _ *edgews.Socket, m edgews.Message) error {
	h.st.Broadcast(edgews.Prepare(m.Kind, m.Data))
	return nil
}
