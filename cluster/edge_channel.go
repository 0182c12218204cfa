package cluster

import (
	"encoding/json"
	"errors"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster/internal/link"
)

// edgeChannel is the receiver of one channel of an edgeSocket.
type edgeChannel struct {
	e    *edgeSocket
	part []byte // of a message whose last part has not arrived; owned by the link's goroutine
	// positions say how far the client is with the next message. Owned by the link's goroutine.
	positions []edgews.ClusterPosition

	// Guarded by e.mu.
	ch       *link.Channel // nil: moveTo has not set it yet
	consumed uint64        // what consume has been called with before
	waiting  uint64        // the sequence up to which is consumed when the client has taken more; 0: nothing waits
}

// edgeBacklog is how many bytes may wait for a client at its edge; then the home has to wait.
const edgeBacklog = 64 << 10

// Message implements link.Receiver.
func (r *edgeChannel) Message(seq uint64, p []byte) (consumed bool) {
	e := r.e
	if len(p) == 0 {
		return true
	}
	content := p[1:]
	switch p[0] {
	case msgTextPart, msgBinaryPart:
		r.part = append(r.part, content...)
	case msgText:
		if text := string(r.whole(content)); r.notePosition() {
			_ = e.s.Send(text)
		}
	case msgBinary:
		if data := r.whole(content); r.notePosition() {
			_ = e.s.SendBytes(data)
		}
	case msgClose:
		r.close(parseClose(content))
	case msgPing:
		go e.ping(number(content, 0))
	case msgKept:
		e.mu.Lock()
		e.head.keepLocked(content)
		e.mu.Unlock()
	case msgAuto:
		if auto := e.c.edgeShared[e.head.Shard%edgeGroups].autoOf(content); auto != nil {
			e.mu.Lock()
			e.head.auto = auto
			e.mu.Unlock()
		}
	case msgPosition:
		var at edgews.ClusterPosition
		if json.Unmarshal(content, &at) == nil {
			r.positions = append(r.positions, at)
		}
	case msgSubscribe, msgUnsubscribe:
		e.subscribe(string(content), p[0] == msgSubscribe)
	case msgCut:
		_ = e.s.Close(edgews.StatusInternalError, "") // if there was no Close before
		e.finish()
	case msgMoved:
		e.mu.Lock()
		if e.receive == r && e.ch != nil {
			e.detachLocked(e.ch.Withdraw(codeNotHome, nil))
		}
		e.mu.Unlock()
		e.c.changed.send() // watchOwners looks for the next home
	}
	return r.taken(seq)
}

// SharedMessage implements link.SharedReceiver: a message for many clients is encoded once for all of them.
func (r *edgeChannel) SharedMessage(seq uint64, m *link.Shared) (consumed bool) {
	if m.Value == nil {
		m.Value = sharedValueOf(m.Payload)
	}
	switch v := m.Value.(type) {
	case *edgews.ClusterPosition:
		r.positions = append(r.positions, *v)
	case *edgews.Prepared:
		if r.part != nil {
			return r.Message(seq, m.Payload)
		}
		if r.notePosition() {
			_ = r.e.s.SendPrepared(v)
		}
	default:
		return r.Message(seq, m.Payload)
	}
	return r.taken(seq)
}

// sharedValueOf returns what a message of the home means to each of its sockets, or p if that is to be found out for each of them.
func sharedValueOf(p []byte) any {
	if len(p) == 0 {
		return p
	}
	switch content := p[1:]; p[0] {
	case msgText:
		return edgews.Prepare(edgews.Text, content)
	case msgBinary:
		return edgews.Prepare(edgews.Binary, content)
	case msgPosition:
		position := new(edgews.ClusterPosition)
		_ = json.Unmarshal(content, position)
		return position
	}
	return p
}

// taken reports whether the home may send more: the client has taken enough of what it was sent.
func (r *edgeChannel) taken(seq uint64) bool {
	e := r.e
	if e.s.BufferedAmount() <= edgeBacklog || e.s.ReadyState() == edgews.Closed {
		return true
	}
	e.mu.Lock()
	r.waiting = seq
	isWatched := e.watched
	e.watched = true
	e.mu.Unlock()
	if !isWatched { // a listener costs memory, and most clients are never slow
		e.s.OnDrain(edgeBacklog/2, func(*edgews.Socket) { e.channel().drained() })
	}
	if e.s.BufferedAmount() <= edgeBacklog/2 || e.s.ReadyState() == edgews.Closed { // OnDrain may have come before
		r.drained()
	}
	return false
}

// whole returns the message whose last part is content.
func (r *edgeChannel) whole(content []byte) []byte {
	if r.part == nil {
		return content
	}
	all := append(r.part, content...)
	r.part = nil
	return all
}

// notePosition notes how far the client is when it has got the message that has arrived. It returns false if the message is not to be sent: the
// socket has been detached from the home, and the next home sends what was not noted.
func (r *edgeChannel) notePosition() bool {
	if r.positions == nil {
		return true
	}
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	if r.e.receive != r {
		return false
	}
	for _, p := range r.positions {
		r.e.head.Positions.Note(p)
	}
	r.positions = nil
	return true
}

// drained lets the home go on: the client has taken most of what waits for it, or is gone.
func (r *edgeChannel) drained() {
	r.e.mu.Lock()
	seq := r.waiting
	r.waiting = 0
	r.e.mu.Unlock()
	if seq != 0 {
		r.consume(seq)
	}
}

// consume says that the client has got everything up to seq.
func (r *edgeChannel) consume(seq uint64) {
	r.e.mu.Lock()
	ch := r.ch
	if ch == nil { // moveTo is about to set it
		r.consumed = seq
	}
	r.e.mu.Unlock()
	if ch != nil {
		ch.Consume(seq)
	}
}

// close sends the home's Close to the client.
func (r *edgeChannel) close(code edgews.StatusCode, reason string) {
	e := r.e
	wasClosing := e.s.ReadyState() == edgews.Closing
	_ = e.s.Close(code, reason)
	if wasClosing { // it answers the client's: both have sent one
		e.finish()
	}
}

// Ended implements link.Receiver.
func (r *edgeChannel) Ended([]byte) {}

// Writable implements link.Receiver.
func (r *edgeChannel) Writable() {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	if r.e.receive == r {
		r.e.pumpLocked()
	}
}

// Closed implements link.Receiver: the channel is over.
func (r *edgeChannel) Closed(err error) {
	e := r.e
	e.mu.Lock()
	if e.receive != r {
		e.mu.Unlock()
		return
	}
	if err == nil && e.over { // the home has dealt with the end
		e.mu.Unlock()
		e.forget()
		return
	}
	var unconsumed [][]byte
	if e.ch != nil {
		for _, p := range e.ch.Unconsumed() {
			unconsumed = append(unconsumed, p)
		}
	}
	e.detachLocked(unconsumed)
	e.mu.Unlock()
	if isMove := isNotHome(err) || errors.Is(err, link.ErrRemoved) || errors.Is(err, link.ErrReplaced); !isMove {
		e.giveUp("the object has lost the socket")
		return
	}
	e.c.changed.send() // watchOwners looks for the next home
}
