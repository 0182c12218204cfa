package cluster

import (
	"net"
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
	head homeHead
	// announced is how the edge has announced the socket, until the object has it; nil: the object has opened it on this node.
	announced *socketHead

	mu     sync.Mutex
	s      *edgews.ClusterSocket // nil until Bind
	early  []earlyMessage        // what has arrived before live
	out    []outMessage          // what the link has had no room for
	in     []inMessage           // what has arrived and is not consumed
	skip   uint64                // how many messages of the client have been handled by an earlier home
	live   bool                  // what arrives is delivered at once
	ended  bool                  // nothing more arrives
	closed error                 // why the channel has failed; nil: it has not
	over   bool                  // nothing is sent any more
	told   bool                  // the socket knows how the connection has ended
	accept *acceptHead           // the answer to the opening handshake, which waits for what survives the home; nil: it is sent, or not this node's to send
	last   uint64                // the sequence of the last message that has arrived

	isGone bool          // the channel is over
	gone   chan struct{} // closed then; nil: no goroutine waits for that
}

// homeHead is what a home keeps of a socket.
type homeHead struct {
	Shard                 Shard
	Epoch                 uint64 // with which it was announced; 0: it was not
	Handled               uint64 // as socketHead.Handled
	ConnKey               string
	RemoteAddr, LocalAddr string
}

func newHomeConn(c *Cluster, ch *link.Channel, head *socketHead) *homeConn {
	return &homeConn{c: c, ch: ch, head: homeHead{
		Shard: head.Shard, Epoch: head.Epoch, Handled: head.Handled, ConnKey: head.ConnKey, RemoteAddr: head.RemoteAddr, LocalAddr: head.LocalAddr,
	}}
}

// goneLocked says that the channel is over. mu must be held.
func (conn *homeConn) goneLocked() {
	if !conn.isGone && conn.gone != nil {
		close(conn.gone)
	}
	conn.isGone = true
}

// whenGone returns a channel that is closed when the channel to the edge is over.
func (conn *homeConn) whenGone() <-chan struct{} {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	if conn.gone == nil {
		conn.gone = make(chan struct{})
		if conn.isGone {
			close(conn.gone)
		}
	}
	return conn.gone
}

// acceptSocket takes a socket that an edge announces to this node, the new home of its object.
func (c *Cluster) acceptSocket(ch *link.Channel, head *socketHead) link.Receiver {
	conn := newHomeConn(c, ch, head)
	conn.announced = head
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.homes[head.Shard]
	switch {
	case h == nil || h.Epoch < head.Epoch:
		conn.waitForShardLocked()
	case h.Epoch > head.Epoch || h.leaving:
		ch.Reset(codeNotHome, nil)
		return nil
	case h.restored:
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
	h := conn.announced
	var at time.Time
	if h.AutoRespondedAt != 0 {
		at = time.Unix(0, h.AutoRespondedAt)
	}
	return edgews.ClusterRestored{
		Conn: conn, Kept: h.Kept, Options: h.Options.options(), Host: h.Host, Path: h.Path, Protocol: h.Protocol, Extensions: h.Extensions,
		Handled: h.Handled, Positions: h.Positions, Topics: h.Topics, AutoResponses: h.AutoResponses, AutoRespondedAt: at,
	}
}

// begin delivers what has arrived, after Restore: handled messages of the client have been handled.
func (conn *homeConn) begin(handled uint64) {
	conn.register()
	conn.mu.Lock()
	conn.skip = handled - conn.head.Handled
	conn.announced = nil
	conn.mu.Unlock()
	conn.goLive()
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
	if conn.over {
		conn.mu.Unlock()
		return
	}
	conn.over = true
	if conn.accept != nil { // the edge has no socket yet, and asks the next home
		conn.accept = nil
		conn.moveFailedLocked()
	} else {
		conn.out = append(conn.out, outMessage{m: []byte{msgMoved}})
	}
	conn.mu.Unlock()
	conn.pump()
}

// moveFailedLocked sends the socket on without the message that it moves: the channel takes none any more. mu must be held.
func (conn *homeConn) moveFailedLocked() {
	conn.ch.Reset(codeNotHome, nil)
	conn.goneLocked() // Closed may not be called
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

// Addrs implements edgews.ClusterConn.
func (conn *homeConn) Addrs() (local, remote net.Addr) {
	return textAddr(conn.head.LocalAddr), textAddr(conn.head.RemoteAddr)
}
