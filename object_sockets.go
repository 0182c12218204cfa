package edgews

import (
	"cmp"
	"slices"
	"time"
)

// owner is what a socket reports to when it belongs to an object or keeps one awake. The socket's mu is held; owners
// do not block and lock nothing but the object.
type owner interface {
	// arrivedLocked: a message has arrived, or the last events are due.
	arrivedLocked(s *Socket)
	// acceptedLocked: the socket is being accepted.
	acceptedLocked(s *Socket)
	// finishedLocked: the close event has been delivered.
	finishedLocked(s *Socket)
}

// arrivedForOwnerLocked tells the object to which s belongs, if it belongs to one. mu must be held.
func (s *Socket) arrivedForOwnerLocked() {
	if s.is(owned | hosted) {
		s.owner.arrivedLocked(s)
	}
}

// connID is an object's handle for a connection. Later connections have larger ones.
type socketHandle uint64

// member is a connection as its object knows it.
type objectSocket struct {
	o  *object
	s  *Socket
	id socketHandle

	// Guarded by o.mu.
	tags    []string
	queued  bool // it waits in o.queue for its turn
	removed bool // it is not in the roster any more

	// Guarded by the socket's mu.
	lastAutoResponse time.Time // when the last auto-response went out
}

// memberOf returns the member that s is to an object, or nil.
func objectSocketOf(s *Socket) *objectSocket {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m, _ := s.owner.(*objectSocket)
	return m
}

// arrivedLocked gives m a turn, unless it waits for one already.
func (m *objectSocket) arrivedLocked(*Socket) {
	o := m.o
	o.mu.Lock()
	defer o.mu.Unlock()
	if m.queued || m.removed {
		return
	}
	m.queued = true
	o.enqueueLocked(queuedEvent{socket: m})
}

func (m *objectSocket) dequeuedLocked() { m.queued = false }

func (m *objectSocket) acceptedLocked(*Socket) {}
func (m *objectSocket) finishedLocked(*Socket) {}

// roster holds the connections of an object by handle and by tag, each list oldest first. It is guarded by the
// object's mu.
type socketRegistry struct {
	all   orderedSet
	byTag map[string]orderedSet
	last  socketHandle
}

// crew is a list of members in the order of their handles.
type orderedSet []*objectSocket

func (c orderedSet) find(id socketHandle) (int, bool) {
	return slices.BinarySearchFunc(c, id, func(m *objectSocket, id socketHandle) int { return cmp.Compare(m.id, id) })
}

func (c orderedSet) with(m *objectSocket) orderedSet {
	i, found := c.find(m.id)
	if found {
		return c
	}
	return slices.Insert(c, i, m)
}

func (c orderedSet) without(m *objectSocket) orderedSet {
	i, found := c.find(m.id)
	if !found {
		return c
	}
	if len(c) == 1 {
		return nil
	}
	return slices.Delete(c, i, i+1)
}

func (r *socketRegistry) add(m *objectSocket, tags []string) {
	r.last++
	m.id = r.last
	r.all = r.all.with(m)
	r.tag(m, tags)
}

func (r *socketRegistry) remove(m *objectSocket) {
	r.untag(m)
	r.all = r.all.without(m)
	m.removed = true
}

// tag puts m, which has no tags, into the index.
func (r *socketRegistry) tag(m *objectSocket, tags []string) {
	if len(tags) > 0 && r.byTag == nil {
		r.byTag = make(map[string]orderedSet)
	}
	m.tags = tags
	for _, t := range tags {
		r.byTag[t] = r.byTag[t].with(m)
	}
}

func (r *socketRegistry) untag(m *objectSocket) {
	for _, t := range m.tags {
		if left := r.byTag[t].without(m); left != nil {
			r.byTag[t] = left
		} else {
			delete(r.byTag, t)
		}
	}
}

// carrying returns those that carry all tags, as a list of the caller's own. It looks at those that carry the rarest.
func (r *socketRegistry) withTags(tags []string) orderedSet {
	if len(tags) == 0 {
		return slices.Clone(r.all)
	}
	rarest := slices.MinFunc(tags, func(a, b string) int { return cmp.Compare(len(r.byTag[a]), len(r.byTag[b])) })
	var found orderedSet
	for _, m := range r.byTag[rarest] {
		if m.carries(tags) {
			found = append(found, m)
		}
	}
	return found
}

func (m *objectSocket) carries(tags []string) bool {
	for _, t := range tags {
		if !slices.Contains(m.tags, t) {
			return false
		}
	}
	return true
}
