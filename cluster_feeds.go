package edgews

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
)

// The members of a feed outlive their home. The edge of a socket keeps which feeds the socket has joined (ClusterFeed), and how far its client
// has got (ClusterPosition): the home says that with each message of a feed, so the edge knows it exactly of the messages that it has got.
// What a home has stored, and not sent to an edge before its end, the next home sends.

// ClusterFeed is a feed that a socket has joined: part of ClusterKept.
type ClusterFeed struct {
	Name   string `json:",omitempty"`
	Who    string `json:",omitempty"` // as in Feed.Join
	Since  int64  `json:",omitempty"` // Presence.Since of Who, in milliseconds since 1970
	Joined uint64 // a random number of this Join, or Replay
	After  uint64 `json:",omitempty"` // the client gets what is behind it
	Gone   bool   `json:",omitempty"` // messages are gone that it has not got
	Replay bool   `json:",omitempty"` // it is no member, and gets what it has missed only: Feed.Replay
}

// ClusterPosition is how far a client has got in a feed.
type ClusterPosition struct {
	Feed   string `json:",omitempty"`
	Joined uint64 `json:",omitempty"` // ClusterFeed.Joined, if this is the first message after Join or Replay; otherwise 0
	HasSeq bool   `json:",omitempty"` // Seq has changed
	Seq    uint64 `json:",omitempty"` // the last message that the client has got, or knows to be gone
	Here   uint64 `json:",omitempty"` // identifies the list of those who are there that the client knows now; 0: the one that it knew before
}

// ClusterPositions are how far a client has got in its feeds, each of which is there once. An edge keeps them for ClusterRestored. The zero
// value is one of a client that has joined none.
type ClusterPositions []ClusterPosition

// Note takes over what a message says that the client gets: ClusterConn.Position.
func (all *ClusterPositions) Note(p ClusterPosition) {
	i := slices.IndexFunc(*all, func(known ClusterPosition) bool { return known.Feed == p.Feed })
	switch {
	case i < 0 && p.Joined != 0:
		*all = append(*all, p)
	case i < 0: // of a feed that the socket has left
	case p.Joined != 0:
		(*all)[i] = p
	default:
		known := &(*all)[i]
		if p.HasSeq {
			known.Seq = p.Seq
		}
		if p.Here != 0 {
			known.Here = p.Here
		}
	}
}

// Keep forgets the feeds that the socket has left.
func (all *ClusterPositions) Keep(feeds []ClusterFeed) {
	*all = slices.DeleteFunc(*all, func(p ClusterPosition) bool {
		return !slices.ContainsFunc(feeds, func(f ClusterFeed) bool { return f.Name == p.Feed })
	})
}

// of returns how far the client has got since it joined f, or false if it has got nothing of it.
func (all ClusterPositions) of(f *ClusterFeed) (ClusterPosition, bool) {
	for _, p := range all {
		if p.Feed == f.Name {
			return p, p.Joined == f.Joined
		}
	}
	return ClusterPosition{}, false
}

// maxClusterFeeds bounds how many feeds a socket of a cluster follows at a time: what its edge keeps has to fit into one message to the next home.
const maxClusterFeeds = 16

// ErrTooManyFeeds: a socket in a cluster joins at most 16 feeds.
var ErrTooManyFeeds = errors.New("edgews: socket has joined too many feeds")

// isClustered reports whether the members' sockets may have their connections at edges.
func (r *feedRoster) isClustered() bool { return r.o.ns.opts.Cluster != nil }

// outgoing returns a frame as it is sent. In a cluster it says how far the client is when it has got it.
func (r *feedRoster) outgoing(frame []byte, at ClusterPosition) outgoing {
	if !r.isClustered() {
		return outgoingText(frame)
	}
	return outgoingPrepared(r.positioned(Prepare(Text, frame), at))
}

// positioned returns m, which has not been sent yet. In a cluster it says how far a client is that has got it.
func (r *feedRoster) positioned(m *Prepared, at ClusterPosition) *Prepared {
	if r.isClustered() {
		position := at
		position.Feed = r.name
		m.position = &position
	}
	return m
}

// toldHereID identifies what members are told of who is there; 0: they are told nothing. The send lock must be held.
func (r *feedRoster) toldHereID() uint64 {
	if r.hidden || !r.isClustered() {
		return 0
	}
	return max(r.hereSum, 1)
}

// countHere notes that who is there, or is not any more. The send lock must be held.
func (r *feedRoster) countHere(who string, isHere bool) {
	if !r.isClustered() {
		return
	}
	digest := sha256.Sum256([]byte(who))
	if n := binary.BigEndian.Uint64(digest[:]); isHere {
		r.hereSum += n
	} else {
		r.hereSum -= n
	}
}

// mayFollow returns ErrTooManyFeeds if sock cannot follow another feed.
func (r *feedRoster) mayFollow(sock *objectSocket) error {
	if !r.isClustered() {
		return nil
	}
	sock.s.mu.Lock()
	defer sock.s.mu.Unlock()
	c := clusterSocketOf(sock.s)
	if c == nil || len(c.feeds) < maxClusterFeeds || slices.ContainsFunc(c.feeds, func(f ClusterFeed) bool { return f.Name == r.name }) {
		return nil
	}
	return fmt.Errorf("%w: the limit in a cluster is %d", ErrTooManyFeeds, maxClusterFeeds)
}

// keepAtEdge has the edge keep that m has joined. The send lock must be held.
func (r *feedRoster) keepAtEdge(m *feedMember) {
	if !r.isClustered() {
		return
	}
	f := r.kept(m)
	r.changeAtEdge(m, func(feeds []ClusterFeed) []ClusterFeed { return append(feeds, f) })
}

// kept returns what the edge of m keeps of a Join or Replay that begins now. The send lock must be held.
func (r *feedRoster) kept(m *feedMember) ClusterFeed {
	f := ClusterFeed{Name: r.name, Who: m.who, Joined: rand.Uint64() | 1, After: m.restart, Gone: m.gone, Replay: m.once}
	if p := r.present[m.who]; p != nil {
		f.Since = p.since.UnixMilli()
	}
	return f
}

// connectedToEdge is called when a socket, which an object may have accepted, has got its connection, which is at an edge.
func (s *Socket) connectedToEdge() {
	sock := objectSocketOf(s)
	if sock == nil {
		return
	}
	var members []*feedMember
	sock.o.mu.Lock()
	if !sock.removed && !sock.atEdge {
		sock.o.ns.topics.moveToEdge(sock)
		for m := sock.feeds; m != nil; m = m.next {
			members = append(members, m)
		}
	}
	sock.o.mu.Unlock()
	for _, m := range members {
		m.r.moveToEdge(m)
	}
}

// moveToEdge has the edge of m keep that m has joined before it had its connection.
func (r *feedRoster) moveToEdge(m *feedMember) {
	r.lockSends()
	defer r.unlockSends()
	if m.left {
		return
	}
	f := r.kept(m)
	if !m.cursorDue {
		f.After, f.Gone = m.sent, false
	}
	r.changeAtEdge(m, func(feeds []ClusterFeed) []ClusterFeed { return append(feeds, f) })
	if m.cursorDue {
		return
	}
	m.sock.s.mu.Lock()
	defer m.sock.s.mu.Unlock()
	if c := clusterSocketOf(m.sock.s); c != nil && !c.cut { // with the next message, whatever it is
		c.conn.Position(ClusterPosition{Feed: r.name, Joined: f.Joined, HasSeq: true, Seq: m.sent, Here: r.toldHereID()})
	}
}

// forgetAtEdge is the opposite of keepAtEdge. The send lock must be held.
func (r *feedRoster) forgetAtEdge(m *feedMember) {
	if r.isClustered() {
		r.changeAtEdge(m, func(feeds []ClusterFeed) []ClusterFeed { return feeds })
	}
}

// changeAtEdge has the edge keep, of the feeds of m's socket, the others and what add adds.
func (r *feedRoster) changeAtEdge(m *feedMember, add func([]ClusterFeed) []ClusterFeed) {
	s := m.sock.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := clusterSocketOf(s); c != nil {
		others := slices.DeleteFunc(slices.Clone(c.feeds), func(f ClusterFeed) bool { return f.Name == r.name })
		c.feeds = add(others)
		c.describeLocked()
	}
}

// joinedOf returns the number of m's Join or Replay; 0: its connection is on this node.
func (r *feedRoster) joinedOf(m *feedMember) uint64 {
	if !r.isClustered() {
		return 0
	}
	m.sock.s.mu.Lock()
	defer m.sock.s.mu.Unlock()
	if c := clusterSocketOf(m.sock.s); c != nil {
		for _, f := range c.feeds {
			if f.Name == r.name {
				return f.Joined
			}
		}
	}
	return 0
}

// restoreFeeds makes a restored socket a member of the feeds that its edge has kept. The others are not told: they know it.
func (o *object) restoreFeeds(sock *objectSocket, r *ClusterRestored) {
	for i := range r.Kept.Feeds {
		f := &r.Kept.Feeds[i]
		o.mu.Lock()
		if o.feeds == nil {
			o.feeds = make(map[string]*feedRoster)
		}
		roster := o.feeds[f.Name]
		if roster == nil {
			roster = newFeedRoster(o, f.Name)
			roster.leaveAfter = defaultLeaveAfter // until the value says otherwise
			o.feeds[f.Name] = roster
		}
		o.mu.Unlock()
		roster.restore(sock, f, r.Positions)
	}
}

// restore makes sock a member as it was on the last home.
func (r *feedRoster) restore(sock *objectSocket, f *ClusterFeed, positions ClusterPositions) {
	r.lockSends()
	defer r.unlockSends()
	m, err := r.attach(sock)
	if err != nil { // it has ended already
		return
	}
	at, began := positions.of(f)
	m.once, m.who = f.Replay, f.Who
	m.live, m.cursorDue, m.gone, m.restart = began, !began, f.Gone, f.After
	m.sent = at.Seq
	if !began {
		m.sent = f.After
	}
	r.mu.Lock()
	r.last = max(r.last, m.sent) // numbers go on also if the storage was emptied
	r.mu.Unlock()
	if f.Replay {
		m.live = false
		return
	}
	if f.Who != "" {
		r.restorePresence(f.Who, time.UnixMilli(f.Since).UTC())
	}
}

// restorePresence counts a socket of who. The send lock must be held.
func (r *feedRoster) restorePresence(who string, since time.Time) {
	if p := r.present[who]; p != nil {
		p.sockets++
		if since.Before(p.since) {
			p.since = since
		}
		return
	}
	if r.present == nil {
		r.present = make(map[string]*presence)
	}
	r.present[who] = &presence{since: since, sockets: 1}
	r.countHere(who, true)
}

// lastMessages returns the number of the last stored message of each feed that the sockets have joined. It is called before the first socket is
// restored: when it fails, Restore is called again with all of them.
func (o *object) lastMessages(ctx context.Context, list []ClusterRestored) (map[string]uint64, error) {
	last := make(map[string]uint64)
	for i := range list {
		for _, f := range list[i].Kept.Feeds {
			if _, known := last[f.Name]; known {
				continue
			}
			n, err := o.lastStored(ctx, f.Name)
			if err != nil {
				return nil, err
			}
			last[f.Name] = n
		}
	}
	return last, nil
}

// feedsAreRestored is called when all sockets have been restored, with what lastMessages has returned. It notes which members have not got all
// that is stored, or know another list of those who are there: the socket of one of them was lost together with the home. If there are any, the
// object gets an event when this node has become its home: AlarmsChanged.
func (o *object) feedsAreRestored(list []ClusterRestored, last map[string]uint64) {
	known := make(map[string]ClusterPositions, len(list))
	for i := range list {
		known[list[i].Conn.Key()] = list[i].Positions
	}
	isDue := false
	for _, r := range o.feedRosters() {
		isDue = r.findDue(last[r.name], known) || isDue
	}
	if isDue {
		o.ns.mu.Lock()
		defer o.ns.mu.Unlock()
		o.ns.dueFeeds = append(o.ns.dueFeeds, o.id)
	}
}

// feedRosters returns the rosters of the object's feeds.
func (o *object) feedRosters() []*feedRoster {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Collect(maps.Values(o.feeds))
}

// findDue notes which members have something due, and reports whether there are any.
func (r *feedRoster) findDue(last uint64, known map[string]ClusterPositions) (isDue bool) {
	r.lockSends()
	defer r.unlockSends()
	for _, m := range r.members {
		for _, p := range known[clusterKeyOf(m.sock.s)] {
			if p.Feed == r.name && p.Here != 0 && p.Here != max(r.hereSum, 1) && !m.once {
				m.live, m.hereDue = false, true
			}
		}
		m.live = m.live && m.sent >= last
		isDue = isDue || !m.live
	}
	return isDue
}

// clusterKeyOf returns the key of the socket's connection at an edge, or "".
func clusterKeyOf(s *Socket) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := clusterSocketOf(s); c != nil {
		return c.key
	}
	return ""
}

// lastStored returns the number of the last message of a feed, or 0.
func (o *object) lastStored(ctx context.Context, feed string) (uint64, error) {
	l, err := o.acquireStorage(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer l.release()
	store, err := l.openForReading(ctx)
	if err != nil {
		return 0, err
	}
	prefix := feedPrefix(feed) + "m/"
	for e, err := range store.Scan(ctx, Range{Prefix: prefix, Reverse: true, KeysOnly: true, Limit: 1}) {
		if err != nil {
			return 0, l.stopIfFenced(err)
		}
		last, _ := strconv.ParseUint(e.Key[len(prefix):], 16, 64) // NewFeed says what is damaged
		return last, nil
	}
	return 0, nil
}

// replayRestored has the objects that feedsAreRestored has noted, and whose home this node is, go on with what is due.
func (n *Namespace) replayRestored() {
	n.mu.Lock()
	due := n.dueFeeds
	n.dueFeeds = nil
	n.mu.Unlock()
	for _, id := range due {
		o := n.lookup(id)
		switch {
		case o == nil: // it has moved on
		case n.isHome(id):
			o.replayToAll()
		default:
			n.mu.Lock()
			n.dueFeeds = append(n.dueFeeds, id)
			n.mu.Unlock()
		}
	}
}

// replayToAll queues the members that are not live.
func (o *object) replayToAll() {
	for _, r := range o.feedRosters() {
		r.lockSends()
		for _, m := range r.members {
			if !m.live && !m.waiting {
				m.enqueue()
			}
		}
		r.unlockSends()
	}
}
