package link

import (
	"cmp"
	"slices"
)

// Info describes a link.
type Info struct {
	Peer       Peer
	Dialed     bool // from here; the dialling end opens the channels
	Connected  bool
	Channels   int
	Unconsumed int // bytes that were sent and that the peer has not consumed, beyond the reserve of each channel
}

// Links returns what there is to know about the links, ordered by the peers' IDs.
func (m *Manager) Links() []Info {
	m.mu.Lock()
	links := m.allLocked()
	m.mu.Unlock()
	infos := make([]Info, 0, len(links))
	for _, l := range links {
		infos = append(infos, l.info())
	}
	slices.SortFunc(infos, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.Peer.ID, b.Peer.ID), cmp.Compare(a.Peer.Incarnation, b.Peer.Incarnation), cmpBool(a.Dialed, b.Dialed))
	})
	return infos
}

func cmpBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

func (l *peerLink) info() Info {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Info{Peer: l.peer, Dialed: l.dialer, Connected: l.conn != nil, Channels: len(l.core.channels), Unconsumed: l.core.outUsed}
}
