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

	mu         sync.Mutex // guards what follows, and the fields of the channels that do not say otherwise
	core       *core
	session    string      // what the two ends call it
	used       bool        // the session has had a connection
	conn       *connection // the present one, or nil
	detachedAt int64       // when the last connection ended; as core.now
	expiring   bool        // a goroutine will end the link if there is no connection in time
	writerIdle bool        // the writer waits for wake
	later      bool        // a goroutine will deliver the events
	over       error       // set when the link is over
	traffic    traffic
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
	l.traffic.since, l.traffic.pinged = time.Now(), 0
	l.traffic.connections++
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
		l.detachedAt, l.traffic.since = l.manager.now(), time.Now()
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
