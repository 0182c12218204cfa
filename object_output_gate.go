package edgews

import (
	"sync"
	"sync/atomic"
)

// gate holds back what an object sends while a commit of it is under way. It costs a socket nothing until it sends
// something then: there is no list of all sockets to go through, only one of those that hold something back.
type outputGate struct {
	state atomic.Uint32 // a gateState; changed with mu held

	mu      sync.Mutex // below the mu of sockets
	sockets []*Socket
}

type outputGateState = uint32

const (
	gateOpen   outputGateState = iota
	gateClosed                 // what is sent is held back
	gateFailed                 // … and will never leave
)

func (g *outputGate) close() { g.set(gateClosed) }

// breakUp has what is held back dropped, by reset and by open.
func (g *outputGate) fail() { g.set(gateFailed) }

func (g *outputGate) set(state outputGateState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.state.Store(state)
}

// open lets go of what is held back. What is sent meanwhile goes behind it.
func (g *outputGate) open() {
	g.mu.Lock()
	broken := g.state.Swap(gateOpen) == gateFailed
	holding := g.sockets
	g.sockets = nil
	g.mu.Unlock()
	for _, s := range holding {
		s.releaseOutput(broken)
	}
}

func (s *Socket) releaseOutput(broken bool) {
	s.mu.Lock()
	if broken {
		s.dropHeldOutputLocked(closeFrame{StatusInternalError, storageFailed})
	} else {
		s.link.releaseOutputLocked()
	}
	l := s.link
	s.mu.Unlock()
	l.transmit()
}

// dropHeldLocked drops what s holds back. If a Close was among it, c takes its place. mu must be held.
func (s *Socket) dropHeldOutputLocked(c closeFrame) {
	if s.link.dropOutputLocked() {
		s.link.closeLocked(c)
	}
	s.roomLocked()
}

// gateLocked has what an object is about to send on s wait for the commit that is under way, if one is. mu must be held, and
// the socket owned.
func (s *Socket) holdOutputLocked() {
	st := s.extra.owner.(*objectSocket).o.storage.Load()
	if st != nil && st.gate.state.Load() != gateOpen {
		st.gate.holdLocked(s)
	}
}

// holdLocked has s hold back what it sends until open. The socket's mu must be held.
func (g *outputGate) holdLocked(s *Socket) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state.Load() != gateOpen && s.link.holdOutputLocked() {
		g.sockets = append(g.sockets, s)
	}
}

// gateBroken says whether what the sockets of m's object hold back is never to leave.
func (m *objectSocket) isOutputFailed() bool {
	st := m.o.storage.Load()
	return st != nil && st.gate.state.Load() == gateFailed
}

// gatedFrames are frames that a gate holds back: an outbox of their own, that waits behind the one that it belongs to, which
// counts them as its own.
type gatedFrames struct {
	outbox
	closing bool // a Close is among them
}

// push adds frames that have been counted already.
func (g *gatedFrames) push(b batch) {
	g.endBatch()
	g.frames.push(b)
	g.waiting += len(b.rest())
	g.payload += b.payload
	g.size += b.size
}

// letGo has what a gate has held back follow the rest.
func (o *outbox) releaseGated() {
	behind := o.gated
	o.gated = nil
	o.endBatch()
	for behind.endBatch(); behind.frames.len() > 0; {
		o.frames.push(behind.frames.pop())
	}
	o.waiting += behind.waiting
}

// dropHeld forgets what a gate has held back. It reports whether a Close was among it.
func (o *outbox) dropGated() (closing bool) {
	behind := o.gated
	o.gated = nil
	o.payload -= behind.payload
	o.size -= behind.size
	behind.discard()
	return behind.closing
}
