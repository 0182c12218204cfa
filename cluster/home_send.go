package cluster

import (
	"slices"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster/internal/link"
)

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
	if conn.accept != nil {
		conn.answerLocked(nil)
	}
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

// answerLocked has the edge upgrade the connection. kept is what survives this home, as far as that is known. mu must be held.
func (conn *homeConn) answerLocked(kept []byte) {
	head := conn.accept
	conn.accept = nil
	head.Kept = kept
	conn.sendLocked(outMessage{m: message(msgAccept, head)})
}

// answer has the edge upgrade the connection, if it has not been told: the handler has returned.
func (conn *homeConn) answer() {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	if conn.accept != nil {
		conn.answerLocked(nil)
	}
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
func (conn *homeConn) Position(p edgews.ClusterPosition) {
	m := conn.c.shared[conn.head.Shard%sharedGroups].positionOf(p)
	conn.mu.Lock()
	defer conn.mu.Unlock()
	conn.sendLocked(outMessage{m: m, of: oneOfMany})
}

// Describe implements edgews.ClusterConn. The first description goes with the answer to the opening handshake: an edge that has one without the
// other would have to end the socket if this node died.
func (conn *homeConn) Describe(kept edgews.ClusterKept) {
	m := message(msgKept, kept)
	conn.mu.Lock()
	defer conn.mu.Unlock()
	if conn.accept != nil {
		conn.answerLocked(m[1:])
		return
	}
	conn.sendLatestLocked(m)
}

// AutoRespond implements edgews.ClusterConn.
func (conn *homeConn) AutoRespond(pairs []edgews.AutoResponse) {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	conn.sendLatestLocked(message(msgAuto, pairs))
}

// sendLatestLocked is for a message that replaces an earlier one of its kind which still waits: what waits is bounded. mu must be held.
func (conn *homeConn) sendLatestLocked(m []byte) {
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
