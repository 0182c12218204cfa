package edgews

import (
	"math/rand/v2"
	"time"
)

// rosterTime is a moment in ticks of a rosterClock, modulo 2^32. 0 means never.
type rosterTime uint32

// reached reports whether t is a moment that has come. Moments that are compared are less than 2^31 ticks apart.
func (t rosterTime) reached(now rosterTime) bool { return t != 0 && int32(now-t) >= 0 }

// rosterClock counts ticks that are short against MaxLifetime and IdleTimeout of its roster, so that 4 bytes hold a moment.
type rosterClock struct {
	begin time.Time
	tick  time.Duration // 0: the roster has no time limits
}

// A socket is closed up to sweepTicks+2 ticks late, so that many deadlines are dealt with at once.
const (
	ticksPerLimit = 256 // ticks in the shorter one of MaxLifetime and IdleTimeout
	sweepTicks    = 4   // between two sweeps, at least
	minTick       = time.Millisecond
	maxTick       = 5 * time.Second
	maxSpanBits   = 30 // of the ticks in the longer one
)

// newRosterClock returns the clock of a roster with limits l.
func newRosterClock(l *limits) rosterClock {
	shortest, longest := min(l.maxLifetime, l.idleTimeout), max(l.maxLifetime, l.idleTimeout)
	if shortest == 0 {
		shortest = longest
	}
	if shortest == 0 {
		return rosterClock{}
	}
	return rosterClock{time.Now(), max(min(shortest/ticksPerLimit, maxTick), minTick, longest>>maxSpanBits)}
}

// now returns the last tick.
func (c *rosterClock) now() rosterTime { return rosterTime(time.Since(c.begin) / c.tick) }

// after returns the first tick that is at least d from now. It is never 0.
func (c *rosterClock) after(d time.Duration) rosterTime {
	ticks := (time.Since(c.begin) + d + c.tick - 1) / c.tick
	return max(rosterTime(ticks), 1)
}

// until returns the time until t. It is negative if t has passed.
func (c *rosterClock) until(t rosterTime) time.Duration {
	elapsed := time.Since(c.begin)
	return time.Duration(int32(t-rosterTime(elapsed/c.tick)))*c.tick - elapsed%c.tick
}

// MaxLifetime is shortened by a random part for each socket, so that sockets that were opened together do not end together.
const (
	minLifetimePart = 0.90
	maxLifetimePart = 0.97 // leaves room for the ticks, so that MaxLifetime is not exceeded
)

// newMembershipLocked returns the membership of a socket that joins now. mu must be held.
func (r *roster) newMembershipLocked() (m membership) {
	if d := r.limits.maxLifetime; d > 0 {
		part := minLifetimePart + (maxLifetimePart-minLifetimePart)*rand.Float64()
		m.expires = r.clock.after(time.Duration(part * float64(d)))
		m.due = m.expires
	}
	if d := r.limits.idleTimeout; d > 0 {
		m.due = earlier(m.expires, r.clock.after(d))
	}
	return m
}

// earlier returns the earlier one of a, which may be 0, and b.
func earlier(a, b rosterTime) rosterTime {
	if a != 0 && int32(b-a) > 0 {
		return a
	}
	return b
}

// wakeAtLocked has sweep called at that time, unless it is called by then anyway, or soon after the last call if that is later. mu must be held.
func (r *roster) wakeAtLocked(t rosterTime) {
	if t == 0 {
		return
	}
	now := time.Now()
	at := now.Add(r.clock.until(t))
	if soonest := r.sweptAt.Add(sweepTicks * r.clock.tick); at.Before(soonest) {
		at = soonest
	}
	if !r.timerAt.IsZero() && !at.Before(r.timerAt) {
		return
	}
	r.timerAt = at
	if r.timer == nil {
		r.timer = time.AfterFunc(at.Sub(now), r.sweep)
	} else {
		r.timer.Reset(at.Sub(now))
	}
}

// sweep closes the sockets whose time is over. It looks at all members, which takes about a millisecond for 500 000 of them.
func (r *roster) sweep() {
	for _, s := range r.takeDue() {
		r.enforce(s)
	}
}

// takeDue returns the members that are due, and sets the timer for the others.
func (r *roster) takeDue() (due []*Socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timerAt, r.sweptAt = time.Time{}, time.Now()
	now, next := r.clock.now(), rosterTime(0)
	for s, m := range r.members.All() {
		switch {
		case m.due.reached(now):
			due = append(due, s)
			m.due = 0 // enforce sets it
		case m.due != 0:
			next = earlier(next, m.due)
		}
	}
	r.wakeAtLocked(next)
	return due
}

// enforce closes s if its time is over, and otherwise notes when that may be.
func (r *roster) enforce(s *Socket) {
	m, ok := r.membershipOf(s)
	switch {
	case !ok:
		return
	case m.expires.reached(r.clock.now()):
		s.acceptAndClose(StatusGoingAway, lifetimeReason)
		return
	}
	left := s.idleLeft(r.limits.idleTimeout)
	if left <= 0 {
		s.acceptAndClose(r.limits.idleCode, idleReason)
		return
	}
	r.setDue(s, earlier(m.expires, r.clock.after(left)))
}

func (r *roster) membershipOf(s *Socket) (m membership, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.members.Get(s); m != nil {
		return *m, true
	}
	return membership{}, false
}

func (r *roster) setDue(s *Socket, due rosterTime) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.members.Get(s); m != nil {
		m.due = due
		r.wakeAtLocked(due)
	}
}

// acceptAndClose closes the socket. If the program has not accepted it, it is accepted first: it could not send a Close otherwise.
func (s *Socket) acceptAndClose(code StatusCode, reason string) {
	s.mu.Lock()
	if s.phase == phaseUnaccepted {
		s.acceptLocked(0)
	}
	s.mu.Unlock()
	_ = s.closeFor(ClosedByShutdown, code, reason) // an error means that it is closing, or has ended
}

// noteMessageLocked notes, for an idle timeout, that a message or a part of one has arrived, or that the application has taken or handled it. mu
// must be held.
func (s *Socket) noteMessageLocked() {
	if s.about != nil && s.about.rosters != nil && s.about.rosters.times {
		s.noteActiveLocked()
	}
}

// noteMessage is noteMessageLocked for callers that do not hold mu.
func (s *Socket) noteMessage() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noteMessageLocked()
}

// noteActiveLocked sets s.accepted to the present, less the listener grace, which must not begin again. mu must be held.
func (s *Socket) noteActiveLocked() {
	if s.graceLeftLocked() <= 0 {
		s.accepted = nowMillis() - monoMillis(listenerGrace/time.Millisecond)
	}
}

// idleLeft returns how much time is left until the socket has got no message for timeout. While the application holds up reading, or messages
// wait to be received, nothing can be said about the peer, and the time begins anew.
func (s *Socket) idleLeft(timeout time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.isAcceptedLocked(): // it has been listed for timeout, at least
		return 0
	case s.holdsUpPeerLocked():
		s.noteActiveLocked()
		return timeout
	}
	return timeout + s.graceLeftLocked()
}

// holdsUpPeerLocked reports whether the peer may have sent messages that the application has not taken. mu must be held.
func (s *Socket) holdsUpPeerLocked() bool {
	switch {
	case s.consumer != toListeners && s.in != nil && s.in.queue.Len() > 0:
		return true
	case s.consumer == toObject && s.in != nil && s.in.lentBuffer != nil: // the object's handler runs
		return true
	case s.is(hosted) && s.pinned.isHandlingLocked():
		return true
	}
	if w, ok := s.link.(*wire); ok {
		return w.lastReceived == 0
	}
	return s.is(delivering)
}
