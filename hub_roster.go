package edgews

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edgews/edgews/internal/orderedmap"
)

// roster lists open sockets: those of a hub, or, if the namespace has limits for them, those that requests to its objects have opened.
//
// A socket knows by which rosters it is listed (identity.rosters), and leaves them when it ends. Sockets that differ in nothing else share that
// knowledge, so that a listed socket needs memory only in the roster: an entry of 16 bytes and an index of 4, both with spare capacity.
type roster struct {
	// Immutable.
	limits       limits
	shutdownCode StatusCode
	self         rosterList // the list of this roster only
	onlySelf     identity   // of a socket that has no other identity than to be listed by this roster only
	clock        rosterClock

	mu sync.Mutex // a leaf, also under the mu of a socket

	// Guarded by mu.
	members    orderedmap.Map[*Socket, membership]
	details    map[*Socket]memberDetails     // of the members that have any
	byTag      map[string]*taggedSockets     // none is empty
	openPerKey map[string]int                // members and reserved places, if MaxPerKey is set
	reserved   int                           // places of requests that are being upgraded
	handlers   int                           // handlers that have upgraded and have not returned
	closing    bool                          // Shutdown has begun
	quiet      signal                        // there is neither a member nor a reserved place nor a handler
	identities map[identity]*identity        // of listed sockets, by what they were before
	sharing    map[*socketExtra]*socketExtra // the same for the socketExtra of sockets that differ in nothing else
	timer      *time.Timer                   // calls sweep; nil: it was never needed
	timerAt    time.Time                     // when it is due; zero: it is not set
	sweptAt    time.Time                     // when sweep was last called
}

type taggedSockets = orderedmap.Map[*Socket, struct{}]

// membership is what a roster knows of each of its sockets.
type membership struct {
	due     rosterTime // when to look whether the time of the socket is over; 0: never
	expires rosterTime // the end of MaxLifetime; 0: never
}

// memberDetails is what a roster knows of some of its sockets.
type memberDetails struct {
	key  string // for which the socket counts; "": none
	tags []string
}

// rosterList is a list of rosters. It is immutable and shared.
type rosterList struct {
	r     *roster
	next  *rosterList
	times bool // one of them has an idle timeout
}

func newRoster(l limits, shutdownCode StatusCode) *roster {
	l = l.withDefaults()
	r := &roster{limits: l, shutdownCode: shutdownCode, clock: newRosterClock(&l)}
	r.self = rosterList{r: r, times: l.idleTimeout > 0}
	r.onlySelf.rosters = &r.self
	return r
}

func (l *rosterList) has(r *roster) bool {
	for ; l != nil; l = l.next {
		if l.r == r {
			return true
		}
	}
	return false
}

func (l *rosterList) len() (n int) {
	for ; l != nil; l = l.next {
		n++
	}
	return n
}

// with returns the list with r in front.
func (l *rosterList) with(r *roster) *rosterList {
	if l == nil {
		return &r.self
	}
	return &rosterList{r: r, next: l, times: l.times || r.self.times}
}

// listLocked notes that r lists the socket. mu must be held.
func (s *Socket) listLocked(r *roster) {
	rosters := s.rostersLocked()
	if rosters.has(r) {
		return
	}
	s.noteActiveLocked()
	if rosters.len() >= maxPastRosters {
		s.forgetPastRostersLocked()
	}
	if s.shared {
		s.socketExtra = r.share(s.socketExtra)
		return
	}
	s.extraLocked().about = r.listedIdentity(s.about)
}

// maxPastRosters bounds how many rosters a socket knows that do not list it any more: it may move from hub to hub.
const maxPastRosters = 8

// forgetPastRostersLocked forgets the rosters that the socket has left. mu must be held.
func (s *Socket) forgetPastRostersLocked() {
	about := *s.about
	about.rosters = nil
	for l := s.about.rosters; l != nil; l = l.next {
		if _, listed := l.r.membershipOf(s); listed {
			about.rosters = about.rosters.with(l.r)
		}
	}
	s.extraLocked().about = &about
}

// maxListedIdentities bounds each cache of a roster, as maxCachedIdentities does the one of all sockets. A cache that is full begins anew.
const maxListedIdentities = 100

// listedIdentity returns the identity, of a socket that r lists, that is otherwise like old, which may be nil.
func (r *roster) listedIdentity(old *identity) *identity {
	if old == nil {
		return &r.onlySelf
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.listedIdentityLocked(old)
}

// listedIdentityLocked is listedIdentity. mu must be held.
func (r *roster) listedIdentityLocked(old *identity) *identity {
	if known := r.identities[*old]; known != nil {
		return known
	}
	listed := *old
	listed.rosters = old.rosters.with(r)
	common := old.url == "" && old.rosters.len() <= 1 // it is not a client's, and not that of one that moves from hub to hub
	if common {
		if r.identities == nil || len(r.identities) >= maxListedIdentities {
			r.identities = make(map[identity]*identity)
		}
		r.identities[*old] = &listed
	}
	return &listed
}

// share returns the socketExtra of all sockets that r lists and that have had e, which is shared too.
func (r *roster) share(e *socketExtra) *socketExtra {
	r.mu.Lock()
	defer r.mu.Unlock()
	if listed := r.sharing[e]; listed != nil {
		return listed
	}
	if r.sharing == nil || len(r.sharing) >= maxListedIdentities {
		r.sharing = make(map[*socketExtra]*socketExtra)
	}
	listed := *e
	listed.about = &r.onlySelf
	if e.about != nil {
		listed.about = r.listedIdentityLocked(e.about)
	}
	r.sharing[e] = &listed
	return &listed
}

// rostersLocked returns the rosters that list the socket, or have listed it. mu must be held.
func (s *Socket) rostersLocked() *rosterList {
	if s.about == nil {
		return nil
	}
	return s.about.rosters
}

// leaveRostersLocked is called when the socket has ended, or has been used. mu must be held.
func (s *Socket) leaveRostersLocked() {
	for l := s.rostersLocked(); l != nil; l = l.next {
		l.r.remove(s)
	}
}

// Errors of the methods of Hub.
var (
	// ErrInHub: the hub has the socket already.
	ErrInHub = errors.New("edgews: socket is in the hub already")

	// ErrNotInHub: the hub does not have the socket, or the socket has ended.
	ErrNotInHub = errors.New("edgews: socket is not in the hub")

	// ErrHubShutdown: Hub.Shutdown has been called. It is also the error of the sockets that Shutdown has cut.
	ErrHubShutdown = errors.New("edgews: hub is shutting down")
)

// add lists a socket that no place was reserved for.
func (r *roster) add(s *Socket, tags []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.phase == phaseUsed:
		return ErrUsed
	case s.hasEndedLocked():
		return ErrClosed
	}
	if err := r.insertNew(s, tags); err != nil {
		return err
	}
	s.listLocked(r)
	return nil
}

// insertNew makes s a member, if the limits allow it.
func (r *roster) insertNew(s *Socket, tags []string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.members.Get(s) != nil {
		return ErrInHub
	}
	if r.closing {
		return ErrHubShutdown
	}
	if open := r.members.Len() + r.reserved; r.limits.maxSockets > 0 && open >= r.limits.maxSockets {
		return fmt.Errorf("%w: %d open, the limit is %d (see HubOptions.MaxSockets)", ErrConnectionLimit, open, r.limits.maxSockets)
	}
	r.insertLocked(s, "")
	r.tagLocked(s, tags)
	return nil
}

// insertLocked makes s a member. mu must be held.
func (r *roster) insertLocked(s *Socket, key string) {
	m := r.newMembershipLocked()
	r.members.Put(s, m)
	if key != "" {
		r.setDetailsLocked(s, memberDetails{key: key, tags: r.details[s].tags})
	}
	r.wakeAtLocked(m.due)
}

// countForLocked has the member s, which is counted for key already, count for no other. mu must be held.
func (r *roster) countForLocked(s *Socket, key string) {
	d := r.details[s]
	r.countKeyLocked(d.key, -1)
	d.key = key
	r.setDetailsLocked(s, d)
}

// remove takes s out of the roster. It reports whether s was there.
func (r *roster) remove(s *Socket) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.members.Delete(s) {
		return false
	}
	r.countKeyLocked(r.details[s].key, -1)
	r.tagLocked(s, nil)
	delete(r.details, s)
	r.checkQuietLocked()
	return true
}

// setDetailsLocked sets what is known of s. mu must be held.
func (r *roster) setDetailsLocked(s *Socket, d memberDetails) {
	if d.key == "" && len(d.tags) == 0 {
		delete(r.details, s)
		return
	}
	if r.details == nil {
		r.details = make(map[*Socket]memberDetails)
	}
	r.details[s] = d
}

// tagLocked replaces the tags of s, which must be a member or have left. mu must be held.
func (r *roster) tagLocked(s *Socket, tags []string) {
	d := r.details[s]
	for _, t := range d.tags {
		if tagged := r.byTag[t]; tagged.Delete(s) && tagged.Len() == 0 {
			delete(r.byTag, t)
		}
	}
	d.tags = tags
	r.setDetailsLocked(s, d)
	for _, t := range tags {
		tagged := r.byTag[t]
		if tagged == nil {
			tagged = new(taggedSockets)
			if r.byTag == nil {
				r.byTag = make(map[string]*taggedSockets)
			}
			r.byTag[t] = tagged
		}
		tagged.Put(s, struct{}{})
	}
}

// distinctTags returns copies of tags without repetitions.
func distinctTags(tags []string) (distinct []string) {
	for _, t := range tags {
		if !slices.Contains(distinct, t) {
			distinct = append(distinct, strings.Clone(t))
		}
	}
	return distinct
}

// appendMembersLocked appends the members that carry all tags to dst. It looks through those that carry the rarest tag. mu must be held.
func (r *roster) appendMembersLocked(dst []*Socket, tags []string) []*Socket {
	switch len(tags) {
	case 0:
		return r.members.AppendKeys(dst)
	case 1:
		return r.taggedLocked(tags[0]).AppendKeys(dst)
	}
	rarest := slices.MinFunc(tags, func(a, b string) int { return cmp.Compare(r.taggedLocked(a).Len(), r.taggedLocked(b).Len()) })
	for s := range r.taggedLocked(rarest).All() {
		if carriesAll(r.details[s].tags, tags) {
			dst = append(dst, s)
		}
	}
	return dst
}

// noneTagged is the set of the sockets with a tag that none has.
var noneTagged taggedSockets

// taggedLocked returns the members with a tag. mu must be held.
func (r *roster) taggedLocked(tag string) *taggedSockets {
	if tagged := r.byTag[tag]; tagged != nil {
		return tagged
	}
	return &noneTagged
}

// carriesAll reports whether carried has all of tags.
func carriesAll(carried, tags []string) bool {
	for _, t := range tags {
		if !slices.Contains(carried, t) {
			return false
		}
	}
	return true
}

// checkQuietLocked tells Shutdown when nothing is left to wait for, and stops the timer when there are no members. mu must be held.
func (r *roster) checkQuietLocked() {
	if r.members.Len() > 0 {
		return
	}
	if r.timer != nil {
		r.timer.Stop()
		r.timerAt = time.Time{}
	}
	if r.isQuietLocked() {
		r.quiet.broadcast()
	}
}

// isQuietLocked reports whether Shutdown has nothing to wait for. mu must be held.
func (r *roster) isQuietLocked() bool {
	return r.members.Len() == 0 && r.reserved == 0 && r.handlers == 0
}
