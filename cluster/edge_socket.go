package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster/internal/link"
)

// edgeSocket is a client's socket on the node that has accepted it, and its connection to the home of its object. When the object gets
// another home, the socket is announced there, and what the last home has not handled is sent again.
type edgeSocket struct {
	c    *Cluster
	s    *edgews.Socket
	head edgeHead

	mu      sync.Mutex
	ch      *link.Channel     // nil: the object has no home that is known
	receive *edgeChannel      // the receiver of ch
	unsent  [][]byte          // what must be sent on ch first
	sent    uint64            // how many messages of the client have been given to ch or unsent
	over    bool              // the socket has ended
	begun   bool              // what the home has sent with its answer has been taken; until then, what comes from the client waits
	gone    bool              // forget was called; guarded by Cluster.mu
	watched bool              // there is a listener for when the client has taken what waits for it
	code    edgews.StatusCode // of the client's Close; 0: it has sent none, or one without a code
	changed chan struct{}     // closed when one of these changes; nil: none waits
}

// newEdgeSocket returns the socket s of a client, which was accepted at the time opened.
func newEdgeSocket(q *edgeRequest, accept acceptHead, s *edgews.Socket, opened time.Time) *edgeSocket {
	e := &edgeSocket{c: q.c, s: s, ch: q.ch}
	e.receive = &edgeChannel{e: e, ch: q.ch}
	e.head = edgeHead{
		of:    q.c.edgeShared[q.shard%edgeGroups].originOf(&edgeOrigin{q.key, q.head.LocalAddr, accept.Options}),
		Shard: q.shard, Epoch: accept.Epoch, conn: q.conn, remoteAddr: q.head.RemoteAddr, opened: opened.UnixNano(),
	}
	if accept.Kept != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.head.keepLocked(accept.Kept)
	}
	return e
}

// channel returns the receiver of the present channel.
func (e *edgeSocket) channel() *edgeChannel {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.receive
}

// accept accepts the socket. What comes from the client waits for begin: the home may have sent which messages this edge answers itself.
func (e *edgeSocket) accept() {
	e.s.OnMessage(e.message)
	e.s.OnClose(e.closed)
	_ = e.s.AcceptHalfOpen() // the home answers the client's Close
}

// begin lets what comes from the client go to the home. If the object has moved meanwhile, the socket is announced to the next home.
func (e *edgeSocket) begin() {
	shard := e.head.Shard
	e.c.mu.Lock()
	if !e.gone { // the home may have ended the socket, or have failed, already
		if e.c.edges[shard] == nil {
			e.c.edges[shard] = make(map[*edgeSocket]struct{})
		}
		e.c.edges[shard][e] = struct{}{}
	}
	e.mu.Lock()
	epoch := e.head.Epoch
	e.mu.Unlock()
	isLate := e.c.told[shard].Epoch > epoch
	if isLate {
		delete(e.c.told, shard)
	}
	ended := false
	select {
	case <-e.c.done:
		ended = true
	default:
	}
	e.c.mu.Unlock()
	e.mu.Lock()
	e.begun = true
	e.changedLocked()
	e.mu.Unlock()
	switch {
	case ended:
		e.giveUp(leavingReason)
	case isLate:
		e.c.changed.send()
	}
}

// awaitBegun waits for begin, which comes at once.
func (e *edgeSocket) awaitBegun() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for !e.begun {
		changed := e.awaitLocked()
		e.mu.Unlock()
		<-changed
		e.mu.Lock()
	}
}

// message sends a message of the client to the home. It blocks while there is no home, or no room: the client has to wait then.
func (e *edgeSocket) message(m edgews.MessageEvent) {
	e.awaitBegun()
	kind := byte(msgBinary)
	if m.Kind == edgews.Text {
		kind = msgText
		if reply, ok := e.autoResponse(m.Data); ok {
			if e.s.Send(reply) == nil {
				now := time.Now().UnixNano()
				e.mu.Lock()
				e.head.AutoRespondedAt = now
				e.mu.Unlock()
				e.send(numberMessage(msgAnswered, uint64(len(reply)), uint64(now)), false)
			}
			return
		}
	}
	e.send(bytesMessage(kind, m.Data), true)
}

func (e *edgeSocket) autoResponse(data []byte) (string, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.head.auto == nil {
		return "", false
	}
	reply, ok := e.head.auto.response[string(data)]
	return reply, ok
}

// closed tells the home how the connection has ended, or that the client has sent a Close.
func (e *edgeSocket) closed(end edgews.CloseEvent) {
	e.awaitBegun()
	defer func() { e.channel().drained() }() // what has been dropped makes no OnDrain
	e.reportTopics()
	switch {
	case !end.WasClean:
		e.send([]byte{msgLost}, false)
		e.finish()
	default:
		code := end.Code
		if code == edgews.StatusNoStatusRcvd {
			code = 0
		}
		e.mu.Lock()
		e.code = code
		e.mu.Unlock()
		e.send(closeMessage(code, end.Reason), false)
		e.awaitAnswer()
	}
}

// awaitAnswer finishes the socket if its connection ends before the home has answered the client's Close: there is no second close event.
func (e *edgeSocket) awaitAnswer() {
	e.mu.Lock()
	over := e.over
	e.mu.Unlock()
	switch {
	case over:
	case e.s.ReadyState() == edgews.Closed:
		e.finish()
	default:
		time.AfterFunc(answerCheck, e.awaitAnswer)
	}
}

// answerCheck is how often is looked at a connection whose client has sent a Close that the home has not answered.
const answerCheck = time.Second

// finish ends the channel: the connection of the client is over. The homes of the object are told until one has dealt with that.
func (e *edgeSocket) finish() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	e.leaveTopicsLocked()
	e.pumpLocked()
	e.changedLocked()
}

// forget has the socket not announced any more.
func (e *edgeSocket) forget() {
	defer e.c.forgotten.send()
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	e.gone = true
	in := e.c.edges[e.head.Shard]
	delete(in, e)
	if len(in) == 0 {
		delete(e.c.edges, e.head.Shard)
	}
}

// send sends a message to the home, behind everything that was sent before. It blocks while there is no home, or no room for what was sent
// before. ofClient says that the message is one of the client's, which have numbers.
func (e *edgeSocket) send(m []byte, ofClient bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for !e.over && (e.ch == nil || len(e.unsent) > 0) {
		changed := e.awaitLocked()
		e.mu.Unlock()
		<-changed
		e.mu.Lock()
	}
	if e.over {
		return
	}
	if ofClient {
		e.sent++
	}
	if _, err := e.ch.TrySend(m); err != nil { // there is no room, or the channel has just failed
		e.unsent = append(e.unsent, m)
	}
}

// awaitLocked returns a channel that is closed when something changes. mu must be held.
func (e *edgeSocket) awaitLocked() <-chan struct{} {
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	return e.changed
}

// changedLocked wakes those who wait for a change. mu must be held.
func (e *edgeSocket) changedLocked() {
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}

// pumpLocked sends what is unsent, as far as there is room. mu must be held.
func (e *edgeSocket) pumpLocked() {
	for e.ch != nil && len(e.unsent) > 0 {
		if _, err := e.ch.TrySend(e.unsent[0]); err != nil {
			return
		}
		e.unsent = e.unsent[1:]
	}
	if e.ch != nil && e.over {
		_ = e.ch.End(nil)
	}
	e.changedLocked()
}

// ping pings the client for the home.
func (e *edgeSocket) ping(id uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), pingTimeout)
	defer cancel()
	if _, err := e.s.Ping(ctx); err == nil {
		e.send(numberMessage(msgPing, id), false)
	}
}

// pingTimeout is how long a ping of the home may take.
const pingTimeout = time.Minute
