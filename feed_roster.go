package edgews

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/edgews/edgews/internal/orderedset"
)

// feedRoster is the members of a feed, and who is there. It belongs to the object and outlives the value: a hibernated object's feed still
// knows its members, and announces that someone has left, without waking the object.
type feedRoster struct {
	// Immutable.
	o    *object
	name string

	// sendLock has a token while one goroutine sends to live members or changes who is a member. It is a channel because sending is I/O.
	// Nothing is waited for while it is held. storageLease.writeLock may be held when it is taken, and no mutex may.
	sendLock chan struct{}

	// Guarded by sendLock.
	members    orderedset.Set[*feedMember]
	present    map[string]*presence
	leaveAfter time.Duration
	hidden     bool   // members are not told who is there
	hereSum    uint64 // in a cluster: of the digests of those in present

	mu sync.Mutex // a leaf

	// Guarded by mu.
	last    uint64         // the last message that was sent to live members
	pending []*publication // in the order of their numbers: those that are being committed, or were, and have not been sent
}

// feedMember is a socket that has joined a feed, or that gets a replay.
type feedMember struct {
	// Immutable.
	r    *feedRoster
	sock *objectSocket

	next *feedMember // of the same socket, for another feed. Guarded by the object's mu

	queued bool // it is in the object's queue. Guarded by the object's mu

	// Guarded by the roster's sendLock. While replaying is set, sent belongs to the replay.
	live      bool   // it has got everything up to feedRoster.last
	replaying bool   // a goroutine sends it what it has not got
	waiting   bool   // a goroutine waits until the socket has room
	cursorDue bool   // the next frame is feed.cursor
	gone      bool   // with gone
	hereDue   bool   // it has not got all changes of who is there
	once      bool   // it is no member: it ends when it has got what it had missed
	left      bool   // it is not in members any more
	who       string // "": none
	sent      uint64 // the last message that it has got, or been told is gone
	restart   uint64 // where it begins again, if cursorDue is set
}

// Key is for orderedset.
func (m *feedMember) Key() uint64 { return m.sock.Key() }

func newFeedRoster(o *object, name string) *feedRoster {
	return &feedRoster{o: o, name: name, sendLock: make(chan struct{}, 1)}
}

func (r *feedRoster) lockSends()   { r.sendLock <- struct{}{} }
func (r *feedRoster) unlockSends() { <-r.sendLock }

// resume is called when a value has made its feed. last is the last message that is stored.
func (r *feedRoster) resume(last uint64, opts *FeedOptions) {
	r.lockSends()
	defer r.unlockSends()
	r.leaveAfter, r.hidden = opts.LeaveAfter, opts.HidePresence
	r.mu.Lock()
	if len(r.pending) == 0 { // otherwise the last message may not have been sent, and will be
		r.last = max(r.last, last)
	}
	last = r.last
	r.mu.Unlock()
	for _, m := range r.members {
		m.live = m.live && m.sent >= last
		if !m.live && !m.waiting {
			m.enqueue()
		}
	}
}

func (r *feedRoster) lastSent() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// nextSeq returns the number of the message that follows the last one that is stored. The storage may have been emptied; then the last one
// may be committed and not be sent yet. Only a writer of the storage may call it: for any other, a pending message may not be committed.
func (r *feedRoster) nextSeq(stored uint64) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := max(stored, r.last)
	if n := len(r.pending); n > 0 {
		last = max(last, r.pending[n-1].seq)
	}
	return last + 1
}

// expect notes that p is about to be committed.
func (r *feedRoster) expect(p *publication) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = append(r.pending, p)
}

// withdraw is called when p has not been committed, before another writer of the storage has its turn.
func (r *feedRoster) withdraw(p *publication) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = slices.DeleteFunc(r.pending, func(other *publication) bool { return other == p })
}

// committed returns what is to be sent because p has been committed: everything before p too, since commits follow each other. It is empty
// if another goroutine has sent p.
func (r *feedRoster) committed(p *publication) (due []*publication) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := slices.Index(r.pending, p) + 1
	due = slices.Clone(r.pending[:n])
	r.pending = slices.Delete(r.pending, 0, n)
	return due
}

// deliver sends p, which has been committed, to the live members.
func (r *feedRoster) deliver(p *publication) {
	r.lockSends()
	defer r.unlockSends()
	for _, p := range r.committed(p) {
		r.mu.Lock()
		r.last = p.seq
		r.mu.Unlock()
		m := outgoingPrepared(p.prepared)
		for _, to := range r.members {
			to.deliverLocked(p.seq, m)
		}
	}
}

// outgoingPrepared returns p as it is sent.
func outgoingPrepared(p *Prepared) outgoing {
	return outgoing{kind: p.kind, data: p.data, first: true, last: true, prepared: p}
}

// outgoingText returns a text message as it is sent. data is UTF-8.
func outgoingText(data []byte) outgoing {
	return outgoing{kind: Text, data: data, first: true, last: true}
}

// deliverLocked sends message seq to m if it is live and has got the one before. The send lock must be held.
func (m *feedMember) deliverLocked(seq uint64, frame outgoing) {
	switch {
	case !m.live || m.sent >= seq:
	case m.sent != seq-1:
		m.fallBehind(0)
	case m.sendLive(frame):
		m.sent = seq
	}
}

// sendLive sends frame to m. If there is no room, m is not live any more. The send lock must be held.
func (m *feedMember) sendLive(frame outgoing) bool {
	switch err := m.sock.s.sendIfHalfEmpty(frame); {
	case err == nil:
		return true
	case errors.Is(err, errNoRoom):
		m.fallBehind(len(frame.data))
	default: // the socket has ended: leave is called soon
		m.live = false
	}
	return false
}

// fallBehind makes m not live: it is sent what it has not got when its socket has room for n bytes. The send lock must be held.
func (m *feedMember) fallBehind(n int) {
	m.live = false
	m.waitForRoom(n)
}

// waitForRoom has the replay of m go on when its socket has room for n bytes. The send lock must be held.
func (m *feedMember) waitForRoom(n int) {
	if m.waiting {
		return
	}
	m.waiting = true
	go func() {
		open := m.sock.s.waitUntilHalfEmpty(n)
		m.r.lockSends()
		defer m.r.unlockSends()
		m.waiting = false
		if open && !m.left {
			m.enqueue()
		}
	}()
}

// enqueue has the object replay to m in an event of its own.
func (m *feedMember) enqueue() {
	o := m.r.o
	o.mu.Lock()
	defer o.mu.Unlock()
	if !m.queued && !m.sock.removed {
		m.queued = true
		o.enqueueLocked(queuedEvent{socket: m})
	}
}

func (m *feedMember) dequeuedLocked() { m.queued = false }

// deliverNext replays to m. The object's queue calls it. A value that has no such feed does nothing: the next NewFeed goes on.
func (m *feedMember) deliverNext() {
	o := m.r.o
	if o.ns.eventsContext.Err() != nil || m.sock.isRemoved() {
		return
	}
	o.handling.Store(m.sock.s)
	defer o.handling.Store(nil)
	o.runHandler(o.ns.eventsContext, "feed", func(ctx context.Context, _ Object) error {
		f := o.feedOfValue(m.r.name)
		if f == nil {
			return nil
		}
		err := f.replay(ctx, m)
		switch {
		case errors.Is(err, ErrAborted), o.ns.eventsContext.Err() != nil: // the next value goes on, or the next process
			return nil
		case err != nil:
			_ = m.sock.s.Close(StatusInternalError, "feed cannot be read")
		}
		return err
	})
}

// memberOfLocked returns what r knows of sock, or nil. The object's mu must be held.
func (r *feedRoster) memberOfLocked(sock *objectSocket) *feedMember {
	for m := sock.feeds; m != nil; m = m.next {
		if m.r == r {
			return m
		}
	}
	return nil
}

// memberOf returns what r knows of sock, or nil. The send lock must be held.
func (r *feedRoster) memberOf(sock *objectSocket) *feedMember {
	r.o.mu.Lock()
	defer r.o.mu.Unlock()
	return r.memberOfLocked(sock)
}

// attach returns what r knows of sock, which it makes if need be. The send lock must be held.
func (r *feedRoster) attach(sock *objectSocket) (*feedMember, error) {
	o := r.o
	o.mu.Lock()
	defer o.mu.Unlock()
	if sock.removed {
		return nil, ErrNotOwned
	}
	if m := r.memberOfLocked(sock); m != nil {
		return m, nil
	}
	m := &feedMember{r: r, sock: sock, next: sock.feeds, once: true}
	sock.feeds = m
	r.members = r.members.With(m)
	return m, nil
}

// detach is the opposite of attach. The send lock must be held.
func (r *feedRoster) detach(m *feedMember) {
	r.o.mu.Lock()
	for at := &m.sock.feeds; *at != nil; at = &(*at).next {
		if *at == m {
			*at = m.next
			break
		}
	}
	r.o.mu.Unlock()
	m.left, m.live = true, false
	r.forgetAtEdge(m)
	r.members = r.members.Without(m)
}

// leaveFeeds is called when the object has removed the socket.
func (sock *objectSocket) leaveFeeds() {
	sock.o.mu.Lock()
	m := sock.feeds
	sock.feeds = nil
	sock.o.mu.Unlock()
	for m != nil {
		next := m.next
		m.r.socketEnded(m)
		m = next
	}
}

// socketEnded removes m, and waits for whether the one who has left comes back.
func (r *feedRoster) socketEnded(m *feedMember) {
	r.lockSends()
	defer r.unlockSends()
	if !m.left {
		r.detach(m)
		r.leaves(m.who, r.leaveAfter)
	}
}
