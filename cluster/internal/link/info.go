package link

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sync/atomic"
	"time"
)

// Info describes a link.
type Info struct {
	Peer       Peer
	Dialed     bool // from here; the dialling end opens the channels
	Connected  bool
	Channels   int
	Unconsumed int // bytes that were sent and that the peer has not consumed, beyond the reserve of each channel

	Since             time.Time // when the connection began, or the last one ended; zero: there was none
	Connections       int64     // that have begun
	FramesIn          int64
	FramesOut         int64
	BytesIn, BytesOut int64         // of all connections
	RoundTrip         time.Duration // of the last ping, which an idle link sends; 0: not known
	Err               error         // why the last attempt to connect has failed, or the last connection has ended
}

// traffic is what a link counts over all its connections. Guarded by peerLink.mu, except for bytesIn.
type traffic struct {
	since               time.Time
	connections         int64
	framesIn, framesOut int64
	bytesOut            int64
	pinged              int64 // when a ping was sent that has no answer yet, as core.now; 0: none
	roundTrip           time.Duration
	err                 error

	bytesIn atomic.Int64
}

// failed notes why there is no connection any more, or none yet.
func (l *peerLink) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.traffic.err = err
}

// countFrames returns how many frames b has, which are whole.
func countFrames(b []byte) (n int64) {
	for len(b) >= headerLen {
		b = b[headerLen+int(binary.BigEndian.Uint32(b)):]
		n++
	}
	return n
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
	t := &l.traffic
	return Info{
		Peer: l.peer, Dialed: l.dialer, Connected: l.conn != nil, Channels: len(l.core.channels), Unconsumed: l.core.outUsed,
		Since: t.since, Connections: t.connections, FramesIn: t.framesIn, FramesOut: t.framesOut, BytesIn: t.bytesIn.Load(), BytesOut: t.bytesOut,
		RoundTrip: t.roundTrip, Err: t.err,
	}
}
