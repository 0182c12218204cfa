package link

// Event says that a peer can be reached, or cannot any more.
type Event struct {
	Peer Peer
	// Up is true when a first connection with the peer is up, in either direction; false when there is none any more.
	Up bool
	// Refused, with Up false, says that the peer's address refuses connections, or that another process answers there, while no
	// connection is up: the process is very probably dead. It may follow an event without Refused, and comes once until the peer is up.
	Refused bool
	// Err is the reason, with Up false.
	Err error
}

// reach is what a Manager knows of a peer's connections.
type reach struct {
	connections int
	refused     bool // has been reported since it was up
}

// up counts a connection of the peer.
func (m *Manager) up(p Peer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.reach[p.key()]
	if r == nil {
		r = new(reach)
		m.reach[p.key()] = r
	}
	r.refused = false
	if r.connections++; r.connections == 1 {
		m.reportLocked(Event{Peer: p, Up: true})
	}
}

// down counts a connection of the peer that has broken.
func (m *Manager) down(p Peer, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.reach[p.key()]; r != nil {
		if r.connections--; r.connections == 0 {
			m.reportLocked(Event{Peer: p, Err: err})
		}
	}
}

// unreachable reports whether there is no connection with the peer.
func (m *Manager) unreachable(p Peer) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.reach[p.key()]
	return r == nil || r.connections == 0
}

// refused says that the peer's address has refused a connection, or that another process answers there.
func (m *Manager) refused(p Peer, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.reach[p.key()]
	if r == nil {
		r = new(reach)
		m.reach[p.key()] = r
	}
	if r.connections == 0 && !r.refused {
		r.refused = true
		m.reportLocked(Event{Peer: p, Refused: true, Err: err})
	}
}

// reportLocked has Options.Event called, in order, by a goroutine that holds no lock.
func (m *Manager) reportLocked(e Event) {
	if m.options.Event == nil || m.closed {
		return
	}
	m.events = append(m.events, e)
	if m.reporting {
		return
	}
	m.reporting = true
	m.tasks.Go(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		for len(m.events) > 0 {
			e := m.events[0]
			m.events = m.events[1:]
			m.mu.Unlock()
			m.options.Event(e)
			m.mu.Lock()
		}
		m.reporting = false
	})
}
