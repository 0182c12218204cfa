package link

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"
)

// Manager has the links of one node. Its methods are safe for concurrent use.
type Manager struct {
	options  Options
	security *security
	start    time.Time
	ctx      context.Context
	cancel   context.CancelFunc
	tasks    sync.WaitGroup

	mu        sync.Mutex // that of a peerLink may be locked under it, and not the other way round
	closed    bool
	outgoing  map[peerKey]*peerLink // dialled from here
	incoming  map[peerKey]*peerLink
	reach     map[peerKey]*reach
	listeners map[net.Listener]bool
	unproved  int // connections in their handshake that a peer has begun
	events    []Event
	reporting bool
}

// maxUnproved is how many accepted connections may be in their handshake at once. More are closed.
const maxUnproved = 256

// New returns a Manager without links.
func New(o Options) (*Manager, error) {
	if err := o.resolve(); err != nil {
		return nil, err
	}
	s, err := newSecurity(&o)
	if err != nil {
		return nil, err
	}
	m := &Manager{
		options: o, security: s, start: time.Now(),
		outgoing: make(map[peerKey]*peerLink), incoming: make(map[peerKey]*peerLink), reach: make(map[peerKey]*reach),
		listeners: make(map[net.Listener]bool),
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m, nil
}

// now returns the time of the monotonic clock, in nanoseconds.
func (m *Manager) now() int64 { return int64(time.Since(m.start)) }

func (m *Manager) limits() limits { return m.options.limits() }

// Connect keeps a link to the peer: it connects, and again whenever the connection is lost, until Remove or Close. For one incarnation the
// address of the first call counts.
func (m *Manager) Connect(p Peer) error {
	_, err := m.link(p)
	return err
}

// Open opens a channel to the peer, over the link to it, which it makes if there is none. It does not wait for a connection. The peer's
// Accept gets greeting, of at most 64 KiB, which is copied. first is the sequence of the first message: a channel that takes over from
// another one goes on with its sequences. 0 means 1. It returns ErrTooManyChannels and ErrWindowFull when a channel must end, or greetings
// be acknowledged, before another one is opened.
func (m *Manager) Open(p Peer, greeting []byte, first uint64, r Receiver) (*Channel, error) {
	if r == nil {
		return nil, errors.New("edgews: link: Open without a Receiver")
	}
	l, err := m.link(p)
	if err != nil {
		return nil, err
	}
	if first == 0 {
		first = 1
	}
	ch := &Channel{link: l, receiver: r}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over != nil {
		return nil, l.over
	}
	if err := l.core.open(ch, greeting, first); err != nil {
		return nil, err
	}
	l.wakeLocked()
	return ch, nil
}

// link returns the link to the peer.
func (m *Manager) link(p Peer) (*peerLink, error) {
	if p.ID == "" || p.Incarnation == 0 {
		return nil, errors.New("edgews: link: a peer without an ID or an incarnation")
	}
	if err := m.security.checkAddr(p.Addr); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	l := m.outgoing[p.key()]
	if l == nil {
		l = newLink(m, p, true, newSession())
		m.outgoing[p.key()] = l
		m.tasks.Go(func() { m.keep(l) })
	}
	return l, nil
}

// Remove ends the links with this incarnation of the member: the cluster counts it dead. Its channels fail with ErrRemoved, soon after.
// If it is alive and connects again, it is a new peer; Options.Admit can keep it out.
func (m *Manager) Remove(id string, incarnation uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := peerKey{id, incarnation}
	for _, links := range []map[peerKey]*peerLink{m.outgoing, m.incoming} {
		if l := links[key]; l != nil && !m.closed {
			delete(links, key)
			m.tasks.Go(func() { l.drop(ErrRemoved) })
		}
	}
	delete(m.reach, key)
}

// Close ends all links and closes the listeners. The channels fail with ErrClosed. It returns when nothing runs any more. What is queued is
// not sent: who wants it to arrive waits for Receiver.Closed first.
func (m *Manager) Close() error {
	m.mu.Lock()
	already := m.closed
	m.closed = true
	links := m.allLocked()
	listeners := m.listeners
	m.listeners = nil
	m.mu.Unlock()
	if !already {
		m.cancel()
		for l := range listeners {
			l.Close()
		}
		for _, l := range links {
			l.drop(ErrClosed)
		}
	}
	m.tasks.Wait()
	return nil
}

// allLocked returns all links.
func (m *Manager) allLocked() []*peerLink {
	return slices.Concat(slices.Collect(maps.Values(m.outgoing)), slices.Collect(maps.Values(m.incoming)))
}

// forget removes the link from its map, if it is still there.
func (m *Manager) forget(l *peerLink) {
	m.mu.Lock()
	defer m.mu.Unlock()
	links := m.incoming
	if l.dialer {
		links = m.outgoing
	}
	if links[l.peer.key()] == l {
		delete(links, l.peer.key())
	}
	if key := l.peer.key(); m.outgoing[key] == nil && m.incoming[key] == nil {
		delete(m.reach, key)
	}
}

// run runs the link over a connection that has had its handshake, and returns why the connection ended.
func (m *Manager) run(l *peerLink, raw net.Conn, h *handshake, version uint16, peer limits) error {
	h.decoder.limit = max(m.options.MaxMessage, 8+maxGreeting)
	c := &connection{
		Conn: h.Conn, raw: raw, decoder: &h.decoder, version: uint8(version), peer: peer,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	m.up(l.peer)
	err := l.serve(c)
	m.down(l.peer, err)
	return err
}

// guard closes the connection when the Manager is closed or timeout is over; release ends the timeout.
func (m *Manager) guard(c net.Conn, timeout time.Duration) (ctx context.Context, release func(), stop func()) {
	ctx, cancel := context.WithTimeout(m.ctx, timeout)
	released := false
	stopTimeout := context.AfterFunc(ctx, func() { c.Close() })
	stopClose := func() bool { return true }
	release = func() {
		if !released {
			released = true
			stopClose = context.AfterFunc(m.ctx, func() { c.Close() })
			stopTimeout()
			cancel()
		}
	}
	return ctx, release, func() {
		release()
		stopClose()
		c.Close()
	}
}

func (m *Manager) logProtocol(p Peer, err error) {
	if errors.Is(err, ErrProtocol) || errors.Is(err, ErrAuth) || errors.Is(err, ErrInsecure) || errors.Is(err, ErrRefused) {
		m.options.Logger.Warn("edgews: link failed", "peer", p.ID, "addr", p.Addr, "error", err)
	}
}

// hello returns what this node says of itself when it dials.
func (m *Manager) hello(session string, resume bool) hello {
	self := m.options.Self
	return hello{
		Cluster: m.options.Cluster, ID: self.ID, Incarnation: self.Incarnation, Addr: self.Addr, Versions: self.Versions,
		Session: session, Resume: resume, Nonce: newNonce(), Limits: m.limits(),
	}
}

func wrongPeer(want Peer, w welcome) error {
	return fmt.Errorf("%w: %q, incarnation %d, answers for %q, incarnation %d", ErrReplaced, w.ID, w.Incarnation, want.ID, want.Incarnation)
}

// Channels returns how many channels there are on all links, also those of which the peer does not know yet that they are over.
func (m *Manager) Channels() (n int) {
	m.mu.Lock()
	links := m.allLocked()
	m.mu.Unlock()
	for _, l := range links {
		l.mu.Lock()
		n += len(l.core.channels)
		l.mu.Unlock()
	}
	return n
}
