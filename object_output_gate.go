package edgews

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
)

// outputGate holds back what an object sends while one of its commits is under way. Sockets are not told when the gate closes: a socket
// looks at the gate when it sends something, and then holds that back. So a commit costs nothing for sockets that send nothing meanwhile.
type outputGate struct {
	state atomic.Uint32 // an outputGateState; changed with mu held

	mu      sync.Mutex // may be locked with a socket's mu held; no other mutex is locked under it
	sockets []*Socket  // those that hold output back
	waited  *commitEnd // nil: no goroutine waits until the gate opens
}

// commitEnd tells goroutines how the commit that has closed the gate has ended.
type commitEnd struct {
	over   chan struct{}
	failed bool // set before over is closed
}

type outputGateState = uint32

const (
	gateOpen   outputGateState = iota
	gateClosed                 // output is held back
	gateFailed                 // output is held back, and will be dropped
)

func (g *outputGate) close() { g.set(gateClosed) }

// fail has the output that is held back dropped: by the reset of the object that follows, and by open.
func (g *outputGate) fail() { g.set(gateFailed) }

func (g *outputGate) set(state outputGateState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.state.Store(state)
}

// open releases the output that is held back, or drops it after fail. What a socket sends meanwhile goes behind it.
func (g *outputGate) open() {
	g.mu.Lock()
	failed := g.state.Swap(gateOpen) == gateFailed
	sockets, waited := g.sockets, g.waited
	g.sockets, g.waited = nil, nil
	g.mu.Unlock()
	if waited != nil {
		waited.failed = failed
		close(waited.over)
	}
	for _, s := range sockets {
		s.releaseOutput(failed)
	}
}

// end returns what tells how the commit that is under way ends, or nil if the gate is open.
func (g *outputGate) end() *commitEnd {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state.Load() == gateOpen {
		return nil
	}
	if g.waited == nil {
		g.waited = &commitEnd{over: make(chan struct{})}
	}
	return g.waited
}

// awaitGate waits until the object's output gate g is open. It returns an error if ctx ends, or if the commit has failed and the caller
// belongs to the value that has made it, not to the next one.
func (o *object) awaitGate(ctx context.Context, g *outputGate) error {
	st := o.currentState()
	end := g.end()
	if end == nil {
		return nil
	}
	select {
	case <-end.over:
	case <-ctx.Done():
	}
	switch err := ctx.Err(); {
	case err != nil: // also if both are over, so that a reset has the same error each time
		return err
	case end.failed && (st == nil || st != o.currentState()):
		return cmp.Or(o.checkUsable(nil), ErrAborted)
	}
	return nil
}

// currentState returns the State of the object's value; nil: there is none.
func (o *object) currentState() *State {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state
}

// releaseOutput lets the output leave that s holds back, or drops it after a commit that has failed. A socket that the object still has was
// accepted after the reset, by the next value, which knows nothing of that commit.
func (s *Socket) releaseOutput(failed bool) {
	s.mu.Lock()
	if failed && (s.objectSocket == nil || s.objectSocket.isRemoved()) {
		s.dropHeldOutputLocked(closeFrame{StatusInternalError, storageFailed})
	} else {
		s.releaseOutputLocked()
	}
	l := s.link
	s.mu.Unlock()
	l.transmit()
	s.tell()
}

// dropHeldOutputLocked drops the output that s holds back. If a Close was among it, c takes its place. mu must be held.
func (s *Socket) dropHeldOutputLocked(c closeFrame) {
	if s.dropOutputLocked() {
		s.closeLinkLocked(c)
	}
	s.notifyRoomLocked()
}

// holdDuringCommitLocked has the socket hold back what it is about to send, if a commit of its object is under way. The socket's mu must be
// held.
func (sock *objectSocket) holdDuringCommitLocked() {
	lease := sock.o.storage.Load()
	if lease != nil && lease.gate.state.Load() != gateOpen {
		lease.gate.holdLocked(sock.s)
	}
}

// holdLocked has s hold back what it sends until open, unless the gate has opened meanwhile. The socket's mu must be held.
func (g *outputGate) holdLocked(s *Socket) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state.Load() != gateOpen && s.holdOutputLocked() {
		g.sockets = append(g.sockets, s)
	}
}

// hasOutputFailed reports whether the output that the object's sockets hold back is about to be dropped.
func (sock *objectSocket) hasOutputFailed() bool {
	lease := sock.o.storage.Load()
	return lease != nil && lease.gate.state.Load() == gateFailed
}
