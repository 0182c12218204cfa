package edgews

import (
	"context"
	"sync"
	"time"

	"github.com/edgews/edgews/internal/buf"
)

// ClusterSocket is a socket on an object's home whose connection is at an edge: the link of the Socket, and what a Cluster tells it. Its
// methods may be called from any goroutine. After the end of the socket they do nothing.
type ClusterSocket struct {
	inboxDelivery
	conn ClusterConn

	// Guarded by self's mu.
	payload  int    // bytes that were sent and that the edge has not acknowledged
	size     int    // the same messages, in the bytes that they count against SendBuffer
	arrived  uint64 // whole messages that Deliver has put into the inbox, and before the socket existed on this node
	handled  uint64 // of those, the ones of which the edge was told that they have been handled
	taken    uint64 // the number of the message that was taken last; the first message of the connection has 1
	handling bool   // an object has that message, and its handler has not returned
	cut      bool   // the edge gets nothing more: it knows that the socket has ended, or the object has moved
	moved    bool   // an event of the socket has not run, because the object has moved: the next home gets it
	marked   bool   // the object's storage has a mark of the socket

	ending     bool    // an object has the last event of the socket
	finishedIn *object // the object that has had it; nil: none has. Nothing is delivered any more
	forgotten  bool    // the edge does not announce the connection to another home

	closeTimer *time.Timer // bounds the wait for the client's Close; nil: this side has not sent Close first

	feeds []ClusterFeed // that the socket has joined; replaced when they change. Guarded by self's mu

	key string // identifies the connection in the cluster; immutable
}

// newClusterSocket returns a socket whose connection is at an edge, not accepted yet. The caller sets its conn.
func newClusterSocket(opts *Options, about identity) *Socket {
	together := new(struct { // one allocation: none of the three outlives the others
		s  Socket
		c  ClusterSocket
		mu sync.Mutex
	})
	s := &together.s
	s.mu, s.id, s.opts = &together.mu, newSocketID(), opts
	s.socketExtra = &socketExtra{in: new(inbox)}
	s.describeLocked(about)
	together.c.self = s
	s.link = &together.c
	return s
}

// clusterSocketOf returns the ClusterSocket of s, or nil if its connection is on this node.
func clusterSocketOf(s *Socket) *ClusterSocket {
	c, _ := s.link.(*ClusterSocket)
	return c
}

// Deliver gives the socket the next message of the client. data is copied.
func (c *ClusterSocket) Deliver(kind Kind, data []byte) {
	s := c.self
	s.mu.Lock()
	defer s.tellAndUnlock()
	if c.finishedIn != nil || s.phase >= phaseFinishing || s.hasEndedLocked() || s.in.closing != nil {
		return
	}
	s.noteMessageLocked()
	c.arrived++
	s.in.push(item{kind: kind, first: true, last: true, wireSize: wireSize(len(data)), buf: buf.Copy(data)})
	s.queueObjectEventLocked()
	c.runLocked()
}

// Closed gives the socket the client's Close, behind the messages before it. code 0 stands for an empty one.
func (c *ClusterSocket) Closed(code StatusCode, reason string) {
	s := c.self
	s.mu.Lock()
	defer s.tellAndUnlock()
	if c.finishedIn != nil || s.phase >= phaseFinishing || s.in.closing != nil {
		return
	}
	s.in.closing = &closeFrame{code, reason}
	c.runLocked()
}

// Lost ends the socket with 1006: the edge has lost the connection because of err, which may be nil, or the edge is lost itself.
func (c *ClusterSocket) Lost(err error) {
	s := c.self
	s.mu.Lock()
	defer s.tellAndUnlock()
	c.cut = true
	if c.finishedIn == nil {
		s.loseLocked(err)
	}
}

// AfterClose has fn called once, by a goroutine of its own, when the close event of the socket has been handled. For a socket that does not
// survive its home, because no object has accepted it, that is at once. If the object moves before, fn is not called: the next home gets the event.
func (c *ClusterSocket) AfterClose(fn func()) {
	c.self.mu.Lock()
	survives := c.self.consumer == toObject
	c.self.mu.Unlock()
	if !survives {
		go fn()
		return
	}
	context.AfterFunc(c.self.Context(), func() {
		c.self.mu.Lock()
		moved := c.moved
		c.self.mu.Unlock()
		if !moved {
			fn()
		}
	})
}

// Acknowledge says that the edge has taken messages, or pieces of them, with so many bytes of payload in all: they do not count in
// BufferedAmount any more.
func (c *ClusterSocket) Acknowledge(pieces, payload int) {
	s := c.self
	s.mu.Lock()
	defer s.tellAndUnlock()
	c.payload = max(c.payload-payload, 0)
	c.size = max(c.size-payload-pieces*itemCost, 0)
	s.fellLocked(payload)
	s.releaseDueLocked()
	s.notifyRoomLocked()
}

// Pong says that the client has answered the ping with that id.
func (c *ClusterSocket) Pong(id uint64) {
	c.self.mu.Lock()
	defer c.self.tellAndUnlock()
	c.self.pongLocked(id)
}

func (c *ClusterSocket) send(out outgoing) error {
	s := c.self
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.admitLocked(&out); err != nil {
		return sendResult(err)
	}
	s.sendAdmittedLocked(&out, out.data, false)
	return nil
}

// queueLocked gives p to the edge. mu must be held.
func (c *ClusterSocket) queueLocked(p outgoingPiece) {
	if p.prepared != nil && p.prepared.position != nil && p.last && !c.cut {
		c.conn.Position(*p.prepared.position)
	}
	if c.cut || !c.conn.Send(p.kind, p.first, p.last, p.body, p.prepared) {
		c.payload += p.payload
		c.size += cost(p.payload)
	}
}

// closeLocked has the edge close the connection. The edge has CloseTimeout to say how that has ended, and as long again for what waits before
// the Close. mu must be held.
func (c *ClusterSocket) closeLocked(f closeFrame) {
	if !c.cut {
		c.conn.Close(f.code, f.reason)
	}
	if !c.self.hasEndedLocked() {
		c.closeTimer = time.AfterFunc(2*c.self.opts.CloseTimeout, c.answerTimeUp)
	}
}

// answerTimeUp ends the socket with 1006: the edge has not said how the connection has ended.
func (c *ClusterSocket) answerTimeUp() {
	c.self.mu.Lock()
	defer c.self.tellAndUnlock()
	c.self.noteSilentLocked()
	c.self.loseLocked(nil)
}

func (c *ClusterSocket) pingLocked(id uint64) {
	if !c.cut {
		c.conn.Ping(id)
	}
}

// endedLocked has the last events delivered, and tells the edge of a failure. mu must be held.
func (c *ClusterSocket) endedLocked() {
	if c.closeTimer != nil {
		c.closeTimer.Stop()
	}
	if c.self.is(lost) && !c.cut {
		c.cut = true
		c.conn.Cut()
	}
	c.runLocked()
}

// startLocked tells the edge what it has to keep, and delivers what has arrived. mu must be held.
func (c *ClusterSocket) startLocked() {
	if c.self.consumer == toObject {
		c.describeLocked()
	} else if !c.cut {
		c.conn.Describe(ClusterKept{AttachmentForm: noAttachmentForm})
	}
	c.runLocked()
}

// runLocked has the events of the socket delivered: by its object, or by a goroutine. mu must be held.
func (c *ClusterSocket) runLocked() {
	s := c.self
	if !s.isAcceptedLocked() {
		return
	}
	if p := s.pinnedSocketLocked(); p != nil {
		p.queueIfDueLocked()
	}
	c.deliverLocked()
}

// AutoResponded says that the edge has sent an auto-response of so many bytes, which are not counted, at the time at.
func (c *ClusterSocket) AutoResponded(_ int, at time.Time) {
	s := c.self
	s.mu.Lock()
	defer s.tellAndUnlock()
	if s.objectSocket == nil {
		return
	}
	s.counter.countSentLocked(&outgoing{first: true, last: true, countAs: countAsAutoResponse})
	s.objectSocket.lastAutoResponse = at.UnixNano()
}

// Published says that the edge has sent so many messages that were published to topics, with so many bytes in all, which are counted as messages
// of the object.
func (c *ClusterSocket) Published(messages, bytes int) {
	s := c.self
	s.mu.Lock()
	defer s.tellAndUnlock()
	if s.objectSocket == nil || messages <= 0 || messages > maxPublishedAtOnce || bytes < 0 {
		return
	}
	each := bytes / messages // units of messages are counted as if all were as long
	for range messages - 1 {
		s.counter.countWholeSentLocked(each)
	}
	s.counter.countWholeSentLocked(bytes - (messages-1)*each)
}

// maxPublishedAtOnce bounds what Published counts. An edge tells once a second: numbers that another node gets wrong must not hold the socket up.
const maxPublishedAtOnce = 1 << 24

// describeLocked tells the edge what it has to keep for the next home. mu must be held.
func (c *ClusterSocket) describeLocked() {
	if c.cut || c.self.consumer != toObject {
		return
	}
	kept := ClusterKept{Accepted: true, Tags: c.self.objectSocket.tagsOf(), AttachmentForm: noAttachmentForm, Feeds: c.feeds}
	if a := c.self.attached; a != nil {
		kept.Attachment, kept.AttachmentForm = a.data, uint8(a.form)
	}
	c.conn.Describe(kept)
	c.autoRespondLocked()
}

// autoRespondLocked tells the edge what it has to answer by itself. mu must be held.
func (c *ClusterSocket) autoRespondLocked() {
	if c.cut || c.self.consumer != toObject {
		return
	}
	var pairs []AutoResponse
	if set := c.self.objectSocket.o.autoResponses.Load(); set != nil {
		pairs = set.pairs
	}
	c.conn.AutoRespond(pairs)
}

func (c *ClusterSocket) takenLocked(it *item) {
	if it.taken {
		return
	}
	it.taken = true
	c.self.countTakenLocked(it)
	c.taken = c.arrived - uint64(c.self.in.queue.Len()) + 1
	c.handling = c.self.consumer == toObject
}

// resumeReadingLocked tells the edge which messages have been handled, and goes on. mu must be held.
func (c *ClusterSocket) resumeReadingLocked() {
	c.tellHandledLocked()
	c.runLocked()
}

// tellHandledLocked tells the edge which messages have been handled: by an object, those whose handler has returned; otherwise those that have
// been taken, since such a socket ends with its home. mu must be held.
func (c *ClusterSocket) tellHandledLocked() {
	waiting := uint64(c.self.in.queue.Len())
	if c.handling {
		waiting++
	}
	if done := c.arrived - min(waiting, c.arrived); done > c.handled {
		n := done - c.handled
		c.handled = done
		if !c.cut {
			c.conn.Handled(int(n))
		}
	}
}

func (c *ClusterSocket) bufferedLocked() (payload, size int) { return c.payload, c.size }

// transmit does nothing: what was sent is in the queue of conn.
func (c *ClusterSocket) transmit() {}

func (c *ClusterSocket) frameSize(_, payload int) int { return payload }

func (c *ClusterSocket) addrs() addrs {
	var a addrs
	a.local, a.remote = c.conn.Addrs()
	return a.orUnknown()
}

func (c *ClusterSocket) isParkedLocked() bool { return !c.self.is(delivering) && c.size == 0 }
