package cluster

import (
	"bytes"
	"errors"
	"math"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster/internal/link"
)

// homeConn is the home's side of a socket whose connection is at an edge: the edgews.ClusterConn of the socket, and the receiver of its
// channel. mu may be locked with the mutex of the socket held; methods of the socket are called without it.
type homeConn struct {
	c    *Cluster
	ch   *link.Channel
	from link.Peer
	head *socketHead

	mu     sync.Mutex
	s      *edgews.ClusterSocket // nil until Bind
	early  []earlyMessage        // what has arrived before
	out    []outMessage          // what the link has had no room for
	in     []inMessage           // what has arrived and is not consumed
	skip   uint64                // how many messages of the client have been handled by an earlier home
	live   bool                  // what arrives is delivered at once
	ended  bool                  // nothing more arrives
	closed error                 // why the channel has failed; nil: it has not
	over   bool                  // nothing is sent any more
	told   bool                  // the socket knows how the connection has ended
	done   bool                  // the object has handled the close event on an earlier home
	last   uint64                // the sequence of the last message that has arrived

	goneOnce sync.Once
	gone     chan struct{} // closed when the channel is over
}

type earlyMessage struct {
	seq uint64
	p   []byte
}

// outMessage is a message that waits for room in the link.
type outMessage struct {
	m       []byte
	of      *messageParts // the link may send m to other sockets, too: it never changes. nil: it is for this one
	pieces  int           // that ClusterSocket.Acknowledge counts
	payload int
}

// oneOfMany is outMessage.of of a message in one part.
var oneOfMany = new(messageParts)

// sendTo gives the message to the link.
func (m *outMessage) sendTo(ch *link.Channel) (uint64, error) {
	if m.of != nil {
		return ch.TrySendShared(m.m)
	}
	return ch.TrySend(m.m)
}

// inMessage is a message that has arrived. One that is not of the client is consumed with those before it.
type inMessage struct {
	seq      uint64
	ofClient bool
	isEnd    bool // how the connection has ended: consumed when the object has been told, so that the next home is told otherwise
}

func newHomeConn(c *Cluster, from link.Peer, ch *link.Channel, head *socketHead) *homeConn {
	return &homeConn{c: c, ch: ch, from: from, head: head, gone: make(chan struct{})}
}

// acceptSocket takes a socket that an edge announces to this node, the new home of its object.
func (c *Cluster) acceptSocket(from link.Peer, ch *link.Channel, head *socketHead) link.Receiver {
	conn := newHomeConn(c, from, ch, head)
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.homes[head.Shard]
	switch {
	case h == nil || h.Epoch < head.Epoch:
		conn.waitForShardLocked()
	case h.Epoch > head.Epoch || h.leaving:
		ch.Reset(codeNotHome, nil)
		return nil
	case h.isReady():
		ch.Reset(codeGone, []byte("the object has begun without this socket")) // its marks are deleted: messages could be handled twice
		return nil
	default:
		h.announced = append(h.announced, conn)
		h.heard = c.clock.now()
	}
	return conn
}

// waitForShardLocked is for a socket that is announced before this node knows that it owns the shard. Cluster.mu must be held.
func (conn *homeConn) waitForShardLocked() {
	set := conn.c.early[conn.head.Shard]
	if set != nil && set.epoch > conn.head.Epoch { // the edge announces the socket again
		conn.over = true
		conn.ch.Reset(codeNotHome, nil)
		return
	}
	if set == nil || set.epoch < conn.head.Epoch {
		set = &earlySet{epoch: conn.head.Epoch}
		conn.c.early[conn.head.Shard] = set
	}
	set.conns = append(set.conns, conn)
}

// earlySet has the sockets that were announced to this node before it knew that it owns their shard.
type earlySet struct {
	epoch uint64
	conns []*homeConn
}

// restored describes the socket for ClusterHost.Restore.
func (conn *homeConn) restored() edgews.ClusterRestored {
	h := conn.head
	var at time.Time
	if h.AutoRespondedAt != 0 {
		at = time.Unix(0, h.AutoRespondedAt)
	}
	return edgews.ClusterRestored{
		Conn: conn, Kept: h.Kept, Options: h.Options.options(), Host: h.Host, Path: h.Path, Protocol: h.Protocol, Extensions: h.Extensions,
		Handled: h.Handled, Positions: h.Positions, Topics: h.Topics, AutoResponses: h.AutoResponses, AutoRespondedAt: at,
	}
}

// begin delivers what has arrived, after Restore: handled messages of the client have been handled, or the whole connection has.
func (conn *homeConn) begin(handled uint64) {
	conn.register()
	conn.mu.Lock()
	conn.skip = handled - conn.head.Handled
	conn.done = handled == math.MaxUint64
	conn.mu.Unlock()
	conn.goLive()
	conn.mu.Lock()
	mustCut := conn.done && !conn.told
	conn.mu.Unlock()
	if mustCut { // the last home has ended the socket, and the edge does not know
		conn.Cut()
	}
}

// register has the socket found when its shard moves, or its edge dies.
func (conn *homeConn) register() {
	conn.c.mu.Lock()
	defer conn.c.mu.Unlock()
	s := conn.head.Shard
	if conn.c.conns[s] == nil {
		conn.c.conns[s] = make(map[*homeConn]struct{})
	}
	conn.c.conns[s][conn] = struct{}{}
}

// forget is the opposite of register.
func (conn *homeConn) forget() {
	conn.c.mu.Lock()
	defer conn.c.mu.Unlock()
	in := conn.c.conns[conn.head.Shard]
	delete(in, conn)
	if len(in) == 0 {
		delete(conn.c.conns, conn.head.Shard)
	}
}

// refuse ends a socket that has not begun on this node.
func (conn *homeConn) refuse(code uint16, err error) {
	conn.mu.Lock()
	conn.over = true
	conn.mu.Unlock()
	conn.ch.Reset(code, []byte(err.Error()))
}

// move tells the edge that the object moves, behind what waits to be sent: it announces the socket to the next home. What the edge has not been
// told to be handled, it sends there again.
func (conn *homeConn) move() {
	conn.mu.Lock()
	isOver := conn.over
	if !isOver {
		conn.over = true
		conn.out = append(conn.out, outMessage{m: []byte{msgMoved}})
	}
	conn.mu.Unlock()
	if !isOver {
		conn.pump()
	}
}

// moveFailedLocked sends the socket on without the message that it moves: the channel takes none any more. mu must be held.
func (conn *homeConn) moveFailedLocked() {
	conn.ch.Reset(codeNotHome, nil)
	conn.goneOnce.Do(func() { close(conn.gone) }) // Closed may not be called
}

// Key implements edgews.ClusterConn.
func (conn *homeConn) Key() string { return conn.head.ConnKey }

// Bind implements edgews.ClusterConn.
func (conn *homeConn) Bind(s *edgews.ClusterSocket) {
	conn.mu.Lock()
	conn.s = s
	conn.mu.Unlock()
	if conn.head.Epoch == 0 { // otherwise begin follows
		conn.register()
		conn.goLive()
	}
}

// goLive delivers what has arrived already, and then what arrives.
func (conn *homeConn) goLive() {
	for {
		conn.mu.Lock()
		if len(conn.early) == 0 {
			conn.live, conn.early = true, nil
			ended, closed := conn.ended, conn.closed
			conn.mu.Unlock()
			switch {
			case closed != nil:
				conn.lose(closed)
			case ended:
				conn.Ended(nil)
			}
			return
		}
		m := conn.early[0]
		conn.early = conn.early[1:]
		conn.mu.Unlock()
		conn.receive(m.seq, m.p)
	}
}

// Message implements link.Receiver.
func (conn *homeConn) Message(seq uint64, p []byte) bool {
	conn.mu.Lock()
	if !conn.live {
		conn.early = append(conn.early, earlyMessage{seq, bytes.Clone(p)})
		conn.mu.Unlock()
		return false
	}
	conn.mu.Unlock()
	conn.receive(seq, p)
	return false
}

// receive handles a message of the edge.
func (conn *homeConn) receive(seq uint64, p []byte) {
	if len(p) == 0 {
		return
	}
	kind, content := p[0], p[1:]
	ofClient := kind == msgText || kind == msgBinary
	conn.mu.Lock()
	skipped := ofClient && conn.skip > 0
	if skipped {
		conn.skip--
	}
	isEnd := kind == msgClose || kind == msgLost
	conn.last = seq
	conn.told = conn.told || isEnd
	if len(conn.in) == 0 && (!ofClient || skipped) && !isEnd {
		defer conn.ch.Consume(seq)
	} else {
		conn.in = append(conn.in, inMessage{seq, ofClient && !skipped, isEnd})
	}
	s, done := conn.s, conn.done
	conn.mu.Unlock()
	if skipped {
		return
	}
	if done && kind == msgClose {
		conn.Close(parseClose(content)) // the answer of the last home may be lost
	}
	switch kind {
	case msgText:
		s.Deliver(edgews.Text, content)
	case msgBinary:
		s.Deliver(edgews.Binary, content)
	case msgClose:
		s.Closed(parseClose(content))
	case msgLost:
		var err error
		if len(content) > 0 {
			err = &remoteError{text: string(content)}
		}
		s.Lost(err)
	case msgPing:
		s.Pong(number(content, 0))
	case msgCounted:
		s.Published(int(number(content, 0)), int(number(content, 1)))
	case msgAnswered:
		s.AutoResponded(int(number(content, 0)), time.Unix(0, int64(number(content, 1))))
	}
}

// Ended implements link.Receiver: the connection of the client has ended.
func (conn *homeConn) Ended([]byte) {
	conn.mu.Lock()
	conn.ended = true
	live, s, isTold := conn.live, conn.s, conn.told
	conn.mu.Unlock()
	if !live {
		return
	}
	if !isTold {
		s.Lost(nil)
	}
	_ = conn.ch.End(nil)
	s.AfterClose(conn.consumeAll)
}

// consumeAll ends the channel, after the close event of the socket: what nobody has handled would keep it. If the object is moving, the event
// may not have been delivered; then the next home gets it.
func (conn *homeConn) consumeAll() {
	conn.c.mu.Lock()
	h := conn.c.homes[conn.head.Shard]
	moving := h == nil || h.leaving
	conn.c.mu.Unlock()
	if moving {
		return
	}
	conn.forget()
	conn.mu.Lock()
	conn.in = nil
	last := conn.last
	conn.mu.Unlock()
	conn.ch.Consume(last)
}

// Closed implements link.Receiver: the channel is over. Without an error the socket has ended before.
func (conn *homeConn) Closed(err error) {
	conn.goneOnce.Do(func() { close(conn.gone) })
	conn.mu.Lock()
	conn.over = true
	if err != nil {
		conn.closed = err
	}
	live, s := conn.live, conn.s
	conn.mu.Unlock()
	switch {
	case !live:
	case err != nil:
		conn.lose(err)
	default:
		s.Forgotten()
	}
}

// lose ends the socket: the edge is dead, or has sent the socket on to another node.
func (conn *homeConn) lose(err error) {
	conn.forget()
	select {
	case <-conn.c.done: // this node is going; the edges send their sockets on
		return
	default:
	}
	if reset, ok := errors.AsType[*link.ResetError](err); ok && reset.Code == codeNotHome { // another node is the home
		return
	}
	conn.s.Lost(nil)
	conn.s.Forgotten()
}

// Writable implements link.Receiver.
func (conn *homeConn) Writable() { conn.pump() }

// pump gives the link what has waited for room.
func (conn *homeConn) pump() {
	conn.mu.Lock()
	pieces, payload := 0, 0
	for len(conn.out) > 0 {
		_, err := conn.out[0].sendTo(conn.ch)
		if err == link.ErrWindowFull {
			break
		}
		if err != nil && conn.out[0].m[0] == msgMoved {
			conn.moveFailedLocked()
		}
		pieces += conn.out[0].pieces
		payload += conn.out[0].payload
		conn.out[0] = outMessage{}
		conn.out = conn.out[1:]
	}
	s := conn.s
	conn.mu.Unlock()
	if pieces > 0 && s != nil {
		s.Acknowledge(pieces, payload)
	}
}

// sendLocked gives m to the link, or keeps it until there is room. It reports whether the link has it. mu must be held.
func (conn *homeConn) sendLocked(m outMessage) (sent bool) {
	if conn.over {
		return false
	}
	if len(conn.out) == 0 {
		if _, err := m.sendTo(conn.ch); err != link.ErrWindowFull {
			return true // also if the channel is over: nothing waits
		}
	}
	conn.out = append(conn.out, m)
	return false
}

// send is sendLocked for messages that are not the program's.
func (conn *homeConn) send(m []byte) {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	conn.sendLocked(outMessage{m: m})
}

// Send implements edgews.ClusterConn. A large message is sent in parts, so that it does not hold up other sockets of the link.
func (conn *homeConn) Send(kind edgews.Kind, first, last bool, data []byte, prepared *edgews.Prepared) (sent bool) {
	shared := &conn.c.shared[conn.head.Shard%sharedGroups]
	conn.mu.Lock()
	defer conn.mu.Unlock()
	if prepared != nil {
		parts := shared.partsOf(prepared, kind, data)
		for _, part := range parts.list[:len(parts.list)-1] {
			conn.sendLocked(outMessage{m: part, of: parts})
		}
		return conn.sendLocked(outMessage{m: parts.list[len(parts.list)-1], of: parts, pieces: 1, payload: len(data)})
	}
	if first && last {
		if m, isRepeated := shared.repeated(kindByte(kind), data); m != nil {
			out := outMessage{m: m, pieces: 1, payload: len(data)}
			if isRepeated {
				out.of = oneOfMany
			}
			return conn.sendLocked(out)
		}
	}
	rest := data
	for len(rest) > maxPart {
		conn.sendLocked(outMessage{m: bytesMessage(partByte(kind), rest[:maxPart])})
		rest = rest[maxPart:]
	}
	b := kindByte(kind)
	if !last {
		b = partByte(kind)
	}
	return conn.sendLocked(outMessage{m: bytesMessage(b, rest), pieces: 1, payload: len(data)})
}

// maxPart is how much of a message to a client is sent in one message of the link, in bytes.
const maxPart = 32 << 10

func kindByte(kind edgews.Kind) byte {
	if kind == edgews.Text {
		return msgText
	}
	return msgBinary
}

func partByte(kind edgews.Kind) byte {
	if kind == edgews.Text {
		return msgTextPart
	}
	return msgBinaryPart
}

// Close implements edgews.ClusterConn.
func (conn *homeConn) Close(code edgews.StatusCode, reason string) {
	conn.send(closeMessage(code, reason))
}

// Ping implements edgews.ClusterConn.
func (conn *homeConn) Ping(id uint64) { conn.send(numberMessage(msgPing, id)) }

// Subscribe implements edgews.ClusterConn. What waits is bounded: of one topic nothing waits, or the last change.
func (conn *homeConn) Subscribe(topic string, subscribed bool) {
	m, opposite := bytesMessage(msgUnsubscribe, []byte(topic)), byte(msgSubscribe)
	if subscribed {
		m[0], opposite = msgSubscribe, msgUnsubscribe
	}
	conn.mu.Lock()
	defer conn.mu.Unlock()
	for i := range conn.out {
		if waiting := conn.out[i].m; waiting[0] == opposite && string(waiting[1:]) == topic { // the edge need not know of either
			conn.out = slices.Delete(conn.out, i, i+1)
			return
		}
	}
	conn.sendLocked(outMessage{m: m})
}

// Position implements edgews.ClusterConn.
func (conn *homeConn) Position(p edgews.ClusterPosition) { conn.send(message(msgPosition, p)) }

// Describe implements edgews.ClusterConn.
func (conn *homeConn) Describe(kept edgews.ClusterKept) { conn.sendLatest(message(msgKept, kept)) }

// AutoRespond implements edgews.ClusterConn.
func (conn *homeConn) AutoRespond(pairs []edgews.AutoResponse) {
	conn.sendLatest(message(msgAuto, pairs))
}

// sendLatest is send for a message that replaces an earlier one of its kind which still waits: what waits is bounded.
func (conn *homeConn) sendLatest(m []byte) {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	for i := range conn.out {
		if conn.out[i].m[0] == m[0] {
			conn.out[i].m = m
			return
		}
	}
	conn.sendLocked(outMessage{m: m})
}

// Cut implements edgews.ClusterConn.
func (conn *homeConn) Cut() { conn.send([]byte{msgCut}) }

// Handled implements edgews.ClusterConn.
func (conn *homeConn) Handled(messages int) {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	last := uint64(0)
	for len(conn.in) > 0 && (messages > 0 || !conn.in[0].ofClient) && !conn.in[0].isEnd {
		if conn.in[0].ofClient {
			messages--
		}
		last = conn.in[0].seq
		conn.in = conn.in[1:]
	}
	if last != 0 {
		conn.ch.Consume(last)
	}
}

// Addrs implements edgews.ClusterConn.
func (conn *homeConn) Addrs() (local, remote net.Addr) {
	return textAddr(conn.head.LocalAddr), textAddr(conn.head.RemoteAddr)
}
