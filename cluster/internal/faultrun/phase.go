package faultrun

import (
	"context"
	"sync"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
)

// Phase is a moment in the life of an object or of a shard at which a node can be held.
type Phase string

const (
	HandlerBegins   Phase = "handler begins"    // the home has the message, and has done nothing
	CommitBegins    Phase = "commit begins"     // the handler has run; nothing is stored
	CommitReturns   Phase = "commit returns"    // the entry is stored; nothing has been sent
	ReplySent       Phase = "reply is sent"     // the client has the reply; the edge does not know that the message was handled
	CloseStored     Phase = "close is stored"   // the close event has been stored; the edge does not know
	Activation      Phase = "activation"        // the constructor of the object has begun
	ClaimBegins     Phase = "claim begins"      // the node is about to claim the shard
	ClaimReturns    Phase = "claim returns"     // the record names the node; the node does not know
	HandOverBegins  Phase = "hand-over begins"  // the objects of the shard have ended; the record names the node still
	HandOverReturns Phase = "hand-over returns" // the record names the other node; this one does not know
)

// holds keeps goroutines of a node at a phase.
type holds struct {
	mu    sync.Mutex
	armed map[Phase]*hold
}

// hold keeps the goroutines that reach one phase.
type hold struct {
	any      bool // of all objects and shards
	id       edgews.ID
	shard    cluster.Shard
	reached  chan struct{} // closed when a goroutine has reached it
	once     sync.Once
	released chan struct{}
}

// anyRoom stands for all rooms.
const anyRoom = ""

// arm has goroutines wait at a phase, for one object or its shard, or for all.
func (h *holds) arm(p Phase, all bool, id edgews.ID, shard cluster.Shard) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.armed == nil {
		h.armed = make(map[Phase]*hold)
	}
	h.armed[p] = &hold{any: all, id: id, shard: shard, reached: make(chan struct{}), released: make(chan struct{})}
}

func (h *holds) of(p Phase) *hold {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.armed[p]
}

// release lets those go on that wait at a phase, and no more wait there.
func (h *holds) release(p Phase) {
	h.mu.Lock()
	held := h.armed[p]
	delete(h.armed, p)
	h.mu.Unlock()
	if held != nil {
		close(held.released)
	}
}

// at waits if the phase of the object is held.
func (h *holds) at(p Phase, id edgews.ID) {
	if held := h.of(p); held != nil && (held.any || held.id == id) {
		held.wait()
	}
}

// atShard waits if the phase of the shard is held.
func (h *holds) atShard(p Phase, s cluster.Shard) {
	if held := h.of(p); held != nil && (held.any || held.shard == s) {
		held.wait()
	}
}

func (h *hold) wait() {
	h.once.Do(func() { close(h.reached) })
	<-h.released
}

// awaitReached waits until a goroutine has reached a phase.
func (h *holds) awaitReached(ctx context.Context, p Phase) error {
	held := h.of(p)
	if held == nil {
		return context.Canceled
	}
	select {
	case <-held.reached:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
