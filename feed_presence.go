package edgews

import (
	"cmp"
	"slices"
	"time"
)

// Presence is one who is there.
type Presence struct {
	Who     string    `json:"who"`
	Since   time.Time `json:"since"`   // when the first socket joined, in UTC and whole milliseconds
	Sockets int       `json:"sockets"` // that have joined; 0 while it is open whether the one who has left comes back
}

// presence is what a roster knows of one who is there.
type presence struct {
	since   time.Time
	sockets int
	leaving *time.Timer // not nil: the last socket has ended, and leaving is announced when it fires
}

// Here returns those who are there, in the order in which they joined: everyone with a socket that has joined, and those whose last socket
// ended less than FeedOptions.LeaveAfter ago. It is what the clients know. The slice is the caller's.
//
// It survives hibernation, and the loss of the value. After the end of the process it is empty, as there are no sockets, until clients have
// joined again.
func (f *Feed) Here() []Presence {
	if f.st.checkNotDropped() != nil {
		return nil
	}
	f.roster.lockSends()
	defer f.roster.unlockSends()
	return f.roster.here()
}

// here is Here. The send lock must be held.
func (r *feedRoster) here() []Presence {
	all := make([]Presence, 0, len(r.present))
	for who, p := range r.present {
		all = append(all, Presence{who, p.since, p.sockets})
	}
	slices.SortFunc(all, func(a, b Presence) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Who, b.Who)) })
	return all
}

// toldHere returns what members are told of who is there. The send lock must be held.
func (r *feedRoster) toldHere() []Presence {
	if r.hidden {
		return nil
	}
	return r.here()
}

// joins makes m a socket of who. The send lock must be held.
func (r *feedRoster) joins(m *feedMember, who string) {
	was, first := m.who, m.once
	if !first && was == who {
		return
	}
	m.who, m.once = who, false
	if !first {
		r.leaves(was, 0)
	}
	if who != "" {
		r.arrives(m, who)
	}
}

// arrives counts a socket of who, which is announced to the others if it is the first. The send lock must be held.
func (r *feedRoster) arrives(m *feedMember, who string) {
	if p := r.present[who]; p != nil {
		p.sockets++
		if p.leaving != nil {
			p.leaving.Stop()
			p.leaving = nil
		}
		return
	}
	if r.present == nil {
		r.present = make(map[string]*presence)
	}
	p := &presence{since: time.UnixMilli(time.Now().UnixMilli()).UTC(), sockets: 1}
	r.present[who] = p
	r.countHere(who, true)
	r.announce(m, &FeedFrame{Type: frameJoined, Feed: r.name, Who: who, Since: p.since})
}

// leaves counts a socket of who less. If it was the last one, who has left after that time, unless another socket joins. The send lock must be
// held.
func (r *feedRoster) leaves(who string, after time.Duration) {
	p := r.present[who]
	if p == nil {
		return
	}
	if p.sockets--; p.sockets > 0 {
		return
	}
	if after <= 0 {
		r.hasLeft(who)
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(after, func() {
		r.lockSends()
		defer r.unlockSends()
		if p.leaving == timer { // no socket has joined meanwhile
			r.hasLeft(who)
		}
	})
	p.leaving = timer
}

// hasLeft removes who and tells the members. The send lock must be held.
func (r *feedRoster) hasLeft(who string) {
	delete(r.present, who)
	r.countHere(who, false)
	r.announce(nil, &FeedFrame{Type: frameLeft, Feed: r.name, Who: who})
}

// announce sends a change of who is there to all members but one. Members that are not live, and those without room, get the whole list
// later. The send lock must be held.
func (r *feedRoster) announce(but *feedMember, frame *FeedFrame) {
	if r.hidden {
		return
	}
	m := outgoingPrepared(r.positioned(Prepare(Text, frame.encode()), ClusterPosition{Here: r.toldHereID()}))
	for _, to := range r.members {
		switch {
		case to == but || to.once:
		case !to.live || !to.sendLive(m):
			to.hereDue = true
		}
	}
}

// sendHere sends m the whole list. The send lock must be held.
func (m *feedMember) sendHere() bool {
	frame := &FeedFrame{Type: frameHere, Feed: m.r.name, Here: m.r.toldHere()}
	if !m.sendLive(m.r.outgoing(frame.encode(), ClusterPosition{Here: m.r.toldHereID()})) {
		return false
	}
	m.hereDue = false
	return true
}
