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
type connID uint64

// member is a connection as its object knows it.
type member struct {
	o  *object
	s  *Socket
	id connID

	// Guarded by o.mu.
	tags   []string
	queued bool // it waits in o.queue for its turn
	gone   bool // it is not in the roster any more

	// Guarded by the socket's mu.
	answered time.Time // when the last auto-response went out
}

// memberOf returns the member that s is to an object, or nil.
func memberOf(s *Socket) *member {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m, _ := s.owner.(*member)
	return m
}

// arrivedLocked gives m a turn, unless it waits for one already.
func (m *member) arrivedLocked(*Socket) {
	o := m.o
	o.mu.Lock()
	defer o.mu.Unlock()
	if m.queued || m.gone {
		return
	}
	m.queued = true
	o.pushLocked(task{conn: m})
}

func (m *member) dequeuedLocked() { m.queued = false }

func (m *member) acceptedLocked(*Socket) {}
func (m *member) finishedLocked(*Socket) {}

// roster holds the connections of an object by handle and by tag, each list oldest first. It is guarded by the
// object's mu.
type roster struct {
	all   crew
	byTag map[string]crew
	last  connID
}

// crew is a list of members in the order of their handles.
type crew []*member

func (c crew) find(id connID) (int, bool) {
	return slices.BinarySearchFunc(c, id, func(m *member, id connID) int { return cmp.Compare(m.id, id) })
}

func (c crew) with(m *member) crew {
	i, found := c.find(m.id)
	if found {
		return c
	}
	return slices.Insert(c, i, m)
}

func (c crew) without(m *member) crew {
	i, found := c.find(m.id)
	if !found {
		return c
	}
	if len(c) == 1 {
		return nil
	}
	return slices.Delete(c, i, i+1)
}

func (r *roster) add(m *member, tags []string) {
	r.last++
	m.id = r.last
	r.all = r.all.with(m)
	r.tag(m, tags)
}

func (r *roster) remove(m *member) {
	r.untag(m)
	r.all = r.all.without(m)
	m.gone = true
}

// tag puts m, which has no tags, into the index.
func (r *roster) tag(m *member, tags []string) {
	if len(tags) > 0 && r.byTag == nil {
		r.byTag = make(map[string]crew)
	}
	m.tags = tags
	for _, t := range tags {
		r.byTag[t] = r.byTag[t].with(m)
	}
}

func (r *roster) untag(m *member) {
	for _, t := range m.tags {
		if left := r.byTag[t].without(m); left != nil {
			r.byTag[t] = left
		} else {
			delete(r.byTag, t)
		}
	}
}

// carrying returns those that carry all tags, as a list of the caller's own. It looks at those that carry the rarest.
func (r *roster) carrying(tags []string) crew {
	if len(tags) == 0 {
		return slices.Clone(r.all)
	}
	rarest := slices.MinFunc(tags, func(a, b string) int { return cmp.Compare(len(r.byTag[a]), len(r.byTag[b])) })
	var found crew
	for _, m := range r.byTag[rarest] {
		if m.carries(tags) {
			found = append(found, m)
		}
	}
	return found
}

func (m *member) carries(tags []string) bool {
	for _, t := range tags {
		if !slices.Contains(m.tags, t) {
			return false
		}
	}
	return true
}
