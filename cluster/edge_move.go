package cluster

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster/internal/link"
)

// detachLocked ends the present channel, and keeps what the home has not handled. mu must be held.
func (e *edgeSocket) detachLocked(unconsumed [][]byte) {
	e.unsent = append(unconsumed, e.unsent...)
	e.ch = nil
	e.receive = &edgeChannel{e: e}
	e.changedLocked()
}

// moveTo announces the socket to a new home, after awaitDetached. A socket that only its last home knows ends instead.
func (e *edgeSocket) moveTo(ctx context.Context, o Ownership, m Member) error {
	e.mu.Lock()
	if e.head.Epoch >= o.Epoch {
		e.mu.Unlock()
		return nil
	}
	if e.ch != nil {
		e.detachLocked(e.ch.Withdraw(codeNotHome, nil))
	}
	if e.over && len(e.unsent) == 0 { // the last home has dealt with its end, or has caused it
		e.mu.Unlock()
		e.forget()
		return nil
	}
	if !e.head.accepted {
		e.mu.Unlock()
		e.giveUp("object has moved")
		return nil
	}
	e.head.Epoch = o.Epoch
	waiting := uint64(0)
	for _, m := range e.unsent {
		if len(m) > 0 && (m[0] == msgText || m[0] == msgBinary) {
			waiting++
		}
	}
	receive := e.receive
	head := e.head.announcementLocked(e, e.sent-waiting)
	e.mu.Unlock()

	ch, err := e.c.open(ctx, m, greeting(kindSocket, head), receive)
	switch {
	case errors.Is(err, link.ErrTooLarge): // the others must not wait for it
		e.giveUp("socket cannot be moved")
		return nil
	case err != nil:
		e.mu.Lock()
		e.head.Epoch = 0 // it has not been announced
		e.mu.Unlock()
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	receive.ch = ch
	if receive.consumed > 0 {
		ch.Consume(receive.consumed)
	}
	if e.receive != receive { // it has failed already
		return nil
	}
	e.ch = ch
	e.pumpLocked()
	return nil
}

// awaitDetached waits until the last home has sent the socket on, if that is alive: what it has sent before is still on its way. It waits no
// longer than until ctx ends.
func (e *edgeSocket) awaitDetached(ctx context.Context) {
	for {
		changed := e.c.Changed()
		e.mu.Lock()
		if e.ch == nil || !e.c.isMember(e.ch.Peer()) {
			e.mu.Unlock()
			return
		}
		detached := e.awaitLocked()
		e.mu.Unlock()
		select {
		case <-detached:
		case <-changed: // the last home may have died
		case <-ctx.Done():
			return
		}
	}
}

// detachTimeout is how long a home that is alive may take to send the sockets of a shard on, and how long it waits for the edges to have got
// that. It passes only if the two cannot reach each other, or if a handler opens a socket although its context has ended: a home that leaves
// changes the record of the owner afterwards, and a home that is lost does not wait for its handlers. If it passes although they can reach each
// other, what the last home has sent is dropped: replies are lost. So it is far longer than a loaded machine takes; 1 s was not.
const detachTimeout = 5 * time.Second

// awaitHome waits until the socket is announced to the home of its object. While another node is there that may become the home, this node's view
// of the owner says nothing: it may not have seen yet to whom it has given the shard.
func (e *edgeSocket) awaitHome(ctx context.Context) {
	for {
		changed := e.c.Changed()
		e.mu.Lock()
		if e.ch != nil || e.over || !e.c.mayOthersOwn() {
			e.mu.Unlock()
			return
		}
		announced := e.awaitLocked()
		e.mu.Unlock()
		select {
		case <-announced:
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// mayOthersOwn reports whether there is another member that can be the home of objects.
func (c *Cluster) mayOthersOwn() bool {
	self := c.Self().ID
	return slices.ContainsFunc(c.Members(), func(m Member) bool { return m.ID != self && !m.EdgeOnly && !m.Leaving })
}

// awaitForgotten waits until the socket has ended and the home has dealt with that. It returns false if ctx ends before.
func (e *edgeSocket) awaitForgotten(ctx context.Context) bool {
	for {
		next := e.c.forgotten.next()
		e.c.mu.Lock()
		_, known := e.c.edges[e.head.Shard][e]
		e.c.mu.Unlock()
		if !known {
			return true
		}
		select {
		case <-next:
		case <-ctx.Done():
			return false
		}
	}
}

// dismiss ends the client's socket because this node leaves. The home learns of it as of every other end, if there is one.
func (e *edgeSocket) dismiss() {
	e.mu.Lock()
	homeless := e.ch == nil
	e.mu.Unlock()
	if homeless { // no node would take what the client has sent
		e.giveUp(leavingReason)
		return
	}
	_ = e.s.Close(edgews.StatusServiceRestart, leavingReason)
}

// giveUp ends the client's socket: no home has it. If the client has sent a Close, that is answered.
func (e *edgeSocket) giveUp(reason string) {
	e.mu.Lock()
	code := cmp.Or(e.code, edgews.StatusServiceRestart)
	e.unsent = nil
	e.mu.Unlock()
	_ = e.s.Close(code, reason)
	e.finish()
	e.forget()
}
