package cluster

import (
	"bytes"
	"errors"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster/internal/link"
)

// earlyMessage is a message of a channel whose receiver handles it later.
type earlyMessage struct {
	seq uint64
	p   []byte
}

// inMessage is a message that has arrived. One that is not of the client is consumed with those before it.
type inMessage struct {
	seq      uint64
	ofClient bool
	isEnd    bool // how the connection has ended: consumed when the object has been told, so that the next home is told otherwise
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
	s := conn.s
	conn.mu.Unlock()
	if skipped {
		return
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

// consumeAll ends the channel, after the close event of the socket: what has not been handled would keep it. If the object is moving, the event
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
	conn.mu.Lock()
	conn.goneLocked()
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
