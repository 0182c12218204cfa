package link

import (
	"errors"
	"net"
	"sync"
	"time"
)

// peerLink is one end of a session with a peer: it outlives the connections over which it runs.
type peerLink struct {
	manager *Manager
	peer    Peer
	dialer  bool

	// turn holds one token while methods of receivers run, so that they run one at a time and in order, whichever goroutine calls them.
	// It is taken before mu.
	turn chan struct{}
	// done is closed when the link is over.
	done chan struct{}

	mu         sync.Mutex
	core       *core
	session    string      // what the two ends call it
	used       bool        // the session has had a connection
	conn       *connection // the present one, or nil
	detachedAt int64       // when the last connection ended; as core.now
	expiring   bool        // a goroutine will end the link if there is no connection in time
	writerIdle bool        // the writer waits for wake
	later      bool        // a goroutine will deliver the events
	over       error       // set when the link is over
}

// connection is a network connection of a link after its handshake.
type connection struct {
	net.Conn          // frames, through TLS if there is TLS
	raw      net.Conn // what is closed: to close TLS may block, because it writes
	decoder  *decoder
	version  uint8
	peer     limits
	lastRead int64         // guarded by peerLink.mu; as core.now
	wake     chan struct{} // has a token when the writer is to look for frames to send
	done     chan struct{}
}

const (
	// writeSize is how many bytes of frames a writer sends at once.
	writeSize = 64 << 10
	// batchFrames is how many frames a reader takes in before it calls the receivers.
	batchFrames = 512
	// writeTimeout is how long one write may take: the peer does not read, though it sends.
	writeTimeout = 30 * time.Second
	// missedHeartbeats is after how many intervals without a byte from the peer a connection is given up.
	missedHeartbeats = 3
)

// errSuperseded is the end of a connection in whose place there is another one.
var errSuperseded = errors.New("edgews: link: the peer has connected again")

func newLink(m *Manager, peer Peer, dialer bool, session string) *peerLink {
	return &peerLink{
		manager: m, peer: peer, dialer: dialer, session: session,
		turn: make(chan struct{}, 1), done: make(chan struct{}),
		core: newCore(dialer, m.limits(), int64(m.options.AckTimeout)),
	}
}

// wakeLocked makes the writer look for frames to send, if there are any and it is waiting.
func (l *peerLink) wakeLocked() {
	if l.writerIdle && !l.core.idle() {
		l.writerIdle = false
		l.conn.wake <- struct{}{} // has room: the writer has taken the last token before it went idle
	}
}

// serve runs the link over a connection until it breaks, and returns why.
func (l *peerLink) serve(c *connection) error {
	if err := l.attach(c); err != nil {
		return err
	}
	writerDone := make(chan struct{})
	go func() {
		defer close(writerDone)
		l.write(c)
	}()
	err := l.read(c)
	c.raw.Close()
	close(c.done)
	<-writerDone
	l.detach(c)
	return err
}

// attach makes c the connection of the link. An older one is closed: the peer has given it up, or has not noticed yet that it is dead.
func (l *peerLink) attach(c *connection) error {
	l.turn <- struct{}{}
	l.mu.Lock()
	if l.over != nil {
		err := l.over
		l.mu.Unlock()
		<-l.turn
		return err
	}
	old := l.conn
	l.conn, l.used, l.writerIdle = c, true, false
	l.core.now = l.manager.now()
	c.lastRead = l.core.now
	l.core.connected(c.peer, c.version)
	l.mu.Unlock()
	if old != nil {
		old.raw.Close()
	}
	l.deliver()
	<-l.turn
	return nil
}

// detach says that the connection has ended.
func (l *peerLink) detach(c *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == c {
		l.conn, l.writerIdle = nil, false
		l.detachedAt = l.manager.now()
	}
}

// read takes in what the peer sends until the connection breaks.
func (l *peerLink) read(c *connection) error {
	patience := missedHeartbeats * l.manager.options.HeartbeatEvery
	for {
		if err := l.takeIn(c); err != nil {
			return err
		}
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		n, err := c.Read(c.decoder.space())
		if err != nil {
			return err
		}
		c.decoder.advance(n)
	}
}

// takeIn decodes the frames that have arrived and calls the receivers.
func (l *peerLink) takeIn(c *connection) error {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	for {
		more, err := l.takeInBatch(c)
		l.deliver()
		if err != nil || !more {
			return err
		}
	}
}

// takeInBatch decodes a batch of frames; more says that others may follow.
func (l *peerLink) takeInBatch(c *connection) (more bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != c {
		return false, errSuperseded
	}
	l.core.now = l.manager.now()
	c.lastRead = l.core.now
	var f frame
	for range batchFrames {
		if more, err = c.decoder.next(&f); err != nil || !more {
			return false, err
		}
		if err = l.core.receive(&f); err != nil {
			return false, err
		}
	}
	return true, nil
}

// deliver calls the receivers for the events that are due. The caller has the turn.
func (l *peerLink) deliver() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.core.grantCredit(); len(l.core.events) > 0; l.core.grantCredit() {
		events := l.core.events
		l.core.events = nil
		l.mu.Unlock()
		for i := range events {
			l.call(&events[i])
		}
		l.mu.Lock()
		for i := range events {
			if events[i].consumed {
				l.core.consume(events[i].ch, events[i].seq)
			}
		}
		if l.core.events == nil && cap(events) <= batchFrames {
			clear(events)
			l.core.events = events[:0]
		}
	}
	l.wakeLocked()
}

// call calls a receiver.
func (l *peerLink) call(e *event) {
	ch := e.ch
	if e.kind == eventOpen {
		ch.link = l
		ch.receiver = l.manager.options.Accept(l.peer, ch, e.payload)
		if ch.receiver == nil {
			l.mu.Lock()
			l.core.reset(ch, CodeRefused, nil)
			l.mu.Unlock()
		}
		return
	}
	if ch.receiver == nil || ch.silent.Load() {
		return
	}
	switch e.kind {
	case eventMessage:
		e.consumed = ch.receiver.Message(e.seq, e.payload)
	case eventEnded:
		ch.receiver.Ended(e.payload)
	case eventWritable:
		ch.receiver.Writable()
	case eventClosed:
		ch.receiver.Closed(e.err)
		ch.receiver = nil
	}
}

// deliverLaterLocked has the events delivered by another goroutine, if there are any: the caller is a goroutine of the program, which may
// hold locks that receivers take.
func (l *peerLink) deliverLaterLocked() {
	l.core.grantCredit()
	if len(l.core.events) == 0 || l.later {
		return
	}
	l.later = true
	l.manager.tasks.Go(func() {
		l.turn <- struct{}{}
		l.mu.Lock()
		l.later = false
		l.mu.Unlock()
		l.deliver()
		<-l.turn
	})
}

// write sends what there is to send until the connection breaks. All that has been queued while it wrote leaves with the next write.
func (l *peerLink) write(c *connection) {
	defer c.raw.Close()
	every := int64(l.manager.options.HeartbeatEvery)
	nextPing := l.manager.now() + every
	armed := nextPing
	timer := time.NewTimer(time.Duration(every))
	defer timer.Stop()
	buf := make([]byte, 0, writeSize+quantum)
	for {
		l.mu.Lock()
		if l.conn != c {
			l.mu.Unlock()
			return
		}
		now := l.manager.now()
		l.core.now = now
		l.core.tick()
		if now >= nextPing {
			nextPing = now + every
			if l.core.ping = c.lastRead <= now-every; l.core.ping {
				l.core.dropSpare()
			}
		}
		buf = l.core.pull(buf[:0], writeSize)
		l.deliverLaterLocked()
		l.writerIdle = len(buf) == 0
		next := nextPing
		if first := l.core.waitHead; first != nil {
			next = min(next, first.askAt)
		}
		l.mu.Unlock()

		if len(buf) > 0 {
			if c.SetWriteDeadline(time.Now().Add(writeTimeout)) != nil {
				return
			}
			if _, err := c.Write(buf); err != nil {
				return
			}
			if cap(buf) > 2*writeSize { // there was a large message
				buf = make([]byte, 0, writeSize+quantum)
			}
			continue
		}
		if next < armed || armed <= now {
			armed = next
			timer.Reset(time.Duration(next - now))
		}
		select {
		case <-c.wake:
		case <-timer.C:
			armed = 0
			l.stopIdling(c)
		case <-c.done:
			return
		}
	}
}

// stopIdling says that the writer looks for frames to send without having been woken.
func (l *peerLink) stopIdling(c *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == c {
		l.writerIdle = false
	}
	select {
	case <-c.wake:
	default:
	}
}

// drop ends the link and all its channels with err.
func (l *peerLink) drop(err error) {
	l.turn <- struct{}{}
	l.mu.Lock()
	if l.over == nil {
		l.over = err
		close(l.done)
	}
	l.core.failAll(err)
	c := l.conn
	l.conn, l.writerIdle = nil, false
	l.mu.Unlock()
	if c != nil {
		c.raw.Close()
	}
	l.deliver()
	<-l.turn
}

// renew fails all channels with err and begins a session of its own, of which the peer knows nothing yet.
func (l *peerLink) renew(err error) {
	l.turn <- struct{}{}
	l.mu.Lock()
	l.core.failAll(err)
	events := l.core.events
	l.core = newCore(l.dialer, l.manager.limits(), int64(l.manager.options.AckTimeout))
	l.core.events = events
	l.session, l.used = newSession(), false
	l.mu.Unlock()
	l.deliver()
	<-l.turn
}
