package cluster

import (
	"bytes"
	"sync"
	"weak"

	"github.com/edgews/edgews"
)

// sharedMessages finds out which messages of the objects of some shards are the same ones for several sockets: the link sends those once. Its
// mutex may be locked with the mutex of a homeConn held.
type sharedMessages struct {
	mu       sync.Mutex
	prepared [preparedKept]sharedMessage // those that were sent last
	next     int                         // the one in prepared that is replaced next
	last     []byte                      // the last message that was not prepared, as it was sent; nil: it was too large
}

const (
	// preparedKept is how many messages are remembered. An object sends several to each socket in turn when the output gate opens.
	preparedKept = 8
	// maxKeptShared is the largest message that is kept for sockets that may follow, in bytes. A larger one is only remembered while it waits
	// for room in a link.
	maxKeptShared = 4 << 10
	// sharedGroups is how many sharedMessages a Cluster has: objects that send at the same time rarely have the same one. Together they keep
	// at most sharedGroups*(preparedKept+1) messages of maxKeptShared bytes, and their Prepared, which is about 2 MiB.
	sharedGroups = 16
)

// sharedMessage is a prepared message as it is sent.
type sharedMessage struct {
	of    *edgews.Prepared // and its parts; nil: the message is large
	parts *messageParts

	ofLarge    weak.Pointer[edgews.Prepared] // the same, but not kept
	partsLarge weak.Pointer[messageParts]
}

// messageParts are the messages of a link in which one of a socket is sent. They never change.
type messageParts struct{ list [][]byte }

// partsOf returns in what p is sent. data is its content.
func (s *sharedMessages) partsOf(p *edgews.Prepared, kind edgews.Kind, data []byte) *messageParts {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(data) > maxKeptShared {
		return s.partsOfLargeLocked(p, kind, data)
	}
	for i := range s.prepared {
		if m := &s.prepared[i]; m.of == p {
			return m.parts
		}
	}
	parts := splitMessage(kind, data)
	s.rememberLocked(sharedMessage{of: p, parts: parts})
	return parts
}

func (s *sharedMessages) partsOfLargeLocked(p *edgews.Prepared, kind edgews.Kind, data []byte) *messageParts {
	of := weak.Make(p)
	for i := range s.prepared {
		m := &s.prepared[i]
		if m.ofLarge != of {
			continue
		}
		if parts := m.partsLarge.Value(); parts != nil {
			return parts
		}
		*m = sharedMessage{} // the sockets before have it no more
	}
	parts := splitMessage(kind, data)
	s.rememberLocked(sharedMessage{ofLarge: of, partsLarge: weak.Make(parts)})
	return parts
}

func (s *sharedMessages) rememberLocked(m sharedMessage) {
	s.prepared[s.next] = m
	s.next = (s.next + 1) % preparedKept
}

// splitMessage returns in what a whole message is sent.
func splitMessage(kind edgews.Kind, data []byte) *messageParts {
	m := new(messageParts)
	for len(data) > maxPart {
		m.list = append(m.list, bytesMessage(partByte(kind), data[:maxPart]))
		data = data[maxPart:]
	}
	m.list = append(m.list, bytesMessage(kindByte(kind), data))
	return m
}

// repeated returns the message of a link with data, and whether the last message was the same: a program that calls Send for one socket after
// the other sends the same, too. It returns nil for a message that is large.
func (s *sharedMessages) repeated(kind byte, data []byte) (m []byte, isRepeated bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(data) > maxKeptShared {
		s.last = nil
		return nil, false
	}
	if len(s.last) == 1+len(data) && s.last[0] == kind && bytes.Equal(s.last[1:], data) {
		return s.last, true
	}
	s.last = bytesMessage(kind, data)
	return s.last, false
}
