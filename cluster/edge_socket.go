package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
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
	head socketHead // what is announced; Kept, Positions, Topics, AutoResponses, AutoRespondedAt, Epoch and Handled change, guarded by mu

	mu      sync.Mutex
	ch      *link.Channel // nil: the object has no home that is known
	receive *edgeChannel  // the receiver of ch
	unsent  [][]byte      // what must be sent on ch first
	sent    uint64        // how many messages of the client have been given to ch or unsent
	auto    map[string]string
	over    bool          // the socket has ended
	watched bool          // there is a listener for when the client has taken what waits for it
	changed chan struct{} // closed when one of these changes; nil: none waits
}

func newEdgeSocket(q *edgeRequest, accept acceptHead, s *edgews.Socket) *edgeSocket {
	e := &edgeSocket{c: q.c, s: s, ch: q.ch}
	e.receive = &edgeChannel{e: e, ch: q.ch}
	info := s.Info()
	e.head = socketHead{
		target: q.head.target, Shard: q.shard, Epoch: accept.Epoch, ConnKey: q.head.ConnKey, Options: accept.Options, Host: info.Host, Path: info.Path,
		Protocol: info.Protocol, Extensions: info.Extensions, RemoteAddr: q.head.RemoteAddr, LocalAddr: q.head.LocalAddr,
		Opened: time.Now().UnixNano(),
	}
	return e
}

// channel returns the receiver of the present channel.
func (e *edgeSocket) channel() *edgeChannel {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.receive
}

// begin accepts the socket. If its object has moved meanwhile, the socket is announced to the next home.
func (e *edgeSocket) begin() {
	shard := e.head.Shard
	e.c.mu.Lock()
	if e.c.edges[shard] == nil {
		e.c.edges[shard] = make(map[*edgeSocket]struct{})
	}
	e.c.edges[shard][e] = struct{}{}
	e.mu.Lock()
	epoch := e.head.Epoch
	e.mu.Unlock()
	isLate := e.c.told[shard].Epoch > epoch
	if isLate {
		delete(e.c.told, shard)
	}
	e.c.mu.Unlock()
	e.s.OnMessage(e.message)
	e.s.OnClose(e.closed)
	_ = e.s.AcceptHalfOpen() // the home answers the client's Close
	if isLate {
		e.c.changed.send()
	}
}

// message sends a message of the client to the home. It blocks while there is no home, or no room: the client has to wait then.
func (e *edgeSocket) message(m edgews.MessageEvent) {
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
	reply, ok := e.auto[string(data)]
	return reply, ok
}

// closed tells the home how the connection has ended, or that the client has sent a Close.
func (e *edgeSocket) closed(end edgews.CloseEvent) {
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
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	in := e.c.edges[e.head.Shard]
	delete(in, e)
	if len(in) == 0 {
		delete(e.c.edges, e.head.Shard)
	}
}

// send sends a message to the home, behind everything that was sent before.
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
	if !e.head.Kept.Accepted {
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
	e.head.Handled = e.sent - waiting
	receive := e.receive
	head := e.head
	head.Positions, head.Topics = slices.Clone(head.Positions), slices.Clone(head.Topics)
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
// changes the record of the owner afterwards, and a home that is lost does not wait for its handlers. If it passes although they can, what the last home has sent is dropped: replies are lost. So it is
// far longer than a loaded machine takes; 1 s was not.
const detachTimeout = 5 * time.Second

// giveUp ends the client's socket: no home has it.
func (e *edgeSocket) giveUp(reason string) {
	_ = e.s.Close(edgews.StatusServiceRestart, reason)
	e.mu.Lock()
	e.unsent = nil
	e.mu.Unlock()
	e.finish()
	e.forget()
}

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
		var kept edgews.ClusterKept
		if json.Unmarshal(content, &kept) == nil {
			e.mu.Lock()
			e.head.Kept = kept
			e.head.Positions.Keep(kept.Feeds)
			e.mu.Unlock()
		}
	case msgPosition:
		var p edgews.ClusterPosition
		if json.Unmarshal(content, &p) == nil {
			r.positions = append(r.positions, p)
		}
	case msgSubscribe, msgUnsubscribe:
		e.subscribe(string(content), p[0] == msgSubscribe)
	case msgAuto:
		e.setAuto(content)
	case msgCut:
		_ = e.s.Close(edgews.StatusInternalError, "") // if there was no Close before
		e.finish()
	case msgMoved:
		e.mu.Lock()
		if e.receive == r && e.ch != nil {
			e.detachLocked(e.ch.Withdraw(codeNotHome, nil))
		}
		e.mu.Unlock()
		e.c.announceSoon(e.head.Shard)
	}
	return r.taken(seq)
}

// SharedMessage implements link.SharedReceiver: a message for many clients is encoded once for all of them.
func (r *edgeChannel) SharedMessage(seq uint64, m *link.Shared) (consumed bool) {
	kind := byte(0)
	if len(m.Payload) > 0 {
		kind = m.Payload[0]
	}
	if r.part != nil || kind != msgText && kind != msgBinary {
		return r.Message(seq, m.Payload)
	}
	prepared, ok := m.Value.(*edgews.Prepared)
	if !ok {
		of := edgews.Text
		if kind == msgBinary {
			of = edgews.Binary
		}
		prepared = edgews.Prepare(of, m.Payload[1:])
		m.Value = prepared
	}
	_ = r.e.s.SendPrepared(prepared)
	return r.taken(seq)
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

func (e *edgeSocket) setAuto(content []byte) {
	var pairs []edgews.AutoResponse
	if json.Unmarshal(content, &pairs) != nil {
		return
	}
	auto := make(map[string]string, len(pairs))
	for _, p := range pairs {
		auto[p.Request] = p.Response
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.auto, e.head.AutoResponses = auto, pairs
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
	e.c.announceSoon(e.head.Shard)
}
